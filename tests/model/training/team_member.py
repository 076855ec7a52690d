"""One process of a team that trains a tiny network: python team_member.py FOLDER RANK SIZE."""

import dataclasses
import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from model.export3d.clebs import LeBS
from model.export3d.config import CLeBSConfig, Export3DConfig
from model.training.config import TrainingConfig
from model.training.discriminator import DiscriminatorConfig
from model.training.loop import Cadence, Watch
from model.training.state import TrainedState, seeded
from model.training.trainer import train_export3d
from storage.checkpoints import read_checkpoint, write_checkpoint
from tests.model.training.conftest import synthetic_clip

LIMIT_S = 300
NETWORK = Export3DConfig(
    image_px=48, plane_channels=4, hidden=32, blocks=1, lebs_hidden=16, basis_vectors=4, raw_px=12,
    clebs=CLeBSConfig(image_px=32, image_channels=4), decoder_hidden=8, feature_channels=4,
    superres_channels=(8, 8), samples_coarse=4, samples_fine=4,
)  # fmt: skip
# One group of the critic spans both workers' pairs, and a penalty goes through its gradient.
CONFIG = TrainingConfig(
    batch=4, reconstruction_steps=3, adversarial_steps=3, learning_rate=1e-3,
    discriminator_rate=1e-3, gradient_clip=1.0, adversarial_weight=0.5, r1_gamma=1.0, r1_every=2,
    cadence=Cadence(1, 0, 2), sample_rows=2,
    discriminator=DiscriminatorConfig(
        channel_base=128, channel_max=8, mapping_layers=2, minibatch_group=4
    ),
)  # fmt: skip


def train(state: TrainedState | None, watch: Watch, **changes) -> TrainedState:
    """Train in this process, in the team that it has joined."""
    clips = [synthetic_clip("one", 12, 64, 1.0), synthetic_clip("two", 9, 64, 2.0)]
    with seeded([7], torch.device("cpu")):
        clebs = LeBS(NETWORK).freeze().state_dict()
    config = dataclasses.replace(CONFIG, **changes)
    return train_export3d(NETWORK, config, clips, clebs=clebs, state=state, watch=watch)


def main() -> None:
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    given = json.loads((folder / "given.json").read_text())
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=LIMIT_S),
    )
    told: list[str] = []
    losses: dict[str, float] = {}
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return rank == 0 and asked > given.get("stop_after", 10**9)

    watch = Watch(
        on_metrics=lambda rows: losses.update({f"{r.step} {r.name}": r.value for r in rows}),
        on_checkpoint=lambda state: told.append(str(state.card["ended"])),
        on_sample=lambda step, picture: told.append(f"sample {step}"),
        on_progress=lambda done, total: told.append(f"{done} of {total}"),
        should_stop=should_stop,
    )
    state = TrainedState(*read_checkpoint(folder / "state")) if given.get("resume") else None
    reached = train(state, watch, **given.get("changes", {}))
    out = folder / f"rank{rank}"
    out.mkdir()
    write_checkpoint(out, reached.tensors, reached.card)
    (out / "told.json").write_text(json.dumps(told))
    (out / "losses.json").write_text(json.dumps(losses))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
