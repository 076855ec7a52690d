"""What the expression encoder has learned: beta' beside beta, on the persons of a dataset.

Shapes: N frames, D numbers of a code, S frames in the picture.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import manifold, metrics

from model.evaluation.expressions import linear_probe, neighbour_identity
from model.export3d.condition import ExpressionCondition
from model.export3d.network import Export3D
from model.training.state import seeded
from pipeline.faces.cast import PersonFaces, cast_faces, rows_at
from pipeline.reports.pictures import spread
from pipeline.reports.pixels import clouds
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.judged import judged_dataset, judged_network
from preprocess.landmarks.openings import face_openings
from storage.identity import JSON, plain

NUMBERS, TSNE = "expressions.json", "tsne.png"
BETA, ENCODED, UNTRAINED = "beta", "beta_prime", "untrained"
LESS_PERSON = "beta_less_person"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ExpressionsConfig:
    """How codes of expressions are judged."""

    same_person: float
    """Least cosine of embeddings at which persons of two films are one; see cast_of."""
    persons: int = 50
    """At most: all frames are compared with all, which takes memory."""
    frames_per_person: int = 100
    """At most, evenly over a person's films: nobody outweighs the others."""
    least_frames: int = 10
    """Persons with fewer are left out, by name."""
    neighbours: int = 5
    """Frames that are asked whom a frame shows."""
    apart_s: float = 2.0
    """Frames of one clip nearer than this are not asked: they show the same moment of the take,
    and find each other by that in codes that know nothing of the person."""
    tsne_persons: int = 10
    """Persons in the picture, at most (the paper's number)."""
    tsne_frames: int = 10
    """Frames of each of them (the paper's number)."""
    perplexity: float = 15.0
    """About how many neighbours a point of the picture has; a third of the points at most."""
    seed: int = 0
    """Draws the picture's persons and frames, and shuffles for the level of chance."""


class Expressions(Stage):
    """Weights and a dataset in; what expression codes tell of person, pose and mouth out."""

    name = "expressions"
    version = 2
    unit = "films"
    resources = Resources(cpus=1, memory_gib=2)
    libraries = ("torch", "scipy", "scikit-learn", "matplotlib")

    config: ExpressionsConfig

    def identity(self) -> JSON:
        """How codes are judged."""
        return plain(self.config)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Judge the encoder of each item."""
        return [self._judge(work) for work in batch]

    def _judge(self, work: Work) -> Result:
        config = self.config
        network, dataset = judged_network(work), judged_dataset(work)
        persons, cast = cast_faces(
            work.ledger, dataset, config.persons, config.same_person, work.report
        )
        taken = [person for person in persons if len(person.rows) >= config.least_frames]
        if len(taken) < 2:
            detail = f"{len(taken)} persons have {config.least_frames} frames; two are needed"
            return Result(Outcome.FAILED, "too_few_persons", detail)
        sample = _sample(taken, config.frames_per_person)
        codes = _codes(network, sample, config.seed)
        shown = _shown(sample, config)
        numbers: dict[str, JSON] = {
            **work.item.inputs,
            "encoder": network.config.expression,
            "config": self.identity(),
            "frames": len(sample.name_N),
            "persons": {person.name: _count(sample, person.name) for person in taken},
            "left_out": [person.name for person in persons if person not in taken],
            "doubts": list(cast.doubts),
            "codes": {name: _judged(code_ND, sample, config) for name, code_ND in codes.items()},
            "tsne": dict(Counter(sample.name_N[shown].tolist())),
        }
        files = {NUMBERS: work.folder / NUMBERS, TSNE: work.folder / TSNE}
        files[NUMBERS].write_text(json.dumps(numbers, indent=1, allow_nan=False), "utf-8")
        files[TSNE].write_bytes(_picture(codes, sample, shown, config))
        counts = {"persons": len(taken), "frames": len(sample.name_N)}
        return Result(Outcome.OK, counts=counts, files=files)


def encoded(condition: ExpressionCondition, beta_ND: Array) -> Array:
    """Return beta' of the face model's coefficients, a row each, as the encoder gives it."""
    with torch.inference_mode():
        code_ND = condition.encoder(torch.from_numpy(beta_ND).float())
    return np.asarray(code_ND.double().numpy(), np.float64)


def _codes(network: Export3D, sample: "_Sample", seed: int) -> dict[str, Array]:
    """Return the codes to be judged: raw, encoded, and two to compare these with.

    A few numbers tell less than 64 whatever they are: what training did, the encoder without it
    shows. Takes differ in what is felt and said: how far that alone tells them apart, beta shows
    with every person's own mean, for which one has to know the person, taken off.
    """
    beta_ND = sample.beta_ND
    less_ND = beta_ND.copy()
    for name in np.unique(sample.name_N):
        less_ND[sample.name_N == name] -= beta_ND[sample.name_N == name].mean(axis=0)
    with seeded([seed], torch.device("cpu")):
        untrained = ExpressionCondition(network.config)
    return {
        BETA: beta_ND,
        ENCODED: encoded(network.condition, beta_ND),
        UNTRAINED: encoded(untrained, beta_ND),
        LESS_PERSON: less_ND,
    }


@dataclass(frozen=True, eq=False)
class _Sample:
    """Frames of all persons, with what is to be read off their codes by name."""

    name_N: NDArray[np.str_]
    clip_N: NDArray[np.str_]
    pts_s_N: Array
    beta_ND: Array
    quantities: Mapping[str, Array]


def _sample(persons: Sequence[PersonFaces], frames_per_person: int) -> _Sample:
    rows = [rows_at(each.rows, spread(len(each.rows), frames_per_person)) for each in persons]
    names = [[person.name] * len(own) for person, own in zip(persons, rows, strict=True)]
    angles_N3 = np.concatenate([own.angles_N3 for own in rows]).astype(np.float64)
    landmarks_NK2 = np.concatenate([own.landmarks_NK2 for own in rows])
    return _Sample(
        name_N=np.concatenate(names),
        clip_N=np.concatenate([own.clip_id_N for own in rows]),
        pts_s_N=np.concatenate([own.pts_s_N for own in rows]),
        beta_ND=np.concatenate([own.expression_NE for own in rows]).astype(np.float64),
        quantities={
            "mouth_opening": face_openings(landmarks_NK2)[0],
            **dict(zip(("pitch", "yaw", "roll"), angles_N3.T, strict=True)),
        },
    )


def _count(sample: _Sample, name: str) -> JSON:
    own_N = sample.name_N == name
    return {"frames": int(own_N.sum()), "clips": len(np.unique(sample.clip_N[own_N]))}


def _judged(code_ND: Array, sample: _Sample, config: ExpressionsConfig) -> JSON:
    identity = {
        name: neighbour_identity(
            code_ND,
            sample.name_N,
            sample.clip_N,
            sample.pts_s_N,
            neighbours=config.neighbours,
            apart_s=apart_s,
        )
        for name, apart_s in (("identity", config.apart_s), ("identity_other_clips", math.inf))
    }
    probes = {
        name: linear_probe(code_ND, target_N, sample.name_N, sample.clip_N, seed=config.seed)
        for name, target_N in sample.quantities.items()
    }
    return {
        **{name: asdict(score) if score else None for name, score in identity.items()},
        "silhouette": float(metrics.silhouette_score(code_ND, sample.name_N)),
        "probes": {name: asdict(score) for name, score in probes.items()},
    }


def _shown(sample: _Sample, config: ExpressionsConfig) -> list[int]:
    """Draw the rows of the picture."""
    rng = np.random.default_rng(config.seed)
    names = np.unique(sample.name_N)
    drawn = np.sort(rng.permutation(names)[: config.tsne_persons])
    return [
        int(row)
        for name in drawn
        for row in np.sort(
            rng.permutation(np.flatnonzero(sample.name_N == name))[: config.tsne_frames]
        )
    ]


def _picture(
    codes: Mapping[str, Array], sample: _Sample, shown: Sequence[int], config: ExpressionsConfig
) -> bytes:
    """Plot the codes of rows `shown` in the plane, a colour for each person."""
    perplexity = min(config.perplexity, len(shown) / 3)
    titles = {BETA: "beta: coefficients of the face model", ENCODED: "beta': encoded"}
    panels = {}
    for code, title in titles.items():
        places_S2 = manifold.TSNE(
            perplexity=perplexity, init="pca", method="exact", random_state=config.seed
        ).fit_transform(codes[code][shown])
        name_S = sample.name_N[shown]
        panels[title] = {name: places_S2[name_S == name] for name in dict.fromkeys(name_S)}
    return clouds(panels)
