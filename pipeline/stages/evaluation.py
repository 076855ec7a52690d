"""A trained network judged on a dataset, frame by frame, in both protocols (Spec 2.8)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.evaluation.protocol import (
    Pair,
    Protocol,
    ProtocolConfig,
    cross_identity_pairs,
    pairs_as_plain,
    pairs_from_plain,
    same_identity_pairs,
)
from model.inference.animator import Animator
from model.training.holdout import Holdout
from model.training.perceptual import HedVgg16
from pipeline import dataset as datasets
from pipeline.errors import ConfigurationError
from pipeline.evaluation.clips import JudgedClip, clips_to_judge, persons_by_clip
from pipeline.evaluation.judge import PairJudge
from pipeline.evaluation.summary import Row, summary_of
from pipeline.faces.backends import FaceNetworks, networks_identity
from pipeline.faces.measured import FaceMeter
from pipeline.faces.models import FaceModelName, identity_of
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.judged import judged_card, judged_dataset, judged_network
from pipeline.stages.train_export3d import PERCEPTUAL
from pipeline.stages.training import device
from storage import assets
from storage.identity import JSON, plain
from storage.schemas import evaluation_schema
from storage.tables import write_table

FRAMES, PAIRS, SUMMARY = "frames.parquet", "pairs.json", "summary.json"
RANKED_BY: Mapping[Protocol, str] = {"same": "akd", "cross": "aed"}
"""By which metric the best, the middle and the worst frame of a protocol are shown."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is judged, and what measures it: that which made the dataset."""

    networks: FaceNetworks
    face_model: FaceModelName
    min_score: float
    """Least presence of a face, 0 to 1, as in the dataset's recipe."""
    same_person: float
    """Mean cosine of embeddings from which on persons of two films are one."""
    holdout: Holdout
    """What the run has kept from training."""
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    perceptual_blocks: int = 5
    """Blocks of VGG16 in the perceptual distance; 0 measures none."""
    perceptual_px: int = 128
    """Larger pictures are shrunk for it: it costs more than all else together."""
    batch: int = 8
    """Frames in one pass of the network on a GPU."""
    gpus: float = 0
    """Devices of a worker; changes no key."""


class Evaluation(Stage):
    """Weights and a dataset in; a row of metrics for each driving frame and their summary out.

    The item's inputs: "weights" and "dataset" (keys of commits), "trained_on" (keys of all
    datasets that led to the weights), and, to judge on the very pairs of another evaluation,
    "pairs" (its key).
    """

    name = "evaluation"
    version = 2
    libraries = ("torch", "decord", "opencv-python", "ai-edge-litert")

    config: EvaluationConfig

    def __init__(self, config: EvaluationConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=2, gpus=config.gpus, memory_gib=4)

    def identity(self) -> JSON:
        """All settings but the devices, and the digests of all networks that measure."""
        blocks = self.config.perceptual_blocks
        return {
            **{name: value for name, value in plain(self.config).items() if name != "gpus"},
            "networks": networks_identity(self.config.networks),
            "face_model": identity_of(self.config.face_model),
            "perceptual_sha256": assets.weights_digest(PERCEPTUAL) if blocks else "",
        }

    def setup(self) -> None:
        """Open the networks that measure; the one that is judged comes with its item."""
        config = self.config
        self._meter = FaceMeter(config.networks, config.face_model, config.min_score)
        blocks, px = config.perceptual_blocks, config.perceptual_px
        self._perceptual = HedVgg16(assets.locate(PERCEPTUAL), blocks, px) if blocks else None

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Judge each run."""
        return [self._judge(work) for work in batch]

    def close(self) -> None:
        """Drop the networks."""
        self._meter.close()

    def _judge(self, work: Work) -> Result:
        dataset = judged_dataset(work)
        keys: Any = work.item.inputs["trained_on"]
        trained_on = [datasets.load_key(work.ledger, key) for key in keys]
        try:
            datasets.check_same_kind(trained_on[0], dataset)
        except ConfigurationError as error:
            return Result(Outcome.FAILED, "other_kind", str(error))
        folder = work.folder / "clips"
        folder.mkdir()
        judged = clips_to_judge(work.ledger, dataset, trained_on, self.config.holdout, folder)
        person_of = persons_by_clip(work.ledger, dataset, judged, self.config.same_person)
        pairs = self._pairs(work, judged, person_of)
        if not pairs:
            detail = "no clip has a frame for a source and another one that may drive it"
            return Result(Outcome.FAILED, "no_pairs", detail)
        named = {clip for pair in pairs for clip in (pair.source_clip, pair.driving_clip)}
        if named - set(person_of):
            detail = "the pairs given are of clips that this run cannot be judged on"
            return Result(Outcome.FAILED, "foreign_pairs", detail)
        animator = Animator(judged_network(work), device=device(), batch=self.config.batch)
        judge = PairJudge(judged, person_of, animator, self._meter, self._perceptual)
        facts: dict[str, JSON] = {
            "clips": len(judged),
            "clips_without_pair": len(judged) - len({pair.driving_clip for pair in pairs}),
            "persons": len({person_of[pair.driving_clip] for pair in pairs}),
            "image_px": animator.image_px,
            "perceptual": self._perceptual.name if self._perceptual else None,
            "trained_against": self._trained_against(judged_card(work)),
            "config": self.identity(),
        }
        return _judged(work, judge, pairs, facts)

    def _trained_against(self, card: Mapping[str, Any]) -> list[JSON]:
        """Return the metrics whose networks were also in a loss of the training: it suits them."""
        against: list[JSON] = []
        if self._perceptual and str(card.get("perceptual")).startswith(HedVgg16.TRUNK):
            against.append("lpips")
        weights = card.get("training", {}).get("weights", {})
        if weights.get("expression") and self.config.networks.landmarks == "mediapipe":
            against += ["akd", "akd_sum", "aed"]
        return against

    def _pairs(
        self, work: Work, judged: Sequence[JudgedClip], person_of: Mapping[str, str]
    ) -> list[Pair]:
        given = work.item.inputs.get("pairs")
        if given is not None:
            other = work.ledger.expect(self.name, str(given)).output(PAIRS)
            return pairs_from_plain(json.loads(work.ledger.store.get(other.key)))
        config = self.config.protocol
        same = same_identity_pairs([one.frames for one in judged], config)
        return same + cross_identity_pairs(same, person_of, config)


def _judged(
    work: Work, judge: PairJudge, pairs: Sequence[Pair], facts: Mapping[str, JSON]
) -> Result:
    """Judge the pairs, and write all that the stage gives; `facts` stand first in the summary."""
    rows: list[Row] = []
    total = sum(len(pair.driving_frames) for pair in pairs)
    for pair in pairs:
        rows += judge.rows(pair)
        work.report(len(rows), total)
    files = {name: work.folder / name for name in (FRAMES, PAIRS, SUMMARY)}
    summary = dict(facts)
    for protocol, metric in RANKED_BY.items():
        own = [row for row in rows if row["protocol"] == protocol]
        if own:
            summary[protocol] = summary_of(own)
            picture = files[f"{protocol}.png"] = work.folder / f"{protocol}.png"
            picture.write_bytes(judge.picture(own, metric))
    write_table(files[FRAMES], rows, evaluation_schema())
    files[PAIRS].write_text(json.dumps(pairs_as_plain(pairs)), "utf-8")
    files[SUMMARY].write_text(json.dumps(summary, indent=1, allow_nan=False), "utf-8")
    failed = sum(bool(row["reason"]) for row in rows)
    return Result(Outcome.OK, counts={"frames": len(rows), "failed": failed}, files=files)
