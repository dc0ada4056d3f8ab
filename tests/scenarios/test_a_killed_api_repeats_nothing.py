"""The API process is killed before its client has heard that a send is safe: boto3 repeats it, one message stays."""

import os
import select
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.client import Config

from aws_api.wire.access_keys import AccessKeyFile
from spool import keys
from tests.api_process import READY_SECONDS, started
from tests.contract.message_flow_stand import client_of
from tests.servers import RedisServer, free_port
from tests.spooled import settings_of, with_spool

pytestmark = pytest.mark.processes
RAW = b"From: ann@example.com\r\nTo: bob@example.net\r\n\r\nhello\r\n"


def ready(redis_url: str, folder: Path, port: int) -> subprocess.Popen[str]:
    reader, writer = os.pipe()
    process = started(redis_url, folder, port, ready_fd=writer)
    os.close(writer)
    assert select.select([reader], [], [], READY_SECONDS)[0], "it did not become ready"
    os.close(reader)
    return process


@pytest.mark.parametrize(("failpoint", "messages_at_death"), [("commit.before", 0), ("commit.after", 1)])
def test_a_send_whose_process_is_killed_is_one_message(tmp_path, monkeypatch, failpoint, messages_at_death):
    port = free_port()
    with RedisServer() as redis:
        settings = settings_of(redis.url, tmp_path)
        key = AccessKeyFile(settings.access_keys_file).add("shop")
        config = Config(retries={"mode": "legacy", "total_max_attempts": 12}, proxies={})
        ses = client_of("ses", f"http://127.0.0.1:{port}", key.access_key_id, key.secret, config=config)
        answers: list[Any] = []
        monkeypatch.setenv("SLUICE_FAILPOINTS", f"{failpoint}=kill")
        first = ready(redis.url, tmp_path, port)
        monkeypatch.delenv("SLUICE_FAILPOINTS")
        sending = threading.Thread(target=lambda: answers.append(ses.send_raw_email(RawMessage={"Data": RAW})))
        sending.start()
        first.communicate(timeout=60)
        assert first.returncode == -9
        assert due(settings) == messages_at_death
        second = ready(redis.url, tmp_path, port)
        try:
            sending.join(100)
            assert answers, "boto3 gave up"
            assert answers[0]["ResponseMetadata"]["RetryAttempts"] >= 1
            assert due(settings) == 1
            found = with_spool(settings, lambda spool: spool.load(answers[0]["MessageId"]))
            assert found is not None
            assert found.recipients == ("bob@example.net",)
            assert found.repeats == messages_at_death
        finally:
            second.kill()
            second.communicate()


def due(settings: Any) -> int:
    async def counted(spool: Any) -> int:
        return int(await spool.redis.zcard(keys.DUE))

    return with_spool(settings, counted)
