"""What is made of a manifest and of a mark that was looked for."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from model.inference.invisible_mark import Finding, MarkKey, pattern, with_invisible_mark
from pipeline.errors import ConfigurationError
from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import ManifestReading, Standing, sign_film
from pipeline.provenance.verify import (
    C2PA,
    INVISIBLE,
    VISIBLE,
    Verdict,
    Verification,
    judged,
    verify_film,
)
from preprocess.media.errors import FilmReason, UnusableFilm

KEY, OTHER_KEY = MarkKey(b"sixteen bytes or more"), MarkKey(b"sixteen other bytes")
THERE, NOT_THERE = Finding(9.0, 3e-18, 100), Finding(3.0, 0.9, 100)
FINE = (Verdict.HOLDS, Verdict.HOLDS, Verdict.HOLDS)


@pytest.fixture
def read(claim: Claim) -> ManifestReading:
    """A valid manifest of a film that was marked with KEY."""
    return ManifestReading(
        Standing.VALID, claim=replace(claim, mark_key=KEY.name), issuer="somebody"
    )


def verdicts(verified: Verification) -> tuple[Verdict, ...]:
    return tuple(verified.checks[one].verdict for one in (C2PA, INVISIBLE, VISIBLE))


def judge(
    manifest: ManifestReading,
    finding: Finding = THERE,
    key: MarkKey | None = KEY,
    *,
    trust_needed: bool = False,
) -> Verification:
    return judged(manifest, key, lambda _: finding, trust_needed=trust_needed)


def test_a_valid_manifest_and_the_mark_it_promises_hold(read: ManifestReading) -> None:
    verified = judge(read)
    assert verdicts(verified) == FINE
    assert verified.holds
    assert "issuer (somebody) is not trusted" in verified.checks[C2PA].sentence


def test_where_authorities_are_configured_their_word_is_needed(read: ManifestReading) -> None:
    assert not judge(read, trust_needed=True).holds
    trusted = judge(replace(read, trusted=True), trust_needed=True)
    assert trusted.holds
    assert trusted.checks[C2PA].sentence == "the signature is valid, and its issuer is trusted"


def test_a_promised_mark_that_is_not_there_fails(read: ManifestReading) -> None:
    verified = judge(read, NOT_THERE)
    assert verdicts(verified) == (Verdict.HOLDS, Verdict.FAILS, Verdict.HOLDS)
    assert not verified.holds


def test_marks_that_the_job_left_off_are_not_looked_for(read: ManifestReading) -> None:
    assert read.claim is not None
    plain = replace(read, claim=replace(read.claim, visible_mark=False, mark_key=None))
    verified = judge(plain, NOT_THERE, None)
    assert verdicts(verified) == (Verdict.HOLDS, Verdict.LEFT_OFF, Verdict.LEFT_OFF)
    assert verified.holds


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_a_mark_that_cannot_be_looked_for_is_unknown(
    read: ManifestReading, key: MarkKey | None
) -> None:
    verified = judge(read, key=key)
    assert verdicts(verified) == (Verdict.HOLDS, Verdict.UNKNOWN, Verdict.HOLDS)
    assert not verified.holds


def test_without_a_manifest_the_mark_still_tells() -> None:
    verified = judge(ManifestReading(Standing.ABSENT))
    assert verdicts(verified) == (Verdict.FAILS, Verdict.HOLDS, Verdict.UNKNOWN)
    assert not verified.holds


def test_of_a_broken_manifest_nothing_is_believed(read: ManifestReading) -> None:
    assert read.claim is not None
    forged = replace(
        read,
        standing=Standing.BROKEN,
        failures=("assertion.bmffHash.mismatch: x",),
        claim=replace(read.claim, mark_key=None, visible_mark=True),
    )
    verified = judge(forged, NOT_THERE)
    assert verdicts(verified) == (Verdict.FAILS, Verdict.FAILS, Verdict.UNKNOWN)
    assert "bmffHash.mismatch" in verified.checks[C2PA].sentence


def test_a_manifest_of_somebody_else_is_not_enough() -> None:
    foreign = ManifestReading(Standing.VALID, trusted=True)
    assert verdicts(judge(foreign)) == (Verdict.FAILS, Verdict.HOLDS, Verdict.UNKNOWN)


def test_a_film_that_cannot_be_decoded_is_unknown() -> None:
    def look(_: MarkKey) -> Finding:
        raise UnusableFilm(FilmReason.NOT_MEDIA, "it is text")

    verified = judged(ManifestReading(Standing.BROKEN), KEY, look, trust_needed=False)
    assert verified.checks[INVISIBLE].verdict is Verdict.UNKNOWN
    assert "it is text" in verified.checks[INVISIBLE].sentence


def test_the_result_is_plain_values_without_the_key(read: ManifestReading) -> None:
    told = judge(read).to_json()
    assert told["holds"] is True
    assert "sixteen" not in str(told)


@pytest.fixture(scope="module")
def marked_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256x256, 60 frames of a moving texture, marked with KEY everywhere."""
    path = tmp_path_factory.mktemp("marked") / "marked.mp4"
    rng = np.random.default_rng(1)
    mark_HW, everywhere = pattern(KEY, 256, 256), np.ones((256, 256), np.float32)
    coarse = rng.uniform(60, 200, (40, 40, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.height = stream.width = 256
        stream.codec_context.thread_count = 1
        for number in range(60):
            frame = np.ascontiguousarray(coarse[number // 2 :][:256, :256])
            marked = with_invisible_mark(frame, mark_HW, everywhere, number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(marked, "rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_delivered_film_is_verified_and_a_stripped_one_is_known_by_its_mark(
    marked_film: Path, claim: Claim, identity: SigningIdentity, tmp_path: Path
) -> None:
    signed = tmp_path / "signed.mp4"
    sign_film(marked_film, signed, replace(claim, mode="portrait", mark_key=KEY.name), identity)
    assert verdicts(verify_film(signed, KEY)) == FINE
    assert verify_film(signed, KEY, identity.chain_pem).holds
    stranger = signing_identity(tmp_path / "home", {})
    assert not verify_film(signed, KEY, stranger.chain_pem).holds
    stripped = verify_film(marked_film, KEY)
    assert verdicts(stripped) == (Verdict.FAILS, Verdict.HOLDS, Verdict.UNKNOWN)
    assert verify_film(marked_film, OTHER_KEY).checks[INVISIBLE].verdict is Verdict.FAILS


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        verify_film(tmp_path / "absent.mp4", KEY)
