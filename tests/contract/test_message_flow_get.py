"""GetRawMessageContent: boto3 against the real API process."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api_process import api_process
from tests.contract.message_flow_stand import ORIGINAL, MessageFlowStand, client_of, message_flow_stand
from tests.line import wait_until

MIB = 1024 * 1024
UNKNOWN = "000001a1fdffd45d-054c29f4-fcec-4f0b-b708-a1307689d0e5-000000"


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[MessageFlowStand]:
    with message_flow_stand(tmp_path_factory.mktemp("flow"), api_trust_loopback=True) as one:
        yield one


def test_a_message_is_read_as_it_was_accepted(stand):
    answer = stand.client().get_raw_message_content(messageId=stand.message())
    assert answer["messageContent"].read() == ORIGINAL
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "message/rfc822"
    assert headers["content-length"] == str(len(ORIGINAL))
    assert answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    "message_id",
    [
        UNKNOWN,
        "x/../y",
        "../../etc/passwd",
        "4E87856B-F02F-39D5-A029-9E39ACE5B6F1",
        "a" * 121,
        "a b",
        "é",
        "{ms}:m:1",
        "a%2Fb",
        "..",
    ],
)
def test_an_id_that_is_unknown_or_cannot_be_one_is_not_found(stand, message_id):
    client = stand.client()
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.get_raw_message_content(messageId=message_id)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    assert caught.value.response["Error"]["Message"]


def test_thirty_megabytes_are_streamed_to_many_in_little_memory(stand):
    content = ORIGINAL + (b"x" * 998 + b"\r\n") * (30 * MIB // 1000)
    message_id = stand.message(content)
    assert stand.get(stand.message()) == ORIGINAL
    before = stand.memory_bytes("VmHWM")
    with ThreadPoolExecutor(4) as readers:
        assert all(found == content for found in readers.map(lambda _: stand.get(message_id), range(4)))
    assert stand.memory_bytes("VmHWM") - before < 15 * MIB


def open_files(stand: MessageFlowStand) -> list[str]:
    found = []
    for entry in Path(f"/proc/{stand.process.pid}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return found


def test_a_client_that_reads_nothing_or_goes_away_costs_neither_memory_nor_files(stand):
    message_id = stand.message(ORIGINAL + (b"y" * 998 + b"\r\n") * (20 * MIB // 1000))
    assert stand.get(stand.message()) == ORIGINAL
    before = stand.memory_bytes("VmHWM")
    at = urlsplit(stand.url)
    connections = [socket.create_connection((at.hostname, at.port)) for _ in range(8)]
    for connection in connections:
        connection.sendall(f"GET /messages/{message_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
    assert any(message_id in name for name in open_files(stand)), "they are being served"
    for connection in connections:
        connection.close()
    wait_until(lambda: not any(message_id in name for name in open_files(stand)), "every content is closed")
    assert stand.memory_bytes("VmHWM") - before < 20 * MIB
    assert stand.get(stand.message()) == ORIGINAL


def test_nothing_is_read_of_a_message_whose_time_is_over(stand, monkeypatch):
    message_id = stand.message()
    monkeypatch.setenv("SLUICE_MESSAGE_FLOW_ACCESS_SECONDS", "1")
    # Two doors on one spool: over at the one, whatever the time is, and not for long at the other.
    with api_process(stand.redis.url, stand.settings.data.dir) as (url, _):
        short = client_of("workmailmessageflow", url, stand.key.access_key_id, stand.key.secret)

        def is_over() -> bool:
            try:
                stand.get(message_id, short)
            except short.exceptions.ResourceNotFoundException:
                return True
            return False

        wait_until(is_over, "the access ends")
        assert stand.get(message_id) == ORIGINAL
