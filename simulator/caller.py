"""Who makes a call, as far as refusals and events name it. Nothing is verified."""

import re
from dataclasses import dataclass

from aiohttp import web

ACCOUNT_ID = "123456789012"
DEFAULT_REGION = "us-east-1"
#: Signature Version 4: Credential=KEY/20250131/us-east-1/ses/aws4_request
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[0-9]+/([a-z0-9-]{1,40})/")


@dataclass(frozen=True, slots=True)
class Caller:
    """One call's operation, the region that it was signed for, and where it came from."""

    operation: str
    region: str = DEFAULT_REGION
    source_ip: str = "127.0.0.1"


def caller_of(request: web.Request, operation: str) -> Caller:
    """Read from the request; an unsigned one is taken for the default region."""
    signed = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    return Caller(operation, signed.group(2) if signed else DEFAULT_REGION, request.remote or "127.0.0.1")
