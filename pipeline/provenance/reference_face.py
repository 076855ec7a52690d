"""The face of a person who agrees, from a picture that is looked at and not kept."""

from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FaceNetworks, OpenNetworks, open_networks
from pipeline.provenance.consent import KnownFace
from preprocess.landmarks.backend import Rgb
from preprocess.media.decode import decode_film
from preprocess.media.errors import UnusableFilm
from preprocess.media.picture import read_picture
from preprocess.people.follow import FollowConfig, Follower


def reference_face(picture: Path, networks: FaceNetworks) -> KnownFace:
    """Return the one face of a picture, as the networks that follow people in films see it.

    Of a film it is the face of the first frame. Raises ConfigurationError for no picture, no face,
    or several, and for networks that know no persons; AssetMissing for weights that are not on this
    machine.
    """
    if networks.embedding is None:
        raise ConfigurationError(
            "these networks know no persons; take a recipe that does, such as dubbing"
        )
    rgb = _read(picture)
    opened = open_networks(networks)
    try:
        return _only_face(picture, rgb, opened)
    finally:
        opened.close()


def _only_face(picture: Path, rgb: Rgb, networks: OpenNetworks) -> KnownFace:
    embedder = networks.embedder
    assert embedder is not None  # noqa: S101  the networks have been asked
    follower = Follower(networks.detectors, networks.landmarks, embedder, FollowConfig())
    list(follower.follow([rgb], [0]))
    if not follower.tracks:
        raise ConfigurationError(f"no face was found in {picture}")
    if len(follower.tracks) > 1:
        raise ConfigurationError(
            f"{picture} shows {len(follower.tracks)} faces; it must show one alone"
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
    if rgb is not None:
        return rgb
    try:
        return next(decode_film(picture)).rgb
    except (UnusableFilm, StopIteration) as error:
        raise ConfigurationError(f"{picture} is neither a picture nor a film") from error
