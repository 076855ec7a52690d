"""Sizes of Export3D that are in use, as plain values for the recipes."""

from model.export3d.config import CLeBSConfig, Export3DConfig


def export3d_256() -> Export3DConfig:
    """Return the paper's network: a generator of 69.24 M parameters (Spec 2.4.3)."""
    return Export3DConfig()


def export3d_mini() -> Export3DConfig:
    """Return the paper's structure at 256 px for two CPU cores, or for half an hour on one GPU.

    11.7 M parameters, 17.4 GMAC a frame, 16.4 of a known source: 0.64 s of processor time on one
    core. Tokens 384 wide keep every width a multiple of 8, as a GPU's matrix units want it; keys
    and values pooled by 4 save 3 GMAC, and half of the last block's attention. Tokens 320 wide
    with the paper's pooling cost as much, 448 a quarter more; 32 samples twice cost a tenth more.
    """
    return Export3DConfig(
        hidden=384,
        attention_reduction=4,
        standardise_expression=True,
        clebs=CLeBSConfig(image_px=128, image_channels=32),
        superres_channels=(48, 32),
        depth_range="auto",
        samples_coarse=24,
        samples_fine=24,
    )


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
    """Return a network for 128 px, small enough to learn two persons on two CPU cores in minutes.

    0.84 M parameters, 0.65 GMAC a frame. A step of batch 4 (forward, backward, Adam) took 0.33 s of
    processor time on one core, three times its forward pass, and 0.44 s with a perceptual loss on
    two VGG blocks at 64 px; on two idle cores 0.19 s without that loss. So 600 steps take about two
    and a half minutes there. Tokens 192 wide cost 1.5 times as much, a raw image of 64 px 1.8
    times. Cameras are expected to be exact: rays are sampled where they meet the box.
    """
    return Export3DConfig(
        image_px=128,
        plane_channels=16,
        hidden=128,
        blocks=3,
        lebs_hidden=64,
        standardise_expression=True,
        clebs=CLeBSConfig(image_px=64, image_channels=16, frames=17, clips=4, min_gap_frames=2),
        raw_px=32,
        decoder_hidden=32,
        feature_channels=16,
        superres_channels=(32, 16),
        depth_range="auto",
        samples_coarse=12,
        samples_fine=12,
    )


def export3d_128() -> Export3DConfig:
    """Return a network for 128 px that learns a dozen persons on two CPU cores in two hours.

    1.8 M parameters, 1.2 GMAC a frame. A convolution branch carries the source's detail around the
    64 tokens, which are too few to hold a face: after 400 steps of the same run the squared error
    was 0.058 with it, 0.071 without. Cameras are expected to be exact: rays are sampled where they
    meet the box.
    """
    return Export3DConfig(
        image_px=128,
        plane_channels=16,
        hidden=192,
        blocks=3,
        highres_skip=True,
        lebs_hidden=128,
        standardise_expression=True,
        clebs=CLeBSConfig(image_px=64, image_channels=24, min_gap_frames=2),
        raw_px=32,
        decoder_hidden=32,
        feature_channels=16,
        superres_channels=(32, 16),
        depth_range="auto",
        samples_coarse=12,
        samples_fine=12,
    )
