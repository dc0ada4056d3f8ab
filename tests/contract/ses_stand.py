"""The real API process with a real Redis, boto3 clients of SES's two APIs, and a look at what came into the spool."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from aws_api.wire.access_keys import AccessKey, AccessKeyFile
from config.settings import Settings
from spool.records import Message
from tests.api_process import api_process
from tests.contract.message_flow_stand import client_of
from tests.servers import RedisServer
from tests.spooled import settings_of, with_spool

RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nhello\r\n"


class SesStand:
    """One API process and what it needs."""

    def __init__(self, url: str, settings: Settings, redis: RedisServer) -> None:
        self.url, self.settings, self.redis = url, settings, redis
        self.keys = AccessKeyFile(settings.access_keys_file)
        self.key: AccessKey = self.keys.add("shop")
        self.ses = self.client("ses")
        self.sesv2 = self.client("sesv2")

    def client(self, service: str, key: AccessKey | None = None, *, attempts: int = 1, **more: Any) -> Any:
        """With the key of the shop unless another is given."""
        key = key or self.key
        config = Config(retries={"total_max_attempts": attempts}, proxies={}, read_timeout=60)
        return client_of(service, more.pop("url", self.url), key.access_key_id, key.secret, config=config, **more)

    def message(self, answer: Any) -> Message:
        """What the spool has of a send that was answered so."""
        message_id = answer["MessageId"]
        found = with_spool(self.settings, lambda spool: spool.load(message_id, with_content=True))
        assert found is not None, "it is not in the spool"
        return found

    def content(self, answer: Any) -> bytes:
        """The message's bytes without our Received line."""
        message = self.message(answer)
        content = with_spool(self.settings, lambda spool: spool.content_of(message))
        received, _, rest = content.partition(b" +0000\r\n")
        assert received.startswith(b"Received: from unknown ([127.0.0.1])\r\n\tby ")
        assert answer["MessageId"].encode() in received
        return rest

    def waiting(self) -> int:
        """How many messages are in the spool."""
        return with_spool(self.settings, _due)


async def _due(spool: Any) -> int:
    from spool import keys

    return int(await spool.redis.zcard(keys.DUE))


@contextlib.contextmanager
def ses_stand(folder: Path, **settings: object) -> Iterator[SesStand]:
    """Starts it; settings are those of the process (`api_trust_loopback=True`)."""
    with RedisServer() as redis, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("SLUICE_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(f"SLUICE_{name}".upper(), str(value))
        with api_process(redis.url, folder) as (url, _):
            yield SesStand(url, settings_of(redis.url, folder), redis)


def refusal(call: Any, /, **parameters: Any) -> tuple[int, str, str]:
    """Status, code and text of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]
