"""A certificate for development: an authority and a leaf under it, made once on a machine.

The authority's own key is thrown away after it has signed, so nothing more can be issued with it.
"""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 3650
_ORGANISATION = "Export3D development certificate, not to be trusted"


def make_development_certificate() -> bytes:
    """Return a new private key, its certificate and that of the authority, in one PEM."""
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    name = _name("authority")

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, usage: str,
                    further: list[x509.ExtensionType]) -> x509.Certificate:  # fmt: skip
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=_DAYS))
            .add_extension(x509.BasicConstraints(usage == "authority", None), critical=True)
            .add_extension(_usage(usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(signed_by, critical=False)
        )
        for extension in further:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256())

    # C2PA wants an end-entity certificate with a purpose, and refuses an authority's own.
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    chain = [
        certificate(_name("signer"), leaf, "signer", [purpose]),
        certificate(name, authority, "authority", []),
    ]
    return b"".join(
        [
            leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            *(one.public_bytes(Encoding.PEM) for one in chain),
        ]
    )


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Export3D development {role}"),
        ]
    )


def _usage(role: str) -> x509.KeyUsage:
    is_authority = role == "authority"
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
