"""The real SesClient for contract tests, in an AWS environment of its own."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from config.settings import RelaySettings
from worker.relay.ses import SesClient
from worker.relay.wire import V1_MAX_RAW_BYTES, Call

RAW = b"From: ann@example.com\r\nTo: bob@example.com\r\n\r\nbody\r\n"
SMALL = Call("ann@example.com", ["bob@example.com"], RAW, {"sluice-batch": "m.1"})
LARGE = Call("ann@example.com", ["bob@example.com"], RAW + b"0123456789abcde\n" * (V1_MAX_RAW_BYTES // 16), {})
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


def may_always() -> bool:
    return True


@asynccontextmanager
async def relay_client(
    url: str, *, keys: dict[str, str] = KEYS, environment: dict[str, str] | None = None, **settings: object
) -> AsyncIterator[SesClient]:
    """A client whose both endpoints are at `url`, which sees no other AWS or proxy settings than these."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        fixed = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **({"AWS_ENDPOINT_URL_SES": url, "AWS_ENDPOINT_URL_SESV2": url} if url else {}),
        }
        for name, value in {**fixed, **keys, **(environment or {})}.items():
            patch.setenv(name, value)
        client = SesClient(RelaySettings(**settings), concurrent_calls=8)
        await client.open()
        try:
            yield client
        finally:
            await client.close()
