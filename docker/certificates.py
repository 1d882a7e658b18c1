"""Makes certificates for `compose.scale.yaml`, once: an authority, and one certificate for each name that is given.

    certificates.py DIRECTORY NAME …

The authority's key is kept nowhere. Trying it needs no better ones; in earnest they come from your own authority.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 365
USES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
"""Servers of a cluster are each other's clients."""


def built(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """What every certificate has."""
    now = datetime.now(UTC)
    named, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer))
    builder = x509.CertificateBuilder().subject_name(named).issuer_name(by).public_key(key.public_key())
    serial = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    return serial.not_valid_after(now + timedelta(days=DAYS))


def main(directory: Path, names: list[str]) -> None:
    """`ca.pem`, and NAME.pem and NAME.key for each; nothing where they are there already."""
    if (directory / "ca.pem").exists():
        return
    authority = ec.generate_private_key(ec.SECP256R1())
    own = built("realtime", "realtime", authority)
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = own.add_extension(usage, critical=True).sign(authority, hashes.SHA256())
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        one = built(name, "realtime", key)
        one = one.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        one = one.add_extension(x509.ExtendedKeyUsage(USES), critical=False)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"{name}.key").write_bytes(private)
        signed = one.sign(authority, hashes.SHA256())
        (directory / f"{name}.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (directory / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
