"""The session on aiosmtpd: what dialogues cannot show."""

import asyncio
import contextlib
import importlib.metadata
import inspect
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from structlog.testing import capture_logs

from sending_events.records import EventRecord
from smtp_gateway.session import SmtpSession
from smtp_gateway.users import UserFile
from spool.scripts import StoreUnavailable
from spool.send_parameters import SendParameters
from tests.dialogues.stand import Stand, standing

HELLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


class Client:
    """A client that reads replies one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connected(cls, stand: Stand, *, hello: bool = True) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", stand.port))
        assert (await client.reply()).startswith("220") or not hello
        if hello:
            await client.say(HELLO)
        return client

    async def say(self, raw: bytes) -> str:
        self.writer.write(raw)
        return await self.reply()

    async def reply(self) -> str:
        async with asyncio.timeout(60):
            line = await self.reader.readline()
            while line[3:4] == b"-":
                line = await self.reader.readline()
        return line.decode().rstrip()

    async def envelope(self) -> None:
        self.writer.write(ENVELOPE)
        assert [(await self.reply())[:3] for _ in range(3)] == ["250", "250", "354"]

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


# -- the ground


async def test_aiosmtpd_is_the_version_whose_private_names_are_used():
    assert importlib.metadata.version("aiosmtpd") == "1.4.6"
    assert inspect.iscoroutinefunction(SMTP._handle_client)
    for name in ("_set_rset_state", "_create_session", "_reset_timeout", "_cb_client_connected"):
        assert callable(getattr(SMTP, name))
    source = inspect.getsource(SMTP.connection_made)
    for name in (
        "_set_rset_state()",
        "_create_session()",
        "_reset_timeout()",
        "_handle_client()",
        "_original_transport",
    ):
        assert name in source
    assert {"mail_from", "rcpt_tos", "smtp_utf8"} <= vars(Envelope()).keys()
    assert "_buffer" in vars(asyncio.StreamReader())


async def test_a_session_is_built_without_looking_through_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with standing(tmp_path) as stand:
        monkeypatch.setattr(inspect, "getmembers", None)
        session = SmtpSession(stand.door, asyncio.get_running_loop())
        assert session.transport is None
        assert "host_name" in vars(Session(asyncio.get_running_loop()))


# -- a message


async def test_the_spool_gets_everything_it_wants_to_know(tmp_path: Path):
    user = ("app", "secret", ("*",))
    async with standing(tmp_path, users=[user], auth_without_tls=True) as stand:
        client = await Client.connected(stand)
        await client.say(b"AUTH PLAIN AGFwcABzZWNyZXQ=\r\n")
        await client.envelope()
        reply = await client.say(b"Message-ID: <m@id>\r\nAuto-Submitted: auto-replied\r\n\r\nx\r\n.\r\n")
        (message,) = stand.spool.messages
        assert reply == f"250 2.0.0 Ok {message.message_id}"
        assert (message.sender, message.recipients) == ("a@example.com", ("b@example.net",))
        assert (message.header_message_id, message.is_auto_submitted) == ("m@id", True)
        assert (message.user, message.client_address, message.helo) == ("app", "127.0.0.1", "client.example")
        assert message.door == "smtp"
        event = orjson.loads(message.event)
        assert (event["k"], event["id"]) == ("accepted", message.message_id)
        assert stand.nudger.nudged == [message.message_id]
        top = message.content.partition(b"Message-ID")[0]
        assert re.fullmatch(
            rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n"
            rb"\tby mx\.test with ESMTPA\r\n\tid \S+; .* \+0000\r\n",
            top,
        )
        assert b"app" not in top
        await client.close()


async def test_the_end_is_found_when_every_byte_comes_alone(tmp_path: Path):
    async with standing(tmp_path) as stand:
        client = await Client.connected(stand)
        await client.envelope()
        for byte in b"a\r\n..b\r\n.\r\nQUIT\r\n":
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.reply()).startswith("250 2.0.0")
        assert (await client.reply()).startswith("221")
        assert stand.spool.messages[0].content.endswith(b"+0000\r\na\r\n.b\r\n")
        await client.close()


async def test_a_client_that_leaves_during_the_commit_changes_nothing(tmp_path: Path):
    async with standing(tmp_path) as stand:
        stand.spool.gate.clear()
        client = await Client.connected(stand)
        await client.envelope()
        client.writer.write(b"x\r\n.\r\n")
        await stand.until(lambda: stand.spool.offered)
        [session] = stand.door._sessions
        client.writer.transport.abort()
        await stand.until(session._reader.at_eof)  # the gateway has seen it
        stand.spool.gate.set()
        await stand.until(lambda: stand.spool.kept and stand.door.connections.open == 0)
        assert stand.nudger.nudged == list(stand.spool.kept)
        assert stand.spool.withdrawn == []
        assert stand.door.budget.used_bytes == 0


async def test_a_late_store_is_answered_before_the_clients_patience_ends(tmp_path: Path):
    async with standing(tmp_path, commit_timeout_seconds=0.1) as stand:
        stand.spool.troubles = [StoreUnavailable("down")] * 50
        stand.spool.keeps_in_trouble = True
        client = await Client.connected(stand)
        await client.envelope()
        assert (await client.say(b"x\r\n.\r\n")).startswith("451 4.3.0")
        assert (await client.say(b"NOOP\r\n")).startswith("250")
        await stand.until(lambda: stand.spool.withdrawn and not stand.spool.kept)
        assert stand.nudger.nudged == []
        assert stand.counts()["smtp_refused:store_silent"] == 1
        await client.close()


async def test_what_headers_say_to_ses_is_lifted_and_told_with_the_event(tmp_path: Path):
    headers = (
        b"X-SES-CONFIGURATION-SET: news\r\nSubject: s\r\nX-SES-MESSAGE-TAGS: a=1\r\n\r\nX-SES-SOURCE-ARN: arn:body\r\n"
    )
    async with standing(tmp_path) as stand:
        client = await Client.connected(stand)
        await client.envelope()
        assert (await client.say(headers + b".\r\n")).startswith("250")
        [message] = stand.spool.messages
        assert message.parameters == SendParameters("SendSmtpEmail", "news", (("a", "1"),))
        assert EventRecord.decode(message.event).configuration_set == "news"
        assert (message.once, message.once_seconds) == ("", 0)
        assert message.content.endswith(headers), "the relay takes them out"
        await client.close()


async def test_a_repeat_by_its_key_is_told_the_first_id(tmp_path: Path):
    async with standing(tmp_path) as stand:
        client, told = await Client.connected(stand), []
        for key in (b"order-1", b"order-1", b"order-2"):
            await client.envelope()
            told.append(await client.say(b"X-Sluice-Idempotency-Key: " + key + b"\r\n\r\nx\r\n.\r\n"))
        first, other = stand.spool.messages
        assert told == [f"250 2.0.0 Ok {one.message_id}" for one in (first, first, other)]
        assert stand.nudger.nudged == [first.message_id, first.message_id, other.message_id]
        assert first.once_seconds == 86_400
        await client.close()


async def test_a_bug_says_later_and_tells_nothing(tmp_path: Path):
    async with standing(tmp_path) as stand:
        stand.spool.troubles = [RuntimeError("secret inner thing")]
        client = await Client.connected(stand)
        await client.envelope()
        with capture_logs() as logs:
            assert await client.say(b"x\r\n.\r\n") == "451 4.3.0 Temporary local problem, try again later"
        assert [line["event"] for line in logs] == ["gateway.session_failed"]
        await client.envelope()
        assert (await client.say(b"x\r\n.\r\n")).startswith("250")
        assert stand.door.budget.used_bytes == 0
        await client.close()


async def test_no_address_password_or_body_is_logged(tmp_path: Path):
    user = ("the-user", "the-password", ("*",))
    async with standing(tmp_path, users=[user], auth_without_tls=True) as stand:
        client = await Client.connected(stand)
        with capture_logs() as logs:
            await client.say(b"AUTH LOGIN\r\n")
            await client.say(b"dGhlLXVzZXI=\r\n")
            await client.say(b"dGhlLXBhc3N3b3Jk\r\n")
            await client.envelope()
            await client.say(b"the-body\r\n.\r\n")
            await client.envelope()
            await client.say(b"bare\nthe-body\r\n.\r\n")
        text = repr(logs)
        assert {line["event"] for line in logs} == {"message.accepted", "message.refused"}
        for secret in ("a@example.com", "b@example.net", "the-", "dGhl"):
            assert secret not in text
        await client.close()


# -- limits


async def test_connections_over_the_limits_are_told_later(tmp_path: Path):
    async with standing(tmp_path, max_connections=2) as stand:
        first, second = await Client.connected(stand), await Client.connected(stand)
        third = await Client.connected(stand, hello=False)
        assert await third.reader.read() == b""
        await first.close()
        await stand.until(lambda: stand.door.connections.open == 1)
        fourth = await Client.connected(stand)
        assert stand.counts()["smtp_refused:too_many_connections"] == 1
        for client in (second, third, fourth):
            await client.close()
        await stand.until(lambda: stand.door.connections.open == 0)


async def test_connections_from_one_address_are_limited(tmp_path: Path):
    async with standing(tmp_path, max_connections_per_address=1) as stand:
        first = await Client.connected(stand)
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        assert (await reader.read()).startswith(b"421 4.7.0 Too many connections from your address")
        writer.close()
        await first.close()


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path):
    async with standing(tmp_path, max_commands=10**7) as stand:
        client = await Client.connected(stand)
        client.reader._transport.pause_reading()
        stand.limit_silence(0.2)  # only now, so that nothing has to be said in time

        async def flood() -> None:
            while True:
                client.writer.write(b"NOOP\r\n" * 1000)
                await client.writer.drain()

        with pytest.raises(ConnectionError):
            async with asyncio.timeout(90):
                await flood()
        await stand.until(lambda: stand.door.connections.open == 0)


async def test_one_message_to_as_many_recipients_as_may_be_allowed_is_accepted(tmp_path: Path):
    async with standing(tmp_path, max_recipients=10_000) as stand:
        client = await Client.connected(stand)
        everybody = b"".join(b"RCPT TO:<r%d@example.net>\r\n" % number for number in range(10_000))
        client.writer.write(b"MAIL FROM:<a@example.com>\r\n" + everybody + b"DATA\r\n")
        assert {(await client.reply())[:3] for _ in range(10_001)} == {"250"}
        assert (await client.reply()).startswith("354")
        assert (await client.say(b"Subject: x\r\n\r\nbody\r\n.\r\n")).startswith("250")
        (message,) = stand.spool.kept.values()
        assert len(message.recipients) == 10_000
        await client.close()


async def test_the_budget_never_leaks_whatever_clients_do(tmp_path: Path):
    chance = random.Random(7)

    async def one(stand: Stand) -> None:
        client = await Client.connected(stand)
        try:
            for _ in range(chance.randrange(1, 5)):
                await misbehave(client)
        except (ConnectionError, AssertionError):
            pass  # it was refused, or has left
        finally:
            await client.close()

    async def misbehave(client: Client) -> None:
        await client.envelope()
        client.writer.write((b"x" * 70 + b"\r\n") * chance.choice([1, 100, 5000, 20000]))
        match chance.randrange(5):
            case 0:
                client.writer.transport.abort()
            case 1:
                client.writer.write(b"bare\n\r\n.\r\n")
            case 2:
                client.writer.write(b".\r\n")
                client.writer.write_eof()
                await client.reply()
                raise ConnectionAbortedError
            case _:
                client.writer.write(b".\r\n")
        await client.reply()

    async with standing(
        tmp_path, memory_budget_bytes=2**21, max_message_bytes=2**21, commit_timeout_seconds=0.2
    ) as stand:
        stand.spool.troubles = [StoreUnavailable("down") for _ in range(10)]
        async with asyncio.timeout(60):
            await asyncio.gather(*(one(stand) for _ in range(40)))
        await stand.until(lambda: stand.door.connections.open == 0)
        await stand.until(lambda: stand.door.budget.used_bytes == 0)
        assert stand.spool.kept


# -- the way out


async def test_draining_dismisses_idle_sessions_and_lets_transactions_end(tmp_path: Path):
    async with standing(tmp_path) as stand:
        idle, busy, late = [await Client.connected(stand) for _ in range(3)]
        await busy.envelope()
        await late.envelope()
        draining = asyncio.create_task(stand.door.drain(600))
        assert (await idle.reply()).startswith("421 4.3.2")
        assert (await busy.say(b"x\r\n.\r\n")).startswith("250 2.0.0 Ok")
        assert (await busy.reply()).startswith("421 4.3.2")
        newcomer = await Client.connected(stand, hello=False)
        assert not draining.done(), "there is one left, and time for it"
        await stand.door.drain(0.05)  # a grace that ends, whatever else is slow
        assert (await late.reply()).startswith("421 4.3.2"), "the grace is over"
        async with asyncio.timeout(60):
            await draining
        assert len(stand.spool.kept) == 1
        await stand.until(lambda: stand.door.connections.open == 0)
        for client in (idle, busy, late, newcomer):
            await client.close()


async def test_a_failed_handshake_ends_the_session_and_nothing_else(tmp_path: Path):
    async with standing(tmp_path, certificate=True) as stand:
        with capture_logs() as logs:
            client = await Client.connected(stand)
            await client.say(b"STARTTLS\r\n")
            client.writer.write(b"this is no handshake\r\n" * 10)
            with contextlib.suppress(ConnectionError):
                await client.reader.read()  # an alert of TLS, or nothing
            await stand.until(lambda: stand.door.connections.open == 0)
            await client.close()
        assert logs == []
        other = await Client.connected(stand)
        await other.close()


# -- the port with implicit TLS


@contextlib.asynccontextmanager
async def silent_sockets(port: int, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    sockets = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    yield [reader for reader, _ in sockets]
    for _, writer in sockets:
        writer.close()


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_a_connection_counts_before_it_has_shaken_hands(tmp_path: Path):
    async with (
        standing(tmp_path, certificate=True, max_connections_per_address=3, handshake_seconds=100) as stand,
        silent_sockets(stand.tls_port, 3),
    ):
        await stand.until(lambda: stand.door.connections.open == 3)
        async with silent_sockets(stand.tls_port, 1) as (reader,):
            assert await read_to_the_end(reader) == b"", "a word in plain text would be no TLS"
        assert stand.counts()["smtp_refused:too_many_connections_from_you"] == 1
    await stand.until(lambda: stand.door.connections.open == 0)


async def test_a_silent_handshake_is_cut_off_and_gives_its_place_back(tmp_path: Path):
    async with (
        standing(tmp_path, certificate=True, handshake_seconds=0.2) as stand,
        silent_sockets(stand.tls_port, 3) as readers,
    ):
        for reader in readers:
            assert await read_to_the_end(reader) == b""
        await stand.until(lambda: stand.door.connections.open == 0)


async def test_draining_says_nothing_in_plain_text_to_a_handshake(tmp_path: Path):
    async with (
        standing(tmp_path, certificate=True, handshake_seconds=100) as stand,
        silent_sockets(stand.tls_port, 1) as (reader,),
    ):
        await stand.until(lambda: stand.door.connections.open == 1)
        await stand.door.drain(0.05)
        assert await read_to_the_end(reader) == b""
        await stand.until(lambda: stand.door.connections.open == 0)


async def test_a_handshake_with_garbage_gives_its_place_back(tmp_path: Path):
    async with standing(tmp_path, certificate=True) as stand:
        with capture_logs() as logs:
            reader, writer = await asyncio.open_connection("127.0.0.1", stand.tls_port)
            writer.write(HELLO * 10)
            await read_to_the_end(reader)
            await stand.until(lambda: stand.door.connections.open == 0 and stand.counts())
            writer.close()
        assert logs == []


LOGIN = b"AUTH PLAIN AGFwcABzZWNyZXQ=\r\n"


@pytest.mark.parametrize("networks", [[], ["127.0.0.0/8"]], ids=["strangers", "allowed network"])
async def test_an_open_connection_loses_its_user_with_the_next_mail(tmp_path, networks):
    patterns = ("shop.example",)
    users = [("app", "secret", patterns)]
    async with standing(tmp_path, users=users, auth_without_tls=True, allowed_networks=networks) as stand:
        file = UserFile(tmp_path / "users.json")
        client = await Client.connected(stand)
        assert (await client.say(LOGIN)).startswith("235")
        assert (await client.say(b"MAIL FROM:<a@shop.example>\r\n")).startswith("250")
        await client.say(b"RSET\r\n")
        file.path.write_bytes(file.path.read_bytes().replace(b"shop.example", b"news.example"))
        assert (await client.say(b"MAIL FROM:<a@shop.example>\r\n")).startswith("553")
        file.add("app", "another", patterns)
        assert (await client.say(b"MAIL FROM:<a@shop.example>\r\n")).startswith("421")
        assert await client.reader.read() == b""
        await client.close()
        file.add("app", "secret", patterns)
        client = await Client.connected(stand)
        assert (await client.say(LOGIN)).startswith("235")
        file.path.write_text("not JSON")
        assert (await client.say(b"MAIL FROM:<a@shop.example>\r\n")).startswith("250")
        await client.say(b"RSET\r\n")
        file.path.unlink()
        assert (await client.say(b"MAIL FROM:<a@shop.example>\r\n"))[:3] == "421"
        await client.close()
