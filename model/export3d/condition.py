"""From the face model's expression coefficients to the vectors that condition the generator.

Shape suffixes: B batch, E expression coefficients, L basis vectors, M condition vectors, D their
length.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.export3d.blocks import linear
from model.export3d.clebs import LeBS
from model.export3d.config import Export3DConfig

PROJECTED_TOKENS = 64


class DirectExpression(nn.Module):
    """Linear layers on the raw coefficients, without a basis: the ablation "Direct 3DMM"."""

    def __init__(self, config: Export3DConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.expression_dims, config.lebs_hidden)
        self.outer = nn.Linear(config.lebs_hidden, config.expression_width)

    def forward(self, exp_BE: Tensor) -> Tensor:
        """Return encoded_BD."""
        encoded_BD: Tensor = self.outer(functional.leaky_relu(self.inner(exp_BE), 0.2))
        return encoded_BD


class ExpressionCondition(nn.Module):
    """Encoded expression as the generator's blocks take it: one vector, or several to attend to.

    With `expression="clebs"` the encoder is frozen from the start; load a pre-trained one by
    `condition.encoder.load_state_dict(lebs.state_dict())`. Spec 2.4.4, 2.9; register A16.
    """

    def __init__(self, config: Export3DConfig) -> None:
        super().__init__()
        self.standardised = config.standardise_expression
        self.tokens = "1" if config.conditioning == "eadaln" else config.cross_attention_tokens
        self.encoder: LeBS | DirectExpression
        if config.expression == "direct":
            self.encoder = DirectExpression(config)
        else:
            self.encoder = LeBS(config)
            if config.expression == "clebs":
                self.encoder.freeze()
        width = config.expression_width
        if self.tokens == "basis":
            self.slots_LD = nn.Parameter(torch.empty(config.basis_vectors, width))
            nn.init.trunc_normal_(self.slots_LD, std=0.02)
        elif self.tokens == "64":
            self.project = linear(width, PROJECTED_TOKENS * width)

    def forward(self, exp_BE: Tensor) -> Tensor:
        """Return condition_BMD; M is 1 for EAdaLN."""
        if isinstance(self.encoder, LeBS):
            return self.from_coefficients(self.encoder.coefficients(exp_BE))
        return self._tokens_of(self.encoder(exp_BE))

    def from_coefficients(self, lambda_BL: Tensor) -> Tensor:
        """Return condition_BMD of coefficients of the basis, as the encoder gives them or edited.

        `forward` is this after `lebs().coefficients`. Raises ValueError for an encoder without a
        basis.
        """
        encoder = self.lebs()
        if self.standardised:
            lambda_BL = encoder.standardise(lambda_BL)
        scaled_BLD = encoder.scaled_basis(lambda_BL)
        if self.tokens == "basis":
            return scaled_BLD + self.slots_LD
        return self._tokens_of(scaled_BLD.sum(dim=1))

    def lebs(self) -> LeBS:
        """Return the encoder, where it has a basis. Raises ValueError for expression "direct"."""
        if isinstance(self.encoder, LeBS):
            return self.encoder
        raise ValueError("expression 'direct' has no basis whose coefficients could be edited")

    def _tokens_of(self, encoded_BD: Tensor) -> Tensor:
        if self.tokens == "64":
            projected: Tensor = self.project(encoded_BD)
            return projected.reshape(len(encoded_BD), PROJECTED_TOKENS, -1)
        return encoded_BD.unsqueeze(1)
