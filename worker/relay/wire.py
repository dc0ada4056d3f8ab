"""The body of one SES call, encoded by us: botocore percent-encodes base64 in Python, 112 ms for a megabyte.

v1 SendRawEmail (Query) carries messages up to 10 MB after base64, v2 SendEmail with Content.Raw (JSON) up to 40 MB.
Our own header goes on top without a copy of the content: base64 of two pieces is that of both together when the first
has a multiple of three bytes.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote_plus

import orjson

V1_MAX_RAW_BYTES = 10 * 1024 * 1024 * 3 // 4
V2_PATH = "/v2/email/outbound-emails"

# Nearly every address and tag: only the @ needs an escape. A batch of 50 is 50 times quote_plus otherwise.
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]*")


@dataclass(frozen=True, slots=True)
class Call:
    """What one batch asks of SES. The sender "" (null sender) leaves the choice to SES: it takes the From header."""

    sender: str
    recipients: Sequence[str]
    content: bytes
    tags: Mapping[str, str]
    configuration_set: str = ""
    #: Sending authorization.
    source_arn: str = ""
    from_arn: str = ""
    return_path_arn: str = ""
    #: A header on top of the content, with its line end; see own_header.
    header: bytes = b""

    @property
    def is_for_v1(self) -> bool:
        """Whether the message fits into SendRawEmail."""
        return len(self.header) + len(self.content) <= V1_MAX_RAW_BYTES

    def __repr__(self) -> str:  # addresses and content stay out of logs and tracebacks
        return f"<Call {len(self.recipients)} recipients, {len(self.content)} bytes>"


def own_header(name: str, value: str) -> bytes:
    """A header line for Call.header: blanks after the colon make its length fit."""
    line = f"{name}: {value}\r\n"
    return line.replace(":", ":" + " " * (-len(line) % 3), 1).encode("ascii")


def v1_body(call: Call) -> bytes:
    """SendRawEmail, form encoded."""
    fields = ["Action=SendRawEmail&Version=2010-12-01"]
    if call.sender:
        fields.append(f"Source={_quoted(call.sender)}")
    fields += [f"Destinations.member.{n}={_quoted(address)}" for n, address in enumerate(call.recipients, 1)]
    for n, (name, value) in enumerate(call.tags.items(), 1):
        fields.append(f"Tags.member.{n}.Name={_quoted(name)}&Tags.member.{n}.Value={_quoted(value)}")
    if call.configuration_set:
        fields.append(f"ConfigurationSetName={_quoted(call.configuration_set)}")
    arns = {"SourceArn": call.source_arn, "FromArn": call.from_arn, "ReturnPathArn": call.return_path_arn}
    fields += [f"{name}={_quoted(arn)}" for name, arn in arns.items() if arn]
    fields.append("RawMessage.Data=")
    return b"".join(["&".join(fields).encode(), *(_form_quoted(piece) for piece in _base64_pieces(call))])


def v2_body(call: Call) -> bytes:
    """SendEmail with Content.Raw, JSON. The base64 is appended as bytes, past the JSON encoder."""
    # v2 has one ARN for Source and From (SendEmail reference, FromEmailAddressIdentityArn).
    arns = {
        "FromEmailAddressIdentityArn": call.source_arn or call.from_arn,
        "FeedbackForwardingEmailAddressIdentityArn": call.return_path_arn,
    }
    values = {
        **({"FromEmailAddress": _encodable(call.sender)} if call.sender else {}),
        "Destination": {"ToAddresses": [_encodable(address) for address in call.recipients]},
        "EmailTags": [{"Name": name, "Value": value} for name, value in call.tags.items()],
        **({"ConfigurationSetName": call.configuration_set} if call.configuration_set else {}),
        **{name: arn for name, arn in arns.items() if arn},
    }
    head = orjson.dumps(values)[:-1]
    return b"".join([head, b',"Content":{"Raw":{"Data":"', *_base64_pieces(call), b'"}}}'])


def _base64_pieces(call: Call) -> tuple[bytes, bytes]:
    assert len(call.header) % 3 == 0, "made by own_header"
    return base64.b64encode(call.header), base64.b64encode(call.content)


def _form_quoted(data: bytes) -> bytes:
    return data.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")


def _quoted(text: str) -> str:
    return text.replace("@", "%40") if _PLAIN.fullmatch(text) else quote_plus(text, errors="replace")


def _encodable(text: str) -> str:
    """Without lone surrogates: SES refuses the address and says so, instead of an encoder that raises here."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
