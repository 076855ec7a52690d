"""Who signs delivered films: certificates from configuration, or those made for development."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pipeline.errors import ConfigurationError
from pipeline.provenance.development_certificate import make_development_certificate
from pipeline.provenance.private_file import secret_of

CERTIFICATES = "E3D_C2PA_CERTIFICATES"
"""Names a PEM file: the signing certificate, then those that it stands on."""
KEY_FILE = "E3D_C2PA_KEY_FILE"
"""Names a PEM file: the private key of the signing certificate, without a passphrase."""
ANCHORS = "E3D_C2PA_ANCHORS"
"""Names a PEM file: certificates of authorities that a reader trusts."""

_DEVELOPMENT = "c2pa-development.pem"
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class SigningIdentity:
    """A certificate chain in PEM, leaf first, and the leaf's private key.

    algorithm: C2PA's name for what the key signs with. development: nobody vouches for it.
    """

    chain_pem: str
    key_pem: bytes = field(repr=False)
    algorithm: str
    development: bool

    @property
    def digest(self) -> str:
        """The sha256 of the chain, which is public."""
        return hashlib.sha256(self.chain_pem.encode()).hexdigest()


def signing_identity(home: Path, environment: Mapping[str, str] = os.environ) -> SigningIdentity:
    """Return the configured identity, else the development one of `home`, made where it lacks.

    Raises ConfigurationError for half a configuration, files that cannot be read or are no PEM, and
    a key that is not the certificate's.
    """
    certificates, key = environment.get(CERTIFICATES, ""), environment.get(KEY_FILE, "")
    if not certificates and not key:
        path = home / _DEVELOPMENT
        pem = secret_of(path, make_development_certificate)
        return _identity(_Pem(pem, str(path)), _Pem(pem, str(path)), development=True)
    if not certificates or not key:
        raise ConfigurationError(f"{CERTIFICATES} and {KEY_FILE} are only used together")
    return _identity(_named(certificates, CERTIFICATES), _named(key, KEY_FILE), development=False)


def trust_anchors(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the authorities that a reader trusts, as PEM; None where none are configured.

    Raises ConfigurationError for a file that cannot be read or holds no certificate.
    """
    named = environment.get(ANCHORS, "")
    if not named:
        return None
    return _as_pem(_certificates(_named(named, ANCHORS)))


@dataclass(frozen=True)
class _Pem:
    """What a file holds, and what to call the file."""

    content: bytes = field(repr=False)
    name: str


def _named(path: str, variable: str) -> _Pem:
    try:
        return _Pem(Path(path).read_bytes(), f"the file that {variable} names")
    except OSError as error:
        raise ConfigurationError(
            f"{variable} names {path!r}, which cannot be read: {error.strerror}"
        ) from error


def _identity(chain: _Pem, key: _Pem, *, development: bool) -> SigningIdentity:
    certificates = _certificates(chain)
    private = _private_key(key)
    if private.public_key() != certificates[0].public_key():
        raise ConfigurationError(
            f"{key.name} does not hold the key of the first certificate in {chain.name}"
        )
    return SigningIdentity(
        chain_pem=_as_pem(certificates),
        key_pem=private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,  # C2PA reads no other
            serialization.NoEncryption(),
        ),
        algorithm=_algorithm(private),
        development=development,
    )


def _private_key(pem: _Pem) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.content, password=None)
    except TypeError:
        raise ConfigurationError(
            f"{pem.name} holds a key with a passphrase; use one without"
        ) from None
    except (UnsupportedAlgorithm, ValueError):  # its text may quote the file
        raise ConfigurationError(f"{pem.name} holds no PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise ConfigurationError(
            f"{pem.name} holds a key of a kind that C2PA does not know; it knows elliptic curves "
            "(P-256, P-384, P-521), Ed25519 and RSA"
        )
    return key


def _algorithm(key: PrivateKey) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if key.curve.name not in _CURVES:
        raise ConfigurationError(
            f"the private key is on the curve {key.curve.name}; C2PA knows P-256, P-384 and P-521"
        )
    return _CURVES[key.curve.name]


def _certificates(pem: _Pem) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.content)
    except ValueError:
        raise ConfigurationError(f"{pem.name} holds no PEM certificate") from None


def _as_pem(certificates: list[x509.Certificate]) -> str:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates).decode()
