"""The gateway as a process: stopping in order, several on one port, certificates, large messages, idle sessions."""

import asyncio
import signal
import smtplib
import socket
import ssl

import pytest

from config.settings import SES_MAX_RAW_BYTES, Settings
from config.settings_source import load_settings
from smtp_gateway.users import UserFile
from spool.assembly import open_spool
from tests.dialogues.stand import write_certificate
from tests.scenarios.gateway_process import GatewayProcess, ReservedPort, due_ids, sent, until
from tests.servers import RedisServer

pytestmark = pytest.mark.processes

MIB = 1024 * 1024


def is_served(port: int) -> bool:
    """Whether a newcomer gets a banner; a refused connection, a closed one and a 421 are all a no."""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as newcomer:
            return newcomer.recv(4096).startswith(b"220")
    except ConnectionError:
        return False


def test_sigterm_lets_a_running_transaction_end(redis_server: RedisServer):
    with GatewayProcess(redis_server.url) as gateway:
        idle, busy = gateway.client(), gateway.client()
        busy.mail("a@example.com")
        busy.rcpt("b@example.net")
        gateway.signal(signal.SIGTERM)
        assert idle.getreply()[0] == 421
        assert not is_served(gateway.port)
        assert busy.data(b"x\r\n")[0] == 250
        assert busy.getreply()[0] == 421
        assert gateway.exit_code() == 0
        assert len(due_ids(redis_server.url)) == 1
        assert [line["event"] for line in gateway.log() if line["event"] != "spool.safe"][-3:] == [
            "gateway.draining",
            "message.accepted",
            "gateway.stopped",
        ]
        idle.close()
        busy.close()


def test_sigterm_does_not_wait_longer_than_the_grace(redis_server: RedisServer):
    with GatewayProcess(redis_server.url, smtp_shutdown_grace_seconds=0.3) as gateway:
        busy = gateway.client()
        busy.mail("a@example.com")
        assert gateway.stop() == 0
        assert busy.getreply()[0] == 421
        busy.close()


def test_two_processes_share_a_port(redis_server: RedisServer):
    port = ReservedPort()
    with (
        GatewayProcess(redis_server.url, port=port, smtp_hostname="one.test") as one,
        GatewayProcess(redis_server.url, port=port, smtp_hostname="two.test") as two,
    ):
        names = set()

        def deliver() -> None:
            with one.client() as client:
                names.add(client.ehlo_resp.split()[0])
                assert sent(client)[0] == 250

        until(lambda: deliver() or len(names) == 2)
        assert one.stop() == 0
        names.clear()
        for _ in range(10):
            deliver()
        assert names == {b"two.test"}
        assert two.stop() == 0
    port.close()


def test_a_port_in_use_is_said_in_one_line(redis_server: RedisServer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with GatewayProcess(redis_server.url, smtp_port=number) as gateway:
            assert not gateway.is_ready
            assert gateway.exit_code() == 1
            (line,) = gateway.log("gateway.stopped")
            assert f"port {number}" in line["reason"]
            assert "SLUICE_SMTP_PORT" in line["reason"]


def served_certificate(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def test_a_certificate_is_renewed_without_a_restart(redis_server: RedisServer, tmp_path):
    certificate, key = write_certificate(tmp_path, "one.test")
    tls_port = ReservedPort()
    with GatewayProcess(
        redis_server.url,
        smtp_tls_port=tls_port.number,
        smtp_tls_certificate_file=certificate,
        smtp_tls_key_file=key,
    ) as gateway:
        first = served_certificate(tls_port.number)
        with gateway.client() as client:
            client.starttls(context=ssl._create_unverified_context())
            write_certificate(tmp_path, "two.test")
            until(lambda: served_certificate(tls_port.number) != first)
            second = served_certificate(tls_port.number)
            client.ehlo()
            assert sent(client)[0] == 250, "a session keeps the certificate it began with"
        key.write_text("broken")
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.log("gateway.certificate_broken"))
        assert served_certificate(tls_port.number) == second
        with gateway.client() as client:
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo()
            assert sent(client)[0] == 250
    tls_port.close()


def test_a_user_that_was_just_added_may_log_in(redis_server: RedisServer, tmp_path):
    users = tmp_path / "users.json"
    with GatewayProcess(
        redis_server.url, smtp_users_file=users, smtp_auth_without_tls="true", smtp_allowed_networks="192.0.2.0/24"
    ) as gateway:
        with gateway.client() as client:
            assert client.mail("a@example.com")[0] == 550
        UserFile(users).add("app", "secret", ["example.com"])
        with gateway.client() as client:
            assert client.mail("a@example.com")[0] == 530
            assert client.login("app", "secret")[0] == 235
            assert sent(client)[0] == 250
        UserFile(users).remove("app")
        with gateway.client() as client, pytest.raises(smtplib.SMTPException):
            client.login("app", "secret")


def content_of(gateway: GatewayProcess, redis_url: str, message_id: str) -> bytes:
    async def read() -> bytes:
        settings: Settings = load_settings(
            environ={"SLUICE_REDIS_URL": redis_url, "SLUICE_DATA_DIR": str(gateway.folder)}
        )
        spool = open_spool(settings)
        message = await spool.load(message_id, with_content=True)
        assert message
        content = await spool.content_of(message)
        await spool.redis.aclose()
        return content

    return asyncio.run(read())


@pytest.mark.parametrize("size", [MIB, SES_MAX_RAW_BYTES])
def test_a_large_message_comes_through_unchanged_with_bounded_memory(redis_server: RedisServer, size: int):
    head = b"Subject: large\r\n\r\n"
    line = b".x" * 38 + b"\r\n"
    body = line * ((size - len(head)) // len(line))
    content = head + body + b"y" * (size - len(head) - len(body) - 2) + b"\r\n"
    with GatewayProcess(redis_server.url) as gateway, gateway.client() as client:
        assert sent(client)[0] == 250
        before = gateway.memory_bytes()
        code, text = sent(client, content)
        assert code == 250
        kept = content_of(gateway, redis_server.url, text.split()[-1].decode())
        assert kept.endswith(content)
        assert len(kept) < len(content) + 400
        # The message, once more on its way into the store, and what the reader and the allocator need.
        assert gateway.memory_bytes("VmHWM") - before < 2 * size + 24 * MIB
        if size == SES_MAX_RAW_BYTES:
            assert sent(client, content + b"z\r\n")[0] == 552
            assert sent(client)[0] == 250


def test_idle_connections_are_cheap(redis_server: RedisServer):
    with GatewayProcess(redis_server.url, smtp_max_connections_per_address=1000) as gateway:
        with gateway.client() as client:
            sent(client)
        before = gateway.memory_bytes()
        clients = [socket.create_connection(("127.0.0.1", gateway.port), 20) for _ in range(300)]
        for client in clients:
            client.sendall(b"EHLO client.example\r\n")
        for client in clients:
            text = b""
            while b"250 " not in text:
                text += client.recv(4096)
        per_connection = (gateway.memory_bytes() - before) / len(clients)
        for client in clients:
            client.close()
        assert per_connection < 20 * MIB / 1000
