"""Detached CMS signatures (RFC 5652), as S/MIME has them, over octets."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from dnssecd.config.mail_certificates import Signer


def sign_detached(content: bytes, signer: Signer) -> bytes:
    """Return the signature (DER) over *content*, with the certificate and those between it and its root."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(signer.certificate, signer.key, hashes.SHA256())
    for certificate in signer.chain:
        builder = builder.add_certificate(certificate)
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])


def is_by(signature: bytes, signer: Signer) -> bool:
    """Tell whether a signature (DER) has the certificate of *signer*; whether it verifies is not checked."""
    try:
        return signer.certificate in pkcs7.load_der_pkcs7_certificates(signature)
    except ValueError:
        return False
