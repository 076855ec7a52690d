"""Everything that fixes an Export3D network's shape, as plain values that can enter an identity."""

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class CLeBSConfig:
    """Contrastive pre-training of the expression encoder (Spec 2.3)."""

    image_px: int = 256
    """Side of the images that the image encoder sees; 128 costs a quarter (register A12)."""
    image_channels: int = 64
    """Width of the image encoder's stem; the later stages have 2, 4 and 8 times as many."""
    frames: int = 33
    """Frames of one clip in one contrast: one positive and 32 negatives for every expression."""
    clips: int = 4
    """Clips in one step; never mixed inside one contrast (register A12)."""
    min_gap_frames: int = 5
    """Least distance of two of those frames (0.2 s at 25 fps): neighbours look too much alike."""
    tau: float = 0.07
    """Temperature of the cosines, without unit."""
    denominator: Literal["exclude", "include"] = "exclude"
    """Whether the positive counts among the negatives: the paper's eq. 1 leaves it out (A13)."""

    def __post_init__(self) -> None:
        for name in ("image_px", "image_channels", "frames", "clips", "min_gap_frames"):
            _require(getattr(self, name) >= 1, f"clebs.{name}", getattr(self, name), "at least 1")
        _require(self.frames >= 2, "clebs.frames", self.frames, "at least 2")
        _require(self.tau > 0, "clebs.tau", self.tau, "above 0")
        _one_of("clebs.denominator", self.denominator, ("exclude", "include"))


@dataclass(frozen=True)
class Export3DConfig:
    """One Export3D network (Spec 2.4 to 2.7). The defaults are the paper's 256 px network.

    Every width that is not listed follows from `hidden` (h): stem h/16, h/8, h/4; expression
    space d = h/4; convolutions after the token blocks h/4 and h/8. Raises ValueError with the
    field, the value given and what is allowed.
    """

    image_px: int = 256
    """Side of source and output images; a multiple of 16, the size of one token's patch."""
    plane_channels: int = 32
    """Features on each of the three planes (Export3D eq. 4)."""
    hidden: int = 1024
    """Width h of the visual tokens; a multiple of 16 and of `heads`."""
    heads: int = 4
    """Attention heads of every block."""
    blocks: int = 5
    """Conditional blocks at the low resolution; 2 and 8 are the studied variants (A1)."""
    mlp_ratio: int = 2
    """Width of the Mix-FFN's inside as a multiple of `hidden`."""
    attention_reduction: int = 2
    """Side of the patches over which the last block's keys and values are pooled; 1: none (A4)."""
    highres_skip: bool = False
    """A convolution branch at half resolution around the tokens, as in Live3D (A2). It bypasses
    the expression, so that it may carry the source's own into the output."""
    coordinate_grid: bool = True
    """Two more input channels with x and y in [-1, 1], so that tokens know where they are (A3)."""
    blur: Literal["binomial", "gaussian"] = "binomial"
    """Low-pass after each pixel shuffle, against its grid artefacts: [1,4,6,4,1]/16, or
    2^-(k/sigma)^2 (A5)."""
    blur_sigma_px: float = 1.0
    """Sigma of the gaussian filter in pixels; 1 to 2 are sensible."""
    sigma_form: Literal["bias_one", "one_plus"] = "bias_one"
    """EAdaLN's scale as a linear map whose bias starts at 1, or as 1 + a linear map from 0 (A6)."""

    expression_dims: int = 64
    """Length of the face model's expression coefficients."""
    expression: Literal["clebs", "e2e", "direct"] = "clebs"
    """Encoder: pre-trained and frozen LeBS (the paper), LeBS learned with the rest, or plain linear
    layers on the coefficients (the paper's two ablations)."""
    basis_vectors: int = 10
    """Number n of orthonormal expression directions; more give duplicates."""
    lebs_hidden: int = 256
    """Width between LeBS's two linear layers (A12)."""
    standardise_expression: bool = False
    """Whether the coefficients of the basis are brought to mean 0 and deviation 1 by the statistics
    stored with CLeBS, whose loss leaves their scale free."""
    conditioning: Literal["eadaln", "cross_attention"] = "eadaln"
    """How the expression reaches the tokens; cross-attention is the paper's ablation."""
    cross_attention_tokens: Literal["basis", "1", "64"] = "basis"
    """What that ablation attends to: the n scaled directions, the whole vector, or 64 learned
    projections of it (A16). With one token attention cannot differ between places."""
    clebs: CLeBSConfig = field(default_factory=CLeBSConfig)
    """Pre-training of the expression encoder."""

    raw_px: int = 64
    """Side of the volume-rendered image; `image_px` must be this times a power of 2."""
    decoder_hidden: int = 64
    """Width of the point decoder."""
    feature_channels: int = 32
    """Channels rendered and handed to super-resolution; the first three are the raw colours, and 3
    gives nothing else (A7)."""
    superres_channels: tuple[int, ...] = (128, 64)
    """Width of each super-resolution block; every block doubles the side."""
    box_size: float = 1.0
    """Side of the cube that the planes cover, in camera-label units (0.27 per dm: 37 cm)."""
    depth_range: Literal["fixed", "auto"] = "fixed"
    """Where rays are sampled: from `near` to `far`, or where each meets the cube (A8)."""
    near: float = 2.25
    """Start of the fixed range along the ray, in label units, for cameras 2.7 away."""
    far: float = 3.3
    """End of the fixed range along the ray, in label units."""
    samples_coarse: int = 48
    """Evenly spread samples on a ray."""
    samples_fine: int = 48
    """Further samples where the first ones found matter; 0: none."""

    plane_mean: Literal["raw", "none"] = "raw"
    """Running mean of the generator's output that is added to it (A9), or nothing."""
    plane_mean_decay: float = 0.998
    """Decay delta of that mean per optimiser step."""

    @property
    def plane_px(self) -> int:
        """Side of a plane: half the image's (Export3D eq. 4)."""
        return self.image_px // 2

    @property
    def expression_width(self) -> int:
        """Length d = h/4 of the encoded expression."""
        return self.hidden // 4

    def __post_init__(self) -> None:
        self._check_generator()
        self._check_expression()
        self._check_rendering()
        if self.plane_mean == "raw":
            decay = self.plane_mean_decay
            _require(0 < decay < 1, "plane_mean_decay", decay, "between 0 and 1")
        _one_of("plane_mean", self.plane_mean, ("raw", "none"))

    def _check_generator(self) -> None:
        _at_least_one(self, "plane_channels", "heads", "blocks", "mlp_ratio", "attention_reduction")
        _multiple("image_px", self.image_px, 16)
        _require(self.image_px >= 48, "image_px", self.image_px, "at least 48")
        _multiple("hidden", self.hidden, math.lcm(16, self.heads))
        tokens = self.image_px // 4
        _require(
            tokens % self.attention_reduction == 0,
            "attention_reduction",
            self.attention_reduction,
            f"a divisor of the {tokens} tokens on a side",
        )
        _one_of("blur", self.blur, ("binomial", "gaussian"))
        _require(self.blur_sigma_px > 0, "blur_sigma_px", self.blur_sigma_px, "above 0")
        _one_of("sigma_form", self.sigma_form, ("bias_one", "one_plus"))

    def _check_expression(self) -> None:
        _at_least_one(self, "expression_dims", "basis_vectors", "lebs_hidden")
        width = self.expression_width
        _require(
            self.basis_vectors <= width, "basis_vectors", self.basis_vectors, f"at most {width}"
        )
        _one_of("expression", self.expression, ("clebs", "e2e", "direct"))
        _one_of("conditioning", self.conditioning, ("eadaln", "cross_attention"))
        _one_of("cross_attention_tokens", self.cross_attention_tokens, ("basis", "1", "64"))
        if self.expression == "direct":
            if self.conditioning == "cross_attention":
                allowed = "'1' or '64' without a basis (expression 'direct')"
                tokens = self.cross_attention_tokens
                _require(tokens != "basis", "cross_attention_tokens", tokens, allowed)
            _require(
                not self.standardise_expression,
                "standardise_expression",
                self.standardise_expression,
                "False without a basis (expression 'direct')",
            )

    def _check_rendering(self) -> None:
        _at_least_one(self, "raw_px", "decoder_hidden")
        allowed = "at least 3, the raw colours"
        _require(self.feature_channels >= 3, "feature_channels", self.feature_channels, allowed)
        _require(
            self.raw_px * 2 ** len(self.superres_channels) == self.image_px,
            "superres_channels",
            self.superres_channels,
            f"as many widths as doublings from raw_px {self.raw_px} to image_px {self.image_px}",
        )
        _require(self.box_size > 0, "box_size", self.box_size, "above 0")
        _one_of("depth_range", self.depth_range, ("fixed", "auto"))
        _require(0 < self.near < self.far, "near", self.near, f"between 0 and far {self.far}")
        _require(self.samples_coarse >= 2, "samples_coarse", self.samples_coarse, "at least 2")
        _require(self.samples_fine >= 0, "samples_fine", self.samples_fine, "0 or more")


def _require(held: bool, name: str, given: object, allowed: str) -> None:
    if not held:
        raise ValueError(f"{name} is {given!r}; allowed is {allowed}")


def _at_least_one(config: Export3DConfig, *names: str) -> None:
    for name in names:
        _require(getattr(config, name) >= 1, name, getattr(config, name), "at least 1")


def _multiple(name: str, given: int, unit: int) -> None:
    _require(given > 0 and given % unit == 0, name, given, f"a multiple of {unit}")


def _one_of(name: str, given: str, allowed: tuple[str, ...]) -> None:
    _require(given in allowed, name, given, " or ".join(map(repr, allowed)))
