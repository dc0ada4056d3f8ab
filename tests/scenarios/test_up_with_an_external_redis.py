"""`mailsluice up` with SLUICE_REDIS_URL: nothing embedded is started, and the server is looked at first."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.running import RunningUp
from tests.servers import RedisServer

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


class OldServer(socketserver.StreamRequestHandler):
    """Just enough of a Redis 5.0.7 to be asked for its version."""

    def handle(self) -> None:
        while words := self._words():
            match words[0].upper():
                case b"INFO":
                    text = b"redis_version:5.0.7\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"
                    self.wfile.write(b"$%d\r\n%s\r\n" % (len(text), text))
                case b"CONFIG":
                    self.wfile.write(b"*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n")
                case b"AUTH" | b"SELECT" | b"PING":
                    self.wfile.write(b"+OK\r\n")
                case other:
                    self.wfile.write(b"-ERR unknown command '%s'\r\n" % other)

    def _words(self) -> list[bytes]:
        head = self.rfile.readline()
        words = []
        for _ in range(int(head[1:] or 0)):
            length = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(length + 2)[:-2])
        return words


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def old_server() -> Iterator[str]:
    with Server(("127.0.0.1", 0), OldServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"redis://:secret@127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def refused(**settings: object) -> Iterator[RunningUp]:
    """A start that must end with exit code 2."""
    up = RunningUp(**settings)
    try:
        up.start(until_ready=False)
        assert up.wait_until_ended() == 2, up.stderr
        assert up.stdout == ""
        assert "Traceback" not in up.stderr
        yield up
    finally:
        up.close()


def test_mail_goes_through_a_server_that_is_not_ours(redis_server: RedisServer) -> None:
    with RunningUp(redis_url=redis_server.url) as up:
        assert "redis" not in up.pids()
        assert redis_server.url in up.stdout
        up.send("app@example.com", ["you@example.com"], "Subject: a\r\n\r\na\r\n")
        up.wait_until(up.ledger, "the mail is sent")
        assert not (up.data_dir / "redis").exists()
        assert up.stop() == 0


def test_a_server_that_is_too_old_is_refused_in_one_line() -> None:
    with old_server() as url, refused(redis_url=url) as up:
        lines = up.stderr.splitlines()
        assert len(lines) == 1, lines
        assert "version 5.0.7" in lines[0]
        assert "6.2 or newer" in lines[0]
        assert "secret" not in up.stderr


def test_a_server_that_could_lose_mail_is_refused_unless_chosen_by_name() -> None:
    with RedisServer(appendfsync="everysec") as server:
        with refused(redis_url=server.url) as up:
            assert "durability" in up.stderr
            assert "appendfsync always" in up.stderr
        with RunningUp(redis_url=server.url, redis_durability="everysec") as up:
            assert up.stop() == 0


def test_a_server_that_does_not_answer_is_told() -> None:
    with refused(redis_url="unix:///nowhere/redis.sock") as up:
        assert up.stderr.count("\n") == 1
        assert "does not answer" in up.stderr


def test_a_broker_that_does_not_answer_is_told(redis_server: RedisServer) -> None:
    with refused(redis_url=redis_server.url, broker_url="unix:///nowhere/broker.sock") as up:
        assert "[broker] url unix:///nowhere/broker.sock does not answer" in up.stderr
