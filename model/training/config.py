"""Settings of the training of Export3D."""

from dataclasses import dataclass, field

from model.precision import Precision
from model.training.discriminator import DiscriminatorConfig
from model.training.loop import Cadence
from model.training.losses import ReconstructionWeights


@dataclass(frozen=True)
class TrainingConfig:
    """How Export3D is trained. The defaults are the paper's; units are in the comments."""

    seed: int = 0
    batch: int = 8
    """Pairs in one step, of all processes together."""
    reconstruction_steps: int = 300_000
    adversarial_steps: int = 10_000
    max_seconds: float | None = None
    """Limit on time, shared by the phases as their steps are; results cannot be reproduced."""
    learning_rate: float = 1e-4
    """Adam's rate for everything but the discriminator."""
    warmup_steps: int = 0
    """Steps over which the rate grows from 0; none in the paper."""
    final_rate: float = 1.0
    """Share of the rate left at the end of a cosine; 1 keeps it constant, as the paper does."""
    discriminator_rate: float = 1e-5
    """Adam's rate for the discriminator, constant."""
    gradient_clip: float | None = None
    """Largest norm of the generator's gradient; none in the paper."""
    check_gradients: bool = False
    """Whether every gradient of every step must be finite; slow, for hunting a divergence."""
    precision: Precision = "float32"
    """Arithmetic of the networks; weights and volume rendering are in float32 either way."""
    channels_last: bool = True
    """Whether convolutions hold the channels of a pixel side by side: a tenth less time for a step
    (`python -m benchmarks.train`), other last digits."""
    weights: ReconstructionWeights = field(default_factory=ReconstructionWeights)
    adversarial_weight: float = 0.01
    r1_gamma: float = 0.0
    """R1 penalty; the paper names none, StyleGAN2-ADA's heuristic is 1.6 at 256 px (A10)."""
    r1_every: int = 16
    """Steps between two R1 penalties, whose weight grows with them."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    cadence: Cadence = field(default_factory=Cadence)
    sample_rows: int = 4
    """Pairs in a picture of samples; the same ones throughout a run."""
    cache_gib: float = 2.0
    """Memory for decoded and resized frames, of each process."""
