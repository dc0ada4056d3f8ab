"""Header values as text that people would read: unfolded, RFC 2047 words decoded. Total and linear for any bytes.

What is no valid encoded word stays as it is written. Charsets come from a fixed list, because the name of one is
anybody's to choose and Python keeps every name it is asked for. No text holds half a surrogate pair.
"""

import binascii
import re
from encodings.aliases import aliases

_FOLD = re.compile(rb"\r?\n[ \t]*|\r")
_WORD = re.compile(r"=\?([!-)+->@-~]{1,40}?)(?:\*[!->@-~]{0,40})?\?([bBqQ])\?([!->@-~]*+)\?=")
_BLANKS_BETWEEN = re.compile(r"(\?=)[ \t]+(?==\?)")
# Not charsets, slow, or ones that complain while they decode.
_UNFIT = {
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "idna",
    "punycode", "unicode_escape", "raw_unicode_escape", "undefined",
}  # fmt: skip
_CODECS = {name: codec for name, codec in aliases.items() if codec not in _UNFIT}
_CODECS |= {codec: codec for codec in [*_CODECS.values(), "koi8_u", "koi8_t", "cp874", "cp720", "cp856", "cp1006"]}


def text_of(value: bytes) -> str:
    """The value of a header, decoded."""
    text = _FOLD.sub(b" ", value).decode("utf-8", "replace").strip()
    if "=?" not in text:
        return text
    return decoded_words(text)


def decoded_words(text: str) -> str:
    """The text with its encoded words decoded; blanks between two of them are not part of the text."""
    pieces: list[str] = []
    # A letter may be cut in two by the border of two words of the same charset, so their bytes are joined.
    charset, octets, position = "", b"", 0
    for found in _WORD.finditer(_BLANKS_BETWEEN.sub(r"\1", text)):
        between = found.string[position : found.start()]
        if octets and (between or found[1].lower() != charset):
            pieces.append(decoded(octets, charset))
            octets = b""
        pieces.append(between)
        charset, position = found[1].lower(), found.end()
        octets += _octets(found[2], found[3])
    if position == 0:
        return text
    return "".join([*pieces, decoded(octets, charset), found.string[position:]]).strip()


def decoded(octets: bytes, charset: str) -> str:
    """The octets as text; an unknown charset is taken for UTF-8, what does not fit becomes U+FFFD."""
    codec = codec_named(charset) or "utf-8"
    try:
        text = octets.decode(codec, "replace")
    except (UnicodeError, LookupError):
        text = octets.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode("utf-8")


def codec_named(charset: str) -> str:
    """Python's name of a charset that mail may be in; "" = none."""
    return _CODECS.get(charset.lower().replace("-", "_").replace(" ", "_"), "")


def _octets(encoding: str, text: str) -> bytes:
    raw = text.encode("ascii", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw, header=True)
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return raw
