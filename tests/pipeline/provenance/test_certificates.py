"""Who signs: the development certificate, and one of the operator's own."""

import datetime
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pipeline.errors import ConfigurationError
from pipeline.provenance.certificates import (
    ANCHORS,
    CERTIFICATES,
    KEY_FILE,
    SigningIdentity,
    signing_identity,
    trust_anchors,
)
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import read_manifest, sign_film


def pem(key, encryption: KeySerializationEncryption | None = None) -> bytes:
    form = PrivateFormat.TraditionalOpenSSL if encryption is None else PrivateFormat.PKCS8
    if isinstance(key, ed25519.Ed25519PrivateKey):
        form = PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


@pytest.fixture
def configured(tmp_path: Path, identity: SigningIdentity) -> dict[str, str]:
    """The variables of an operator who has a certificate."""
    (tmp_path / "chain.pem").write_text(identity.chain_pem)
    key = load_pem_private_key(identity.key_pem, None)
    (tmp_path / "key.pem").write_bytes(pem(key))
    return {CERTIFICATES: str(tmp_path / "chain.pem"), KEY_FILE: str(tmp_path / "key.pem")}


def test_the_development_certificate_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first, again = signing_identity(home, {}), signing_identity(home, {})
    assert first == again
    assert first.development
    assert first.algorithm == "es256"
    (file,) = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert signing_identity(tmp_path / "other", {}) != first


def test_of_many_that_ask_at_once_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as askers:
        got = list(askers.map(lambda _: signing_identity(tmp_path / "home", {}).digest, range(8)))
    assert len(set(got)) == 1
    assert len(list((tmp_path / "home").iterdir())) == 1


def test_the_development_certificate_is_a_leaf_under_an_authority(
    identity: SigningIdentity,
) -> None:
    leaf, authority = x509.load_pem_x509_certificates(identity.chain_pem.encode())
    leaf.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    limits = [
        one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        for one in (leaf, authority)
    ]
    assert limits == [False, True]
    assert load_pem_private_key(identity.key_pem, None).public_key() == leaf.public_key()
    assert "PRIVATE" not in identity.chain_pem


def test_the_key_is_not_told(identity: SigningIdentity) -> None:
    assert "PRIVATE" not in repr(identity)
    assert identity.key_pem.decode().splitlines()[1] not in repr(identity)


def test_a_configured_certificate_is_used_and_none_is_made(
    tmp_path: Path, identity: SigningIdentity, configured: dict[str, str]
) -> None:
    got = signing_identity(tmp_path / "home", configured)
    assert (got.chain_pem, got.algorithm, got.development) == (identity.chain_pem, "es256", False)
    assert got.key_pem == identity.key_pem  # PKCS8, whatever was given
    assert not (tmp_path / "home").exists()


def issued(key) -> bytes:
    """A certificate of an authority for a signer's key, and the authority's own."""
    authority = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, one)])
        for one in ("Studio", "Authority")
    ]
    now = datetime.datetime.now(datetime.UTC)
    chain = []
    for name, public, is_authority in (
        (names[0], key.public_key(), False),
        (names[1], authority.public_key(), True),
    ):
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        usage |= {"key_cert_sign": is_authority, "crl_sign": is_authority}
        usage |= {"digital_signature": not is_authority}
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        builder = (
            x509.CertificateBuilder(names[1], name, public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
        )
        if not is_authority:
            purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purpose, critical=False)
        chain.append(builder.sign(authority, SHA256()))
    return b"".join(one.public_bytes(Encoding.PEM) for one in chain)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ec.generate_private_key(ec.SECP521R1()), "es512"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
    ids=["P-384", "P-521", "Ed25519", "RSA"],
)
def test_a_key_of_any_kind_that_c2pa_knows_signs(
    key, algorithm: str, film: Path, claim: Claim, tmp_path: Path
) -> None:
    (tmp_path / "chain.pem").write_bytes(issued(key))
    (tmp_path / "key.pem").write_bytes(pem(key))
    got = signing_identity(
        tmp_path,
        {CERTIFICATES: str(tmp_path / "chain.pem"), KEY_FILE: str(tmp_path / "key.pem")},
    )
    assert got.algorithm == algorithm
    sign_film(film, tmp_path / "signed.mp4", claim, got)
    read = read_manifest(tmp_path / "signed.mp4", got.chain_pem)
    assert (read.trusted, read.claim, read.issuer) == (True, claim, "Studio")


def test_a_curve_that_c2pa_does_not_know_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    (tmp_path / "both.pem").write_bytes(issued(key) + pem(key))
    both = {CERTIFICATES: str(tmp_path / "both.pem"), KEY_FILE: str(tmp_path / "both.pem")}
    with pytest.raises(ConfigurationError, match="on the curve secp256k1; C2PA knows P-256"):
        signing_identity(tmp_path, both)


@pytest.mark.parametrize("missing", [CERTIFICATES, KEY_FILE])
def test_half_a_configuration_is_refused(
    tmp_path: Path, configured: dict[str, str], missing: str
) -> None:
    with pytest.raises(ConfigurationError, match="only used together"):
        signing_identity(tmp_path, {**configured, missing: ""})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pem(ec.generate_private_key(ec.SECP256R1())), "not hold the key of the first"),
        (pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"word")),
         "holds a key with a passphrase"),
        (pem(dsa.generate_private_key(2048)), "of a kind that C2PA does not know"),
        (b"no key at all", "holds no PEM private key"),
        (None, "cannot be read: No such file"),
    ],
    ids=["another", "locked", "dsa", "rubbish", "absent"],
)  # fmt: skip
def test_a_key_that_cannot_sign_is_refused_in_one_sentence(
    tmp_path: Path, configured: dict[str, str], content: bytes | None, said: str
) -> None:
    key = Path(configured[KEY_FILE])
    key.unlink() if content is None else key.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as refused:
        signing_identity(tmp_path, configured)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("variable", [CERTIFICATES, ANCHORS])
def test_a_file_without_certificates_is_refused(
    tmp_path: Path, configured: dict[str, str], variable: str
) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("nothing")
    given = {**configured, variable: str(rubbish)}
    with pytest.raises(ConfigurationError, match=f"{variable} names holds no PEM certificate"):
        signing_identity(tmp_path, given), trust_anchors(given)


def test_a_damaged_development_certificate_is_named(tmp_path: Path) -> None:
    signing_identity(tmp_path, {})
    (file,) = tmp_path.iterdir()
    file.write_text("damaged")
    with pytest.raises(ConfigurationError, match=r"c2pa-development\.pem holds no PEM"):
        signing_identity(tmp_path, {})


def test_anchors_are_optional(tmp_path: Path, identity: SigningIdentity) -> None:
    assert trust_anchors({}) is None
    (tmp_path / "anchors.pem").write_text(identity.chain_pem)
    assert trust_anchors({ANCHORS: str(tmp_path / "anchors.pem")}) == identity.chain_pem
