"""Small made-up files in the published formats of the Basel face model and its network."""

import functools
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from preprocess.face3d import bfm_files
from preprocess.face3d.recon_network import ReconNetwork

MODEL_VERTICES, EXPRESSION_VERTICES, KEPT = 150, 140, 120
TRIANGLES = 200


def made_originals(seed=0):
    """Arrays of the six original files, by their published names, in their published types."""
    rng = np.random.default_rng(seed)

    def normal(scale, *shape):
        return rng.normal(0, scale, shape).astype(np.float32)

    def some(count, of, **kind):
        return (1 + rng.choice(of, count, **kind))[:, None]

    return {
        "shapeMU": normal(6e4, 3 * MODEL_VERTICES, 1) + 1e4,
        "shapePC": normal(0.003, 3 * MODEL_VERTICES, 199),
        "shapeEV": np.abs(normal(3e5, 199, 1)),
        "texMU": 128 + normal(20, 3 * MODEL_VERTICES, 1),
        "texPC": normal(0.003, 3 * MODEL_VERTICES, 199),
        "texEV": np.abs(normal(1e3, 199, 1)),
        "expMU": normal(100, 3 * EXPRESSION_VERTICES),
        "expPC": normal(0.003, 79, 3 * EXPRESSION_VERTICES),
        "expEV": np.abs(normal(1e5, 79)),
        "trimIndex": some(EXPRESSION_VERTICES, MODEL_VERTICES, replace=False).astype(np.uint16),
        "idx": some(KEPT, EXPRESSION_VERTICES, replace=False).astype(np.float32),
        "tri": (1 + rng.integers(0, KEPT, (TRIANGLES, 3))).astype(np.float32),
        "keypoints": some(68, KEPT, replace=False).astype(np.float32).T,
    }


def write_originals(folder: Path, made):
    def pick(*names):
        return {name: made[name] for name in names}

    model = pick("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV")
    savemat(folder / bfm_files.MODEL, model)
    words = [np.array([79], "<i4"), made["expMU"].astype("<f4"), made["expPC"].astype("<f4")]
    (folder / bfm_files.EXPRESSIONS).write_bytes(b"".join(part.tobytes() for part in words))
    numbers = " ".join(f"{value:.9g}" for value in made["expEV"])
    (folder / bfm_files.EXPRESSION_SPREAD).write_text(numbers + "\n")
    savemat(folder / bfm_files.KEPT_OF_EXPRESSIONS, pick("idx"))
    savemat(folder / bfm_files.EXPRESSIONS_OF_MODEL, pick("trimIndex"))
    savemat(folder / bfm_files.JOINS, pick("tri", "keypoints"))


def made_converted(seed=0, vertices=KEPT):
    """Arrays of `BFM_model_front.mat`; the head is about a decimetre and a half tall."""
    rng = np.random.default_rng(seed)

    def normal(scale, *shape):
        return rng.normal(0, scale, shape).astype(np.float32)

    return {
        "meanshape": normal(0.5, 1, 3 * vertices) + np.float32(0.2),
        "idBase": normal(0.02, 3 * vertices, 80),
        "exBase": normal(0.02, 3 * vertices, 64),
        "meantex": 128 + normal(20, 1, 3 * vertices),
        "texBase": normal(2, 3 * vertices, 80),
        "tri": (1 + rng.integers(0, vertices, (TRIANGLES, 3))).astype(np.float32),
        "keypoints": 1 + rng.choice(vertices, 68, replace=False)[None].astype(np.float32),
    }


def write_converted(folder: Path, made):
    savemat(folder / bfm_files.CONVERTED, made)


@functools.cache
def made_network(seed=0) -> ReconNetwork:
    """The whole network with random weights, heads and running statistics too.

    One for the session, since its 24 million numbers take a second: do not change it.
    """
    torch.manual_seed(seed)
    network = ReconNetwork()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.startswith("final_layers"):
                tensor.normal_(std=0.05)
            elif name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.8, 1.5)
            elif name.endswith("bn3.weight"):
                tensor.fill_(0.3)  # else each block would double what it gets
    return network.eval()


def save_checkpoint(path: Path, network: ReconNetwork):
    """As training wrote it: the network, the optimiser, the schedule."""
    content = {
        "net_recon": network.state_dict(),
        "opt_00": {"state": {0: {"step": 7}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "sched_00": {"step_size": 10, "gamma": 0.2, "base_lrs": [1e-4], "last_epoch": 20},
    }
    torch.save(content, path)
