"""CLeBS: expressions as scalings of a learned orthonormal basis, and its contrastive pre-training.

Shape suffixes: B batch, E expression coefficients of the face model, L basis vectors, D length of
the encoded expression, V clips, K frames of one clip, C channels, H, W.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.export3d.config import Export3DConfig
from model.geometry.orthonormal import orthonormal_columns
from model.precision import full_precision


class LeBS(nn.Module):
    """Learned basis scaling f_e: coefficients lambda of n orthonormal vectors (Export3D eq. 3).

    While it is learned, the basis is the sign-fixed Q of a weight (`weight_DL`). `freeze` stores
    the basis itself instead (buffer `basis_DL`), so that no library can change it any more: the
    keys of the two states' checkpoints differ on purpose.
    """

    lambda_mean_L: Tensor
    lambda_std_L: Tensor

    def __init__(self, config: Export3DConfig) -> None:
        super().__init__()
        count = config.basis_vectors
        self.inner = nn.Linear(config.expression_dims, config.lebs_hidden)
        self.outer = nn.Linear(config.lebs_hidden, count)
        self.weight_DL: nn.Parameter | None = nn.Parameter(
            torch.empty(config.expression_width, count)
        )
        nn.init.orthogonal_(self.weight_DL)
        self.register_buffer("lambda_mean_L", torch.zeros(count))
        self.register_buffer("lambda_std_L", torch.ones(count))

    @property
    def frozen(self) -> bool:
        """Whether the basis is stored and no parameter learns."""
        return self.weight_DL is None

    def basis(self) -> Tensor:
        """Return V, basis_DL, in float32 or better; its columns are orthonormal."""
        if self.weight_DL is None:
            return self.get_buffer("basis_DL")
        return orthonormal_columns(self.weight_DL)

    def freeze(self) -> "LeBS":
        """Store the basis as a buffer and stop all learning; return self. Spec 2.3.3."""
        if self.weight_DL is not None:
            basis_DL = self.basis().detach().clone()
            self.weight_DL = None
            self.register_buffer("basis_DL", basis_DL)
            self.requires_grad_(False)
        return self

    def coefficients(self, exp_BE: Tensor) -> Tensor:
        """Return lambda_BL, unbounded."""
        lambda_BL: Tensor = self.outer(functional.leaky_relu(self.inner(exp_BE), 0.2))
        return lambda_BL

    def standardise(self, lambda_BL: Tensor) -> Tensor:
        """Return lambda_BL at the stored statistics' mean 0 and deviation 1."""
        return (lambda_BL - self.lambda_mean_L) / self.lambda_std_L

    def scaled_basis(self, lambda_BL: Tensor) -> Tensor:
        """Return lambda_i v_i as scaled_BLD, whose sum over L is the encoded expression."""
        return lambda_BL.float().unsqueeze(-1) * self.basis().T

    def forward(self, exp_BE: Tensor) -> Tensor:
        """Return the encoded expression beta'_BD = V lambda, not standardised."""
        return self.scaled_basis(self.coefficients(exp_BE)).sum(dim=1)

    @torch.no_grad()
    def measure(self, exp_BE: Tensor) -> None:
        """Store mean and deviation of lambda over a training set's expressions, one row each.

        The contrast leaves lambda's scale free; editing and range checks need it (Spec 2.3.3).
        Raises ValueError for fewer than two rows.
        """
        if len(exp_BE) < 2:
            raise ValueError("statistics of lambda need at least two expressions")
        lambda_BL = self.coefficients(exp_BE).double()
        self.lambda_mean_L.copy_(lambda_BL.mean(dim=0))
        self.lambda_std_L.copy_(lambda_BL.std(dim=0).clamp_min(1e-6))


def cosine_matrix(expression_VKD: Tensor, image_VKD: Tensor) -> Tensor:
    """Return cosine_VKK of every expression (rows) with every image (columns) of its clip.

    In float32 also under autocast.
    """
    with full_precision(expression_VKD.device):
        expression_VKD = functional.normalize(expression_VKD.float(), dim=-1)
        image_VKD = functional.normalize(image_VKD.float(), dim=-1)
        return expression_VKD @ image_VKD.transpose(-2, -1)


def clebs_loss(
    cosine_VKK: Tensor, tau: float, denominator: Literal["exclude", "include"] = "exclude"
) -> Tensor:
    """Return the mean over expressions of -s_k/tau + log sum over j != k of exp(s_j/tau).

    Export3D eq. 1: only images are negatives, and the positive is not among them, so equal cosines
    give log(K - 1), and the loss can fall below 0. `include` is InfoNCE. Spec 2.3.2.
    """
    logits_VKK = cosine_VKK.float() / tau
    positive_VK = logits_VKK.diagonal(dim1=-2, dim2=-1)
    if denominator == "exclude":
        own_KK = torch.eye(logits_VKK.shape[-1], dtype=torch.bool, device=logits_VKK.device)
        logits_VKK = logits_VKK.masked_fill(own_KK, -torch.inf)
    return (logits_VKK.logsumexp(dim=-1) - positive_VK).mean()


class ImageEncoder(nn.Module):
    """f_I: ResNetSE18 with one linear layer, used in pre-training only (Spec 2.3.1)."""

    def __init__(self, config: Export3DConfig) -> None:
        super().__init__()
        width = config.clebs.image_channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            for place in range(2):
                out = width * 2**stage
                blocks.append(_SEBlock(channels, out, stride=2 if stage and not place else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Linear(channels, config.expression_width)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return embedding_BD of images in [-1, 1], of any side from 32 px."""
        feature_BCHW = self.blocks(self.stem(image_BCHW))
        embedding_BD: Tensor = self.project(feature_BCHW.mean(dim=(2, 3)))
        return embedding_BD


class _SEBlock(nn.Module):
    """Basic residual block, convolution-ReLU-norm-convolution-norm, with channel attention."""

    def __init__(self, channels: int, out: int, stride: int, reduction: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        squeezed = max(1, out // reduction)
        self.attention = nn.Sequential(
            nn.Linear(out, squeezed), nn.ReLU(inplace=True), nn.Linear(squeezed, out), nn.Sigmoid()
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        body_BCHW = self.body(feature_BCHW)
        share_BC = self.attention(body_BCHW.mean(dim=(2, 3)))
        return functional.relu(body_BCHW * share_BC[:, :, None, None] + self.shortcut(feature_BCHW))
