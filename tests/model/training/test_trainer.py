import dataclasses
import math

import numpy as np
import pytest
import torch

from model.export3d.config import CLeBSConfig, Export3DConfig
from model.export3d.network import Export3D
from model.training.clebs import ClebsTrainingConfig, pretrain_clebs
from model.training.config import TrainingConfig
from model.training.data import FrameBank, PairSampler
from model.training.discriminator import DiscriminatorConfig
from model.training.loop import Cadence, DivergedError, Watch
from model.training.losses import ReconstructionWeights
from model.training.state import StateMismatchError, TrainedState
from model.training.trainer import train_export3d
from storage.checkpoints import read_checkpoint, write_checkpoint

TINY = Export3DConfig(
    image_px=48, plane_channels=4, hidden=32, blocks=1, lebs_hidden=16, basis_vectors=4, raw_px=12,
    clebs=CLeBSConfig(image_px=32, image_channels=4, frames=4, clips=2, min_gap_frames=2),
    decoder_hidden=8, feature_channels=4, superres_channels=(8, 8),
    samples_coarse=4, samples_fine=4,
)  # fmt: skip
CONFIG = TrainingConfig(
    batch=2, reconstruction_steps=4, adversarial_steps=2, learning_rate=1e-3,
    r1_gamma=1.0, r1_every=1, cadence=Cadence(1, 0, 0), sample_rows=2,
    discriminator=DiscriminatorConfig(channel_base=128, channel_max=8, mapping_layers=2),
)  # fmt: skip
CLEBS_CONFIG = ClebsTrainingConfig(steps=4, learning_rate=1e-3, cadence=Cadence(1, 0, 0))


class Stop:
    """Lets a number of steps pass."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module")
def clebs(clips) -> TrainedState:
    return pretrain_clebs(TINY, CLEBS_CONFIG, clips)


def _train(clips, clebs, **changes) -> TrainedState:
    config = dataclasses.replace(CONFIG, **changes.pop("config", {}))
    return train_export3d(TINY, config, clips, clebs=clebs.tensors["lebs"], **changes)


def _same(a: TrainedState, b: TrainedState) -> bool:
    assert a.tensors.keys() == b.tensors.keys()
    return all(
        a.tensors[group].keys() == b.tensors[group].keys()
        and all(torch.equal(t, b.tensors[group][name]) for name, t in a.tensors[group].items())
        for group in a.tensors
    )


@pytest.mark.parametrize("first", [1, 3, 4, 5])
def test_a_stopped_and_resumed_run_ends_bit_for_bit_like_an_unbroken_one(
    clips, clebs, tmp_path, first
):
    whole = _train(clips, clebs)
    half = _train(clips, clebs, watch=Watch(should_stop=Stop(first)))
    assert half.card["ended"] == "stopped"
    write_checkpoint(tmp_path, half.tensors, half.card)
    torch.manual_seed(first)  # the caller's generator must not matter
    resumed = train_export3d(TINY, CONFIG, clips, state=TrainedState(*read_checkpoint(tmp_path)))
    assert _same(whole, resumed)
    assert whole.card == resumed.card
    assert not _same(whole, half)


def test_clebs_resumes_bit_for_bit_too(clips, tmp_path):
    whole = pretrain_clebs(TINY, CLEBS_CONFIG, clips)
    half = pretrain_clebs(TINY, CLEBS_CONFIG, clips, watch=Watch(should_stop=Stop(2)))
    write_checkpoint(tmp_path, half.tensors, half.card)
    saved = TrainedState(*read_checkpoint(tmp_path))
    assert _same(whole, pretrain_clebs(TINY, CLEBS_CONFIG, clips, state=saved))


def test_clebs_learns_and_stores_basis_and_statistics(clips):
    losses = []
    watch = Watch(on_metrics=lambda rows: losses.append({r.name: r.value for r in rows}["loss"]))
    config = dataclasses.replace(CLEBS_CONFIG, steps=40, jitter=0.0, learning_rate=3e-3)
    trained = pretrain_clebs(TINY, config, clips, watch=watch)
    assert losses[0] == pytest.approx(math.log(3), abs=3.0)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    basis = trained.tensors["lebs"]["basis_DL"]
    assert torch.allclose(basis.T @ basis, torch.eye(4), atol=1e-5)
    assert (trained.tensors["lebs"]["lambda_std_L"] > 0).all()
    assert trained.card["frames_per_clip"] == 4


def test_the_expression_encoder_stays_frozen_and_the_rest_learns(clips, clebs):
    state = _train(clips, clebs)
    for name, tensor in clebs.tensors["lebs"].items():
        assert torch.equal(state.tensors["weights"][f"condition.encoder.{name}"], tensor)
    learned = {name.split(".")[0] for name in state.tensors["optimizer"]}
    assert learned == {"generator", "decoder", "superres"}
    assert state.tensors["weights"]["plane_mean_PCHW"].abs().sum() > 0


def test_the_plane_mean_moves_once_per_step_from_zero(clips, clebs):
    # At a rate of 0 the weights stay, so the two steps' planes can be made again.
    config = {"reconstruction_steps": 2, "adversarial_steps": 0, "learning_rate": 0.0}
    weights = _train(clips, clebs, config=config).tensors["weights"]
    network = Export3D(TINY)
    network.load_state_dict(weights)
    sampler = PairSampler(clips, FrameBank(clips, 48, 10**9), CONFIG.batch, CONFIG.seed)
    expected = torch.zeros_like(network.plane_mean_PCHW)
    for step in range(2):
        batch = sampler.batch(step)
        with torch.no_grad():
            raw = network.generate(network.encode_source(batch.source_BCHW), batch.expression_BE)
        delta = TINY.plane_mean_decay
        expected = delta * expected + (1 - delta) * raw.mean(dim=0)
    assert torch.allclose(weights["plane_mean_PCHW"], expected, rtol=1e-4, atol=1e-6)


def test_trained_weights_load_into_a_network(clips, clebs):
    network = Export3D(TINY)
    network.load_state_dict(_train(clips, clebs).tensors["weights"])


def test_end_to_end_expression_needs_no_pretraining_and_learns(clips):
    network = dataclasses.replace(TINY, expression="e2e")
    state = train_export3d(network, dataclasses.replace(CONFIG, adversarial_steps=0), clips)
    assert "condition.encoder.weight_DL/exp_avg" in state.tensors["optimizer"]


def test_metrics_and_samples_of_both_phases(clips, clebs):
    rows, grids = [], []
    watch = Watch(on_metrics=rows.extend, on_sample=lambda step, grid: grids.append(grid))
    _train(clips, clebs, watch=watch)
    names = {(r.phase, r.name) for r in rows}
    first = {name for phase, name in names if phase == "reconstruction"}
    assert first == {"l2", "l2_raw", "total"}
    for name in ("l2", "adversarial", "discriminator", "score_real", "r1", "sample_psnr"):
        assert ("adversarial", name) in names
    assert [g.shape for g in grids] == [(2 * 48, 5 * 48, 3)]
    assert grids[0].dtype == np.uint8


def test_a_loss_that_is_no_number_stops_the_run_with_its_name(clips, clebs):
    class Broken:
        name = "broken"

        def __call__(self, image_BCHW, target_BCHW):
            return (image_BCHW * float("nan")).mean()

    with pytest.raises(DivergedError, match="loss perceptual is nan at step 1"):
        _train(clips, clebs, perceptual=Broken())


def test_a_network_without_its_encoder_and_a_foreign_state_are_refused(clips, clebs):
    with pytest.raises(StateMismatchError, match="needs a pre-trained expression encoder"):
        train_export3d(TINY, CONFIG, clips)
    state = _train(clips, clebs, config={"reconstruction_steps": 1, "adversarial_steps": 0})
    other = dataclasses.replace(TINY, hidden=64)
    with pytest.raises(StateMismatchError, match="weights of the network do not fit"):
        train_export3d(other, CONFIG, clips, state=state)


def test_a_run_without_discriminator_can_get_one_later(clips, clebs):
    first = _train(clips, clebs, config={"adversarial_steps": 0})
    assert "discriminator" not in first.tensors
    later = train_export3d(TINY, CONFIG, clips, state=first)
    assert later.card["position"]["steps"] == [4, 2]
    assert _same(later, _train(clips, clebs))


def test_the_layout_in_memory_changes_last_digits_only_and_no_file(clips, clebs, tmp_path):
    told: dict[bool, list[float]] = {True: [], False: []}

    def training(channels_last: bool) -> TrainedState:
        def on_metrics(rows):
            told[channels_last] += [row.value for row in rows if row.name == "total"]

        changes = {"channels_last": channels_last}
        return _train(clips, clebs, config=changes, watch=Watch(on_metrics=on_metrics))

    inside, plain = training(channels_last=True), training(channels_last=False)
    assert told[True] == pytest.approx(told[False], rel=1e-3)
    assert told[True][0] == pytest.approx(told[False][0], rel=1e-5)
    write_checkpoint(tmp_path, inside.tensors, inside.card)
    for name, tensor in inside.tensors["weights"].items():
        assert tensor.is_contiguous()
        assert tensor.shape == plain.tensors["weights"][name].shape


def test_sources_that_change_places_are_read_against_the_driving_frames(clips, clebs):
    class Reader:
        def __init__(self) -> None:
            self.seen = []

        def __call__(self, image, target, *, same_person=True):
            self.seen.append((image.detach().clone(), target, same_person))
            return (image - target).square().mean()

    reader, told = Reader(), []
    weights = ReconstructionWeights(expression=0.5, expression_of_others=0.5)
    _train(
        clips,
        clebs,
        config={"weights": weights, "adversarial_steps": 0, "reconstruction_steps": 1},
        expression=reader,
        watch=Watch(on_metrics=told.extend),
    )
    (own, target, same_person), (others, again, same_person_too) = reader.seen
    assert (same_person, same_person_too) == (True, False)
    assert torch.equal(target, again)
    assert not torch.allclose(own, others)
    losses = {row.name: row.value for row in told if row.step == 1}
    assert losses["expression"] == pytest.approx(float((own - target).square().mean()), rel=1e-4)
    assert losses["expression_of_others"] == pytest.approx(
        float((others - target).square().mean()), rel=1e-4
    )
    assert losses["total"] == pytest.approx(
        losses["l2"] + losses["l2_raw"]
        + 0.5 * (losses["expression"] + losses["expression_of_others"]), rel=1e-4,
    )  # fmt: skip
