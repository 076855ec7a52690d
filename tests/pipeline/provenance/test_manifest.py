"""The manifest: what a signed film proves, and what it takes to make it prove nothing."""

import subprocess
from dataclasses import replace
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import (
    SigningError,
    Standing,
    read_manifest,
    sha256_without_manifest,
    sign_film,
)
from preprocess.media.ffmpeg import find_ffmpeg

COPY_LIMIT_S = 60.0


@pytest.fixture(scope="module")
def signed(
    film: Path, claim: Claim, identity: SigningIdentity, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("signed") / "signed.mp4"
    sign_film(film, path, claim, identity)
    return path


def packets(film: Path) -> list[tuple[str, int | None, bytes]]:
    """Kind, time stamp and bytes of every packet."""
    with av.open(str(film)) as container:
        return [
            (packet.stream.type, packet.pts, bytes(packet))
            for packet in container.demux()
            if packet.size
        ]


def places(film: Path) -> dict[str, list[range]]:
    """Where the bytes of every packet lie: pictures that stand alone, others, sound."""
    found: dict[str, list[range]] = {"key pictures": [], "other pictures": [], "sound": []}
    with av.open(str(film)) as container:
        for packet in container.demux():
            if packet.size:
                kind = "key pictures" if packet.is_keyframe else "other pictures"
                kind = "sound" if packet.stream.type == "audio" else kind
                found[kind].append(range(packet.pos, packet.pos + packet.size))
    return found


def boxes(film: Path) -> dict[str, range]:
    """Name and place of the boxes of a small mp4."""
    data, found, start = film.read_bytes(), {}, 0
    while start < len(data):
        end = start + int.from_bytes(data[start : start + 4], "big")
        found[data[start + 4 : start + 8].decode("latin-1")] = range(start, end)
        start = end
    return found


def flipped(film: Path, place: int, out: Path, bit: int = 0) -> Path:
    data = bytearray(film.read_bytes())
    data[place] ^= 1 << bit
    out.write_bytes(data)
    return out


def test_a_signed_film_says_what_it_is(signed: Path, claim: Claim) -> None:
    read = read_manifest(signed)
    assert (read.standing, read.claim, read.failures) == (Standing.VALID, claim, ())
    assert read.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert (read.generator or "").startswith("Export3D Pipeline ")
    assert (read.manifest_id or "").startswith("urn:c2pa:")


def test_a_development_certificate_is_valid_and_not_trusted(
    signed: Path, identity: SigningIdentity, tmp_path: Path
) -> None:
    read = read_manifest(signed)
    assert (read.standing, read.trusted) == (Standing.VALID, False)
    assert "not to be trusted" in (read.issuer or "")
    assert read_manifest(signed, identity.chain_pem).trusted
    other = signing_identity(tmp_path, {})
    assert not read_manifest(signed, other.chain_pem).trusted


def test_a_portrait_is_told_from_a_film(
    film: Path, claim: Claim, identity: SigningIdentity, tmp_path: Path
) -> None:
    portrait = replace(claim, mode="portrait", consent=None, mark_key=None)
    sign_film(film, tmp_path / "portrait.mp4", portrait, identity)
    read = read_manifest(tmp_path / "portrait.mp4")
    assert (read.claim, read.source_type) == (portrait, "trainedAlgorithmicMedia")


def test_pictures_sound_and_times_are_as_before(film: Path, signed: Path) -> None:
    assert packets(signed) == packets(film)
    assert {kind for kind, _, _ in packets(signed)} == {"video", "audio"}


@pytest.mark.parametrize("kind", ["key pictures", "other pictures", "sound"])
def test_one_flipped_bit_in_any_packet_is_found(signed: Path, kind: str, tmp_path: Path) -> None:
    ranges = places(signed)[kind]
    assert ranges
    for place in {place for one in ranges for place in (one[0], one[len(one) // 2], one[-1])}:
        read = read_manifest(flipped(signed, place, tmp_path / "flipped.mp4"))
        assert read.standing is Standing.BROKEN
        assert any("bmffHash.mismatch" in failure for failure in read.failures)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_in_the_media_is_found(
    signed: Path, data: st.DataObject, tmp_path: Path
) -> None:
    place = data.draw(st.sampled_from(boxes(signed)["mdat"]))
    bit = data.draw(st.integers(0, 7))
    assert not _valid(flipped(signed, place, tmp_path / "flipped.mp4", bit))


@pytest.mark.parametrize("box", ["moov", "uuid"])
def test_a_flipped_bit_in_the_index_or_in_the_manifest_is_found(
    signed: Path, box: str, tmp_path: Path
) -> None:
    found = boxes(signed)[box]
    for place in (found[len(found) // 2], found[-1]):
        assert not _valid(flipped(signed, place, tmp_path / "flipped.mp4"))


def test_a_longer_and_a_shorter_film_are_found(signed: Path, tmp_path: Path) -> None:
    data = signed.read_bytes()
    for changed in (data[:-1], data[: len(data) // 2], data + b"\0\0\0\x10mdat12345678"):
        (tmp_path / "changed.mp4").write_bytes(changed)
        assert read_manifest(tmp_path / "changed.mp4").standing is Standing.BROKEN


def test_an_unsigned_film_and_a_copy_by_ffmpeg_have_no_manifest(
    film: Path, signed: Path, tmp_path: Path
) -> None:
    assert read_manifest(film).standing is Standing.ABSENT
    copy = tmp_path / "copy.mp4"
    command = [find_ffmpeg(), "-v", "error", "-i", signed, "-c", "copy", copy]
    subprocess.run(command, check=True, timeout=COPY_LIMIT_S)
    read = read_manifest(copy)
    assert (read.standing, read.claim) == (Standing.ABSENT, None)


@pytest.mark.parametrize("content", [b"", b"This is no film.\n" * 50])
def test_what_is_no_film_proves_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    read = read_manifest(tmp_path / "film.mp4")
    assert read.standing is Standing.BROKEN
    assert read.failures[0].startswith("the file is damaged, or no mp4")
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path / "absent.mp4")


def test_two_signatures_differ_and_nothing_else(
    film: Path, signed: Path, claim: Claim, identity: SigningIdentity, tmp_path: Path
) -> None:
    again = tmp_path / "again.mp4"
    sign_film(film, again, claim, identity)
    assert again.read_bytes() != signed.read_bytes()
    same = sha256_without_manifest(signed)
    assert sha256_without_manifest(again) == same
    middle = boxes(again)["mdat"][len(boxes(again)["mdat"]) // 2]
    assert sha256_without_manifest(flipped(again, middle, tmp_path / "x.mp4")) != same
    manifest = boxes(again)["uuid"][-1]
    assert sha256_without_manifest(flipped(again, manifest, tmp_path / "x.mp4")) == same


def test_an_authoritys_own_certificate_is_refused_and_nothing_is_left(
    film: Path, claim: Claim, identity: SigningIdentity, tmp_path: Path
) -> None:
    end = "-----END CERTIFICATE-----\n"
    alone = replace(identity, chain_pem=identity.chain_pem.split(end)[1] + end)
    with pytest.raises(SigningError, match="cannot be signed") as refused:
        sign_film(film, tmp_path / "signed.mp4", claim, alone)
    assert identity.key_pem.decode().splitlines()[1] not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def _valid(film: Path) -> bool:
    return read_manifest(film).standing is Standing.VALID
