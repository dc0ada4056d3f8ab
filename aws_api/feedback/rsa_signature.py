"""Whether a signature of SNS is right: RSA with PKCS #1 v1.5 (RFC 8017 section 8.2.2), the key out of a certificate.

Only public numbers are at work here, so nothing can leak. What was signed is encoded by us and compared as a whole with
what the signature says: no padding is read, as so many have read it wrongly. Whether the certificate may be believed is
for the caller to know: it comes over TLS from a host of SNS, and its issuer and dates are not looked at.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from config.errors import Refused

#: Signature version → (hash, the DigestInfo in front of its digest: RFC 8017 section 9.2, note 1).
_HASHES: Final = {
    "1": ("sha1", bytes.fromhex("3021300906052b0e03021a05000414")),
    "2": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
}
_RSA_ENCRYPTION: Final = bytes.fromhex("06092a864886f70d010101")
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SMALLEST_BITS, _LARGEST_BITS = 2048, 8192
_LARGEST_EXPONENT = 1 << 32
# Tags of DER (X.690).
_SEQUENCE, _INTEGER, _BIT_STRING, _VERSION = 0x30, 0x02, 0x03, 0xA0


class NoKey(Refused):
    """The certificate has no RSA key that could be used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key."""

    modulus: int
    exponent: int


def is_right(key: PublicKey, version: Literal["1", "2"], signed: bytes, signature: str) -> bool:
    """Whether the key's owner signed these bytes. `signature` in base64."""
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    length = (key.modulus.bit_length() + 7) // 8
    if len(given) != length or int.from_bytes(given, "big") >= key.modulus:
        return False
    name, prefix = _HASHES[version]
    digest = hashlib.new(name, signed, usedforsecurity=False).digest()
    expected = prefix + digest
    padded = b"\x00\x01" + b"\xff" * (length - len(expected) - 3) + b"\x00" + expected
    return pow(int.from_bytes(given, "big"), key.exponent, key.modulus) == int.from_bytes(padded, "big")


def key_of(pem: bytes) -> PublicKey:
    """The key of the first certificate of a PEM file. Raises NoKey."""
    try:
        text = pem.decode("ascii")
        der = base64.b64decode(
            "".join(text[text.index(_BEGIN) + len(_BEGIN) : text.index(_END)].split()), validate=True
        )
        key = _key_in(der)
    except (ValueError, IndexError) as error:  # binascii's and Unicode's errors are ValueErrors
        raise NoKey("The certificate cannot be read.", detail=repr(error)) from error
    is_usable = _SMALLEST_BITS <= key.modulus.bit_length() <= _LARGEST_BITS
    if not is_usable or key.modulus % 2 == 0 or not 2 < key.exponent < _LARGEST_EXPONENT or key.exponent % 2 == 0:
        raise NoKey("The certificate's key is none that signs messages of SNS.")
    return key


def _key_in(der: bytes) -> PublicKey:
    """Certificate → tbsCertificate → subjectPublicKeyInfo (RFC 5280 section 4.1). Raises ValueError, IndexError."""
    certificate, _ = _read(der, _SEQUENCE)
    rest, _ = _read(certificate, _SEQUENCE)
    if rest[0] == _VERSION:
        _, rest = _read(rest, _VERSION)
    _, rest = _read(rest, _INTEGER)  # serialNumber
    for _name in ("signature", "issuer", "validity", "subject"):
        _, rest = _read(rest, _SEQUENCE)
    info, _ = _read(rest, _SEQUENCE)
    algorithm, rest = _read(info, _SEQUENCE)
    if not algorithm.startswith(_RSA_ENCRYPTION):
        raise ValueError("no RSA key")
    bits, _ = _read(rest, _BIT_STRING)
    if bits[0] != 0:  # unused bits
        raise ValueError("no whole bytes")
    numbers, _ = _read(bits[1:], _SEQUENCE)
    modulus, rest = _read(numbers, _INTEGER)
    exponent, _ = _read(rest, _INTEGER)
    return PublicKey(int.from_bytes(modulus, "big", signed=True), int.from_bytes(exponent, "big", signed=True))


def _read(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first element, which must have this tag, and the rest. Raises ValueError, IndexError."""
    if der[0] != tag:
        raise ValueError(f"tag {der[0]:#x} instead of {tag:#x}")
    length, start = der[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
        if not 1 <= count <= 3:
            raise ValueError("no length of a certificate")
    if start + length > len(der):
        raise ValueError("cut off")
    return der[start : start + length], der[start + length :]
