"""Signature Version 4, checked. Pure: the clock and the secret are parameters.

Theory of operation
1. What a request shows is read: key id, scope (date, region, service), the names of the signed headers, the signature.
2. The canonical request is made again from the request as it came: the path as sent (services other than S3 encode it
   once more, so `%2F` of an id becomes `%252F`), the query decoded and encoded anew in order, exactly the headers that
   the request says it signed, and the hash of the body that really came. botocore's own signer does the rest.
3. The two signatures are compared in constant time.
So whatever is not covered counts as not signed: host, x-amz-date and every x-amz- header must be. A hash in
x-amz-content-sha256 is no statement that is believed: `UNSIGNED-PAYLOAD` is refused by name, any other value is only a
header. https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from http.client import HTTPMessage
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from botocore.auth import SigV4Auth
from botocore.credentials import Credentials

from aws_api.wire.failures import NotAdmitted

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SKEW: Final = timedelta(minutes=5)
MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_AMZ_DATE: Final = "%Y%m%dT%H%M%SZ"
_TIMESTAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_PARTS: Final = ("Credential", "Signature", "SignedHeaders")
_PRESIGNED: Final = frozenset({"x-amz-algorithm", "x-amz-signature", "x-amz-credential", "signature"})


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    method: str
    #: Path and query, percent-encoded as sent.
    raw_path: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a header, as they came."""
        return [value for one, value in self.headers if one.lower() == name]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the Authorization header says."""

    access_key_id: str
    region: str
    service: str
    #: Lower case.
    signed_headers: frozenset[str]
    signature: str
    #: As in x-amz-date.
    timestamp: str
    signed_at: datetime


def read_shown(received: Received, service: str) -> Shown:
    """What the request shows, in full; its body is not looked at. Raises NotAdmitted."""
    given = received.values("authorization")
    if any(name.lower() in _PRESIGNED for name, _ in parse_qsl(received.raw_path.partition("?")[2])):
        raise NotAdmitted(
            "incomplete", "Presigned requests are not supported here: sign in the Authorization header, not the query."
        )
    if not given or not given[0].strip():
        raise NotAdmitted("no_signature", "Missing Authentication Token")
    algorithm, _, rest = given[0].strip().partition(" ")
    if len(given) > 1 or algorithm != ALGORITHM:
        raise NotAdmitted("incomplete", f"The Authorization header must be one, with the algorithm {ALGORITHM}.")
    parts = {name.strip(): value.strip() for name, _, value in (one.partition("=") for one in rest.split(","))}
    if missing := [name for name in _PARTS if not parts.get(name)]:
        raise NotAdmitted(
            "incomplete", " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        )
    shown = _shown(received, parts)
    if shown.service != service:
        raise NotAdmitted("wrong_signature", f"Credential should be scoped to correct service: '{service}'.")
    _check_coverage(received, shown)
    return shown


def _shown(received: Received, parts: dict[str, str]) -> Shown:
    scope = parts["Credential"].split("/")
    if len(scope) != 5 or not all(scope) or scope[4] != "aws4_request" or not re.fullmatch(r"\w{1,128}", scope[0]):
        raise NotAdmitted(
            "incomplete", "Credential must have the form <key id>/<date>/<region>/<service>/aws4_request."
        )
    timestamp = (received.values("x-amz-date") or [""])[0].strip()
    signed_at = _instant(timestamp)
    if signed_at is None:
        raise NotAdmitted("incomplete", "The header X-Amz-Date must be there, for instance 20260101T120000Z.")
    if scope[1] != timestamp[:8]:
        raise NotAdmitted("wrong_signature", f"Date in Credential scope does not match YYYYMMDD of {timestamp}.")
    signed = frozenset(name.strip().lower() for name in parts["SignedHeaders"].split(";"))
    return Shown(scope[0], scope[2], scope[3], signed, parts["Signature"], timestamp, signed_at)


def _instant(timestamp: str) -> datetime | None:
    """Read by hand: strptime takes ten times as long, and this is on every request's way."""
    if not _TIMESTAMP.fullmatch(timestamp):
        return None
    try:
        return datetime.fromisoformat(timestamp)
    except ValueError:
        return None


def _check_coverage(received: Received, shown: Shown) -> None:
    names = {name.lower() for name, _ in received.headers}
    must_be = {"host", "x-amz-date"} | {name for name in names if name.startswith("x-amz-")}
    if missing := sorted(must_be - shown.signed_headers):
        words = " ".join(f"'{name}' must be a 'SignedHeader' in the AWS Authorization." for name in missing)
        raise NotAdmitted("wrong_signature", words)
    if absent := sorted(shown.signed_headers - names):
        raise NotAdmitted("wrong_signature", f"Signed headers are not in the request: {', '.join(absent)[:200]}")
    if any(value.startswith(("UNSIGNED-PAYLOAD", "STREAMING-")) for value in received.values("x-amz-content-sha256")):
        raise NotAdmitted("wrong_signature", "The payload must be signed: UNSIGNED-PAYLOAD and STREAMING are refused.")


def check_time(shown: Shown, now: datetime) -> None:
    """The clocks of both sides may differ by SKEW. Raises NotAdmitted."""
    at, here = shown.timestamp, now.strftime(_AMZ_DATE)
    minutes = int(SKEW.total_seconds() // 60)
    if shown.signed_at < now - SKEW:
        limit = (now - SKEW).strftime(_AMZ_DATE)
        raise NotAdmitted(
            "wrong_time", f"Signature expired: {at} is now earlier than {limit} ({here} - {minutes} min.)"
        )
    if shown.signed_at > now + SKEW:
        limit = (now + SKEW).strftime(_AMZ_DATE)
        raise NotAdmitted(
            "wrong_time", f"Signature not yet current: {at} is still later than {limit} ({here} + {minutes} min.)"
        )


def is_right(received: Received, shown: Shown, secret: str) -> bool:
    """Whether the signature is the one that this secret makes of this request."""
    try:
        made = _signature_of(received, shown, secret)
    except UnicodeEncodeError:  # bytes in a header or path that no client can have signed
        return False
    return hmac.compare_digest(made.encode(), shown.signature.encode("utf-8", "surrogateescape"))


def _signature_of(received: Received, shown: Shown, secret: str) -> str:
    signer = _Signer(received, shown, secret)
    request: Any = SimpleNamespace(
        method=received.method,
        url=f"https://host{received.raw_path}",
        headers={},  # so that nothing but the body's own hash counts
        context={"timestamp": shown.timestamp},
    )
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


class _Signer(SigV4Auth):
    """botocore's signer with what a server sees in place of what a client is about to send."""

    def __init__(self, received: Received, shown: Shown, secret: str) -> None:
        super().__init__(Credentials(shown.access_key_id, secret), shown.service, shown.region)
        self._received = received
        self._signed_headers = shown.signed_headers

    def headers_to_sign(self, _: Any) -> HTTPMessage:
        """Those that the request names, also ones that botocore itself would never sign."""
        found = HTTPMessage()
        for name, value in self._received.headers:
            if name.lower() in self._signed_headers:
                value.encode()  # bytes that are no text would come back as another kind of object
                found[name.lower()] = value
        return found

    def canonical_query_string(self, _: Any) -> str:
        query = self._received.raw_path.partition("?")[2]
        pairs = (one.partition("=") for one in query.split("&") if one)
        return "&".join(f"{name}={value}" for name, value in sorted((_anew(n), _anew(v)) for n, _, v in pairs))

    def payload(self, _: Any) -> str:
        return sha256(self._received.body).hexdigest()


def _anew(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")
