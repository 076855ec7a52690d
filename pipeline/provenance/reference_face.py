"""The face of a person who agrees, from a picture that is looked at and not kept."""

from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FaceNetworks, OpenNetworks, open_networks
from pipeline.provenance.consent import KnownFace
from preprocess.landmarks.backend import Rgb
from preprocess.media.picture import read_picture
from preprocess.people.follow import Embedder, FollowConfig, Follower


def reference_face(picture: Path, networks: FaceNetworks | None = None) -> KnownFace:
    """Return the one face of a picture, as the networks that follow people in films see it.

    Raises ConfigurationError for no picture, no face, or several; AssetMissing for weights that are
    not on this machine; ValueError for networks that know no persons.
    """
    rgb = _read(picture)
    opened = open_networks(networks or FaceNetworks())
    try:
        if opened.embedder is None:
            raise ValueError("these networks have no embedding, so they know no persons")
        return _only_face(picture, rgb, opened, opened.embedder)
    finally:
        opened.close()


def _only_face(picture: Path, rgb: Rgb, networks: OpenNetworks, embedder: Embedder) -> KnownFace:
    follower = Follower(networks.detectors, networks.landmarks, embedder, FollowConfig())
    list(follower.follow([rgb], [0]))
    if not follower.tracks:
        raise ConfigurationError(f"no face was found in the picture {picture}")
    if len(follower.tracks) > 1:
        raise ConfigurationError(
            f"the picture {picture} shows {len(follower.tracks)} faces; it must show one alone"
        )
    embedding_D = follower.tracks[0].embedding_D
    assert embedding_D is not None  # noqa: S101  there is an embedder
    return KnownFace(tuple(embedding_D.tolist()), embedder.identity())


def _read(picture: Path) -> Rgb:
    try:
        rgb = read_picture(picture)
    except OSError as error:
        raise ConfigurationError(
            f"the picture {picture} cannot be read: {error.strerror}"
        ) from error
    if rgb is None:
        raise ConfigurationError(f"{picture} is not a picture")
    return rgb
