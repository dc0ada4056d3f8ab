"""AWS Signature Version 4 for one POST with a body.

From the published algorithm (IAM user guide, "Create a signed AWS API request"). botocore's signer is made for every
kind of request and costs several times as much; a test compares the two on random requests.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Credentials:
    """One frozen set of AWS credentials; `token` is "" for long-lived keys."""

    access_key: str
    secret_key: str
    token: str = ""

    def __repr__(self) -> str:
        return f"<Credentials {self.access_key[:4]}…>"


def signed_headers(  # noqa: PLR0917 - each is a part of the request
    host: str, path: str, headers: dict[str, str], body: bytes, credentials: Credentials, region: str, now: datetime
) -> dict[str, str]:
    """`headers` (lower-case names) with host, date, token and authorization for service `ses`; now in UTC."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    date = stamp[:8]
    signed = {**headers, "host": host, "x-amz-date": stamp}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = sorted(signed)
    canonical = "\n".join(
        [
            "POST",
            path,
            "",
            *(f"{name}:{' '.join(signed[name].split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{date}/{region}/ses/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(_signing_key(credentials.secret_key, date, region), to_sign.encode(), "sha256").hexdigest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return signed


@lru_cache(maxsize=64)  # a few for each route
def _signing_key(secret_key: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, "ses", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key
