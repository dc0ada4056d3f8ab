"""The store is slow, gone, full or unsafe: the client is told in time, and nothing is lost or doubled."""

import time

import pytest

from tests.scenarios.gateway_process import GatewayProcess, due_ids, nudges, sent, until
from tests.servers import RedisServer

pytestmark = pytest.mark.processes

# Less than a client of the server waits for one answer of it, and than a door waits for the store by default.
ANSWER_SECONDS = 10


def message_id_of(reply: bytes) -> str:
    assert reply.startswith(b"2.0.0 Ok "), reply
    return reply.removeprefix(b"2.0.0 Ok ").decode()


def test_a_message_is_in_the_spool_and_the_workers_are_told_when_ok_is_said(redis_server: RedisServer):
    with GatewayProcess(redis_server.url) as gateway, gateway.client() as client:
        code, text = sent(client)
        assert code == 250
        assert due_ids(redis_server.url) == {message_id_of(text)}
        until(lambda: nudges(redis_server.url) == 1)
        assert gateway.log("message.accepted")[0]["message_id"] == message_id_of(text)


def test_a_frozen_store_is_answered_in_time_and_the_message_taken_back(redis_server: RedisServer):
    with GatewayProcess(redis_server.url, smtp_commit_timeout_seconds=1) as gateway, gateway.client() as client:
        client.mail("a@example.com")
        client.rcpt("b@example.net")
        redis_server.freeze()
        began = time.monotonic()
        code, text = client.data(b"x\r\n")
        assert (code, text[:5]) == (451, b"4.3.0")
        assert time.monotonic() - began < ANSWER_SECONDS
        redis_server.thaw()
        until(lambda: gateway.log("message.withdrawn"))
        assert due_ids(redis_server.url) == set()
        until(lambda: sent(client)[0] == 250)
        until(lambda: len(due_ids(redis_server.url)) == 1)  # others that came too late are taken back
        assert nudges(redis_server.url) <= 1


def test_a_restart_of_the_store_goes_unnoticed(redis_server: RedisServer):
    with GatewayProcess(redis_server.url) as gateway, gateway.client() as client:
        assert sent(client)[0] == 250

        def answer() -> tuple[int, bytes]:
            client.mail("a@example.com")
            client.rcpt("b@example.net")
            client.docmd("DATA")
            redis_server.kill()
            client.send(b"x\r\n.\r\n")
            time.sleep(0.3)  # the gateway tries and fails meanwhile
            redis_server.start()
            return client.getreply()

        code, text = answer()
        if b"4.3.0" in text and gateway.log("spool.unsafe"):
            # The gateway had noticed before the message was there: once more, when it knows that all is well.
            until(lambda: client.mail("a@example.com")[0] == 250)
            client.rset()
            code, text = answer()
        assert code == 250, text
        assert message_id_of(text) in due_ids(redis_server.url)
        assert len(due_ids(redis_server.url)) == 2


def test_a_store_that_stays_away_is_answered_in_time(redis_server: RedisServer):
    with GatewayProcess(redis_server.url, smtp_commit_timeout_seconds=0.5) as gateway, gateway.client() as client:
        client.mail("a@example.com")
        client.rcpt("b@example.net")
        redis_server.kill()
        began = time.monotonic()
        assert client.data(b"x\r\n")[0] == 451
        assert time.monotonic() - began < ANSWER_SECONDS
        until(lambda: sent(client)[0] == 451 and gateway.log("spool.unsafe"))
        assert client.mail("a@example.com")[0] == 451
        redis_server.start()
        until(lambda: sent(client)[0] == 250)
        until(lambda: len(due_ids(redis_server.url)) == 1)  # others that came too late are taken back


def test_a_full_store_says_later_and_keeps_what_it_accepted():
    with (
        RedisServer(maxmemory="6mb") as server,
        GatewayProcess(server.url, redis_memory_high_water_percent=95) as gateway,
        gateway.client() as client,
    ):
        content = (b"x" * 70 + b"\r\n") * 1400
        codes = [sent(client, content)[0] for _ in range(120)]
        assert set(codes) == {250, 452}
        assert len(due_ids(server.url)) == codes.count(250)
        assert server.process is not None


def test_a_store_above_its_mark_refuses_at_mail():
    with (
        RedisServer(maxmemory="8mb") as server,
        GatewayProcess(server.url, redis_memory_high_water_percent=10) as gateway,
        gateway.client() as client,
    ):
        code, text = client.mail("a@example.com")
        assert (code, text[:5]) == (452, b"4.3.1")


def test_a_store_without_an_append_log_is_refused_until_it_has_one():
    with (
        RedisServer(appendonly="no") as server,
        GatewayProcess(server.url) as gateway,
        gateway.client() as client,
    ):
        code, text = client.mail("a@example.com")
        assert (code, text[:5]) == (451, b"4.3.0")
        server.call("CONFIG", "SET", "appendonly", "yes")
        until(lambda: sent(client)[0] == 250)


@pytest.mark.parametrize(
    ("failpoint", "is_kept"),
    [("commit.before", False), ("commit.after", True), ("gateway.after_reply", True)],
)
def test_a_kill_on_the_way_to_ok_loses_nothing_that_was_answered_for(
    redis_server: RedisServer, failpoint: str, is_kept
):
    with GatewayProcess(redis_server.url, failpoints=f"{failpoint}=kill") as gateway:
        client = gateway.client()
        client.mail("a@example.com")
        client.rcpt("b@example.net")
        client.docmd("DATA")
        client.send(b"x\r\n.\r\n")
        received = client.sock.makefile("rb").read()
        gateway.exit_code()
        client.close()
        assert received.startswith(b"250 2.0.0 Ok ") == (failpoint == "gateway.after_reply")
        assert bool(due_ids(redis_server.url)) == is_kept
        assert nudges(redis_server.url) == 0
