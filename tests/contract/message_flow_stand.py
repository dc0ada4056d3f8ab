"""The real API process with a real Redis and an S3 (moto), and boto3 clients of the message flow."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import Config
from moto.server import ThreadedMotoServer

from aws_api.wire.access_keys import AccessKey, AccessKeyFile
from config.redis_clients import redis_client
from spool.assembly import open_message_flow, open_spool
from spool.message_flow import MessageFlow
from spool.records import NewMessage, new_message_id
from spool.store import Spool
from tests.api_process import api_process
from tests.servers import RedisServer, free_port
from tests.spooled import settings_of, with_spool

BUCKET = "updates"
ORIGINAL = (
    b"Received: from app by mx.example.net; Fri, 20 Nov 2026 10:00:00 +0000\r\nFrom: ann@example.com\r\n"
    b"To: bob@example.net\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"
    b"Subject: hello\r\n\r\nhello\r\n"
)
UPDATED = ORIGINAL.replace(b"Subject: hello", b"Subject: [seen] hello")


def client_of(
    service: str, url: str, key_id: str = "AKIDEXAMPLE", secret: str = "secret", *, attempts: int = 3, **more: Any
) -> Any:
    """A boto3 client that knows no proxy. It repeats a 503: our door does not wait for a Redis that is slow."""
    retries: Any = {"total_max_attempts": attempts, "mode": "standard"}
    config = Config(retries=retries, proxies={}, s3={"addressing_style": "path"}, read_timeout=60)
    keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    client = boto3.Session().client(service, endpoint_url=url, config=more.pop("config", config), **keys, **more)
    if service != "s3":
        client.meta.events.register("response-received", _is_no_bug)
    return client


def _is_no_bug(response_dict: dict[str, Any] | None, **_: Any) -> None:
    """A 500 of ours would be repeated as well, and not be seen."""
    assert response_dict is None or response_dict["status_code"] != 500, response_dict["body"]


class MessageFlowStand:
    """One API process and all around it."""

    def __init__(self, url: str, process: subprocess.Popen[str], s3_url: str, redis: RedisServer, folder: Path) -> None:
        self.url, self.process, self.s3_url = url, process, s3_url
        self.redis = redis
        self.settings = settings_of(redis.url, folder)
        self.key: AccessKey = AccessKeyFile(self.settings.access_keys_file).add("functions")
        self.s3 = client_of("s3", s3_url)

    def client(self, key_id: str = "", secret: str = "", **more: Any) -> Any:
        """Of the message flow; with the right key unless another is given."""
        key_id, secret = key_id or self.key.access_key_id, secret or self.key.secret
        return client_of("workmailmessageflow", self.url, key_id, secret, **more)

    def message(self, content: bytes = ORIGINAL, **fields: Any) -> str:
        """An accepted message; its id."""
        message_id = new_message_id()
        new = NewMessage(message_id, "ann@example.com", ("bob@example.net",), content, **fields)
        with_spool(self.settings, lambda spool: spool.accept(new))
        return message_id

    def in_bucket(self, content: bytes, key: str = "update", **more: Any) -> dict[str, str]:
        """An object with that content; its reference."""
        answer = self.s3.put_object(Bucket=BUCKET, Key=key, Body=content, **more)
        return {
            "bucket": BUCKET,
            "key": key,
            **({"objectVersion": version} if (version := answer.get("VersionId")) else {}),
        }

    def put(self, message_id: str, reference: dict[str, str], client: Any = None) -> Any:
        return (client or self.client()).put_raw_message_content(
            messageId=message_id, content={"s3Reference": reference}
        )

    def get(self, message_id: str, client: Any = None) -> bytes:
        answer = (client or self.client()).get_raw_message_content(messageId=message_id)
        content: bytes = answer["messageContent"].read()
        return content

    @contextlib.asynccontextmanager
    async def flow(self) -> AsyncIterator[tuple[Spool, MessageFlow]]:
        """The message flow as a worker has it."""
        redis = redis_client(self.settings.redis_url)
        spool = open_spool(self.settings, redis=redis)
        try:
            yield spool, open_message_flow(self.settings, spool)
        finally:
            await redis.aclose()

    def during_a_run(self, message_id: str, work: Any) -> bytes | None:
        """Does the work while a function runs for the message; what counts of it."""

        async def run() -> bytes | None:
            async with self.flow() as (spool, flow):
                message = await spool.load(message_id, with_content=True)
                assert message is not None
                content = await spool.content_of(message)
                token = await flow.begin(message, content, invocation_id="0" * 32, seconds=600, is_sync=True)
                await asyncio.to_thread(work)
                return await flow.end(message_id, token)

        return asyncio.run(run())

    def memory_bytes(self, what: str) -> int:
        """VmRSS or VmHWM of the API process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


@contextlib.contextmanager
def message_flow_stand(folder: Path, *, has_s3: bool = True, **settings: object) -> Iterator[MessageFlowStand]:
    """Starts it all; settings are those of the API process (`api_trust_loopback=True`)."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    if has_s3:
        moto.start()
    s3_url = "http://{}:{}".format(*moto.get_host_and_port()) if has_s3 else f"http://127.0.0.1:{free_port()}"
    environment = {
        "AWS_ENDPOINT_URL_S3": s3_url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **{f"SLUICE_{name}".upper(): str(value) for name, value in settings.items()},
    }
    try:
        with RedisServer() as redis, pytest.MonkeyPatch.context() as patch:
            for name in list(os.environ):
                if name.startswith(("AWS_", "SLUICE_")) or name.lower().endswith("_proxy"):
                    patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            with api_process(redis.url, folder) as (url, process):
                stand = MessageFlowStand(url, process, s3_url, redis, folder)
                if has_s3:
                    stand.s3.create_bucket(Bucket=BUCKET)
                yield stand
    finally:
        if has_s3:
            moto.stop()
