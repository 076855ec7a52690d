"""Sizes of Export3D that are in use, as plain values for the recipes."""

from model.export3d.config import CLeBSConfig, Export3DConfig


def export3d_256() -> Export3DConfig:
    """Return the paper's network: a generator of 69.24 M parameters (Spec 2.4.3)."""
    return Export3DConfig()


def export3d_test() -> Export3DConfig:
    """Return a network of 0.6 M parameters and 64 px for unit and overfit tests (Spec 2.11)."""
    return Export3DConfig(
        image_px=64,
        plane_channels=8,
        hidden=128,
        blocks=2,
        lebs_hidden=64,
        clebs=CLeBSConfig(image_px=64, image_channels=8, frames=9, clips=2),
        raw_px=16,
        decoder_hidden=32,
        feature_channels=8,
        superres_channels=(16, 8),
        samples_coarse=12,
        samples_fine=12,
    )


def export3d_demo() -> Export3DConfig:
    """Return a network that learns on two CPU cores in minutes."""
    return Export3DConfig(
        image_px=128,
        plane_channels=16,
        hidden=128,
        blocks=3,
        lebs_hidden=64,
        clebs=CLeBSConfig(image_px=64, image_channels=16, frames=17, clips=4, min_gap_frames=2),
        raw_px=32,
        decoder_hidden=32,
        feature_channels=16,
        superres_channels=(32, 16),
        depth_range="auto",
        samples_coarse=12,
        samples_fine=12,
    )
