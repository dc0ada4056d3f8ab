"""Whether a signature of SNS is right: RSA with PKCS #1 v1.5, the key out of a certificate.

Whether the certificate may be believed is for the caller to know: it comes over TLS from a host of SNS, and its issuer
and dates are not looked at. The library is loaded when the first certificate comes: most doors never see one.
"""

import base64
import binascii
from typing import TYPE_CHECKING, Literal

from config.errors import Refused, TryLater

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey as PublicKey

_NO_RSA = "this machine cannot verify RSA with SHA-256: look at its OpenSSL"
_SMALLEST_BITS, _LARGEST_BITS = 2048, 8192


class NoKey(Refused):
    """The certificate has no RSA key that could be used."""


class NoAlgorithm(TryLater):
    """The OpenSSL of this machine does not have what the signature was made with."""


def is_right(key: "PublicKey", version: Literal["1", "2"], signed: bytes, signature: str) -> bool:
    """Whether the key's owner signed these bytes. `signature` in base64. Raises NoAlgorithm."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 - likewise

    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - SNS's version 1
    try:
        key.verify(base64.b64decode(signature, validate=True), signed, padding.PKCS1v15(), algorithm)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    except UnsupportedAlgorithm as error:  # SHA-1 is switched off on hardened systems
        reason = "this machine cannot verify SHA-1: set SignatureVersion 2 on the topic" if version == "1" else _NO_RSA
        raise NoAlgorithm(reason, detail=repr(error)) from error
    return True


def key_of(pem: bytes) -> "PublicKey":
    """The key of the first certificate of a PEM file. Raises NoKey."""
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - likewise

    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
    except Exception as error:  # the library's own errors share no class
        raise NoKey("The certificate cannot be read.", detail=repr(error)) from error
    if not isinstance(key, rsa.RSAPublicKey) or not _SMALLEST_BITS <= key.key_size <= _LARGEST_BITS:
        raise NoKey("The certificate's key is none that signs messages of SNS.")
    return key
