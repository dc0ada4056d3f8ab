"""The relay's SES client on connections that fail: in doubt only when SES may have read the whole request."""

import asyncio
import gc
import random
import socket
import struct
import threading
import time
import tracemalloc
from contextlib import asynccontextmanager, closing

import pytest
import uvloop
from relay_client import LARGE, SMALL, may_always, relay_client
from simulated_ses import simulated_ses

from worker.relay.outcomes import Accepted, Rejected, Unavailable, Unknown
from worker.relay.ses import LeaseEnded
from worker.relay.wire import V1_MAX_RAW_BYTES, Call

GOOD = b"<SendRawEmailResponse><MessageId>0100-1</MessageId></SendRawEmailResponse>"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD)
GIVE_UP_SECONDS = 60
TCP_ESTABLISHED, TCP_FIN_WAIT1 = 1, 4
# What a machine that stands still for a while may not come to; the limits of a call have tests of their own.
PATIENT = {"call_timeout_seconds": 60, "connect_timeout_seconds": 60}


class Server:
    """Counts connections and whole requests; `behave(reader, writer, number)` answers one connection."""

    def __init__(self, behave):
        self._behave = behave
        self.connections = 0
        self.requests = 0
        self._open = {}

    async def read_request(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        self.requests += 1

    async def _serve(self, reader, writer):
        self.connections += 1
        self._open[asyncio.current_task()] = writer
        try:
            await self._behave(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self, **options):
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, **options)
        try:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            for writer in self._open.values():
                writer.transport.abort()
            await asyncio.gather(*self._open)


async def answer_for_ever(server, reader, writer):
    while True:
        await server.read_request(reader)
        writer.write(ANSWER)


async def until(condition):
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def patient(url):
    return relay_client(url, **PATIENT)


def keep_idle_connections(client):
    """However long the machine stands still between two calls."""
    client._http.connector._keepalive_timeout = 3600.0


def wait_until_heard(connections):
    """Until the clients' kernels have our ends of stream. The loop stands still meanwhile."""
    limit = time.monotonic() + GIVE_UP_SECONDS
    while any(map(_is_unheard, connections)):
        assert time.monotonic() < limit, "an end of stream does not arrive"
        time.sleep(0.001)


def _is_unheard(connection):
    """Whether our end of stream is still on its way, which takes a loaded machine a moment even to itself."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in {TCP_ESTABLISHED, TCP_FIN_WAIT1}


async def outcome_at(url, call=SMALL, **options):
    async with relay_client(url, **{**PATIENT, **options}) as client:
        return await client.send(call, may_always)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_a_server_that_is_not_there_is_unavailable(host):
    with closing(socket.socket()) as taken:  # bound, so that nobody else has the port; nobody listens
        taken.bind(("127.0.0.1", 0))
        outcome = await outcome_at(f"http://{host}:{taken.getsockname()[1]}")
    assert type(outcome) is Unavailable
    assert outcome.reason.startswith("SES cannot be reached: ")


async def test_a_connection_that_does_not_come_to_stand_is_unavailable():
    with closing(socket.socket()) as full, closing(socket.socket()) as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        extra = [socket.socket() for _ in range(4)]  # the queue of connections nobody accepts is full
        for one in extra:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        try:
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            outcome = await outcome_at(url, connect_timeout_seconds=0.2)
        finally:
            for one in extra:
                one.close()
    assert type(outcome) is Unavailable
    assert outcome.code == "ConnectionTimeoutError"


async def test_a_server_that_speaks_no_tls_is_unavailable():
    async def behave(server, reader, writer):
        await reader.read(100)
        writer.write(b"220 not what you expect\r\n")

    server = Server(behave)
    async with server.running() as url:
        outcome = await outcome_at(url.replace("http:", "https:"))
    assert type(outcome) is Unavailable
    assert server.requests == 0


async def test_a_right_to_send_that_ends_while_the_connection_is_made_prevents_the_request():
    server = Server(answer_for_ever)
    asked = []

    def may_send():
        asked.append(server.connections)
        return len(asked) == 1

    async with server.running() as url, patient(url) as client:
        with pytest.raises(LeaseEnded):
            await client.send(SMALL, may_send)
        await until(lambda: server.connections == 1)
        assert len(asked) == 2
        assert isinstance(await client.send(SMALL, may_always), Accepted)
    assert server.requests == 1


async def test_a_right_to_send_that_ends_before_the_server_takes_the_connection_leaves_it_empty():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:  # connects, but nobody accepts yet
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with patient(url) as client:
            lease_ended = asyncio.Event()
            sending = asyncio.create_task(client.send(SMALL, lambda: not lease_ended.is_set()))
            await asyncio.sleep(0)  # one turn of the loop: it has asked once and is connecting
            lease_ended.set()
            with pytest.raises(LeaseEnded):
                await sending
        connection, _ = listener.accept()
        with closing(connection):
            assert connection.recv(1) == b""


async def test_a_right_to_send_that_ends_during_a_large_body_prevents_the_rest():
    server = Server(answer_for_ever)
    looks = []

    def may_send():
        looks.append(1)
        return len(looks) < 8

    async with server.running() as url, patient(url) as client:
        with pytest.raises(LeaseEnded):
            await client.send(LARGE, may_send)
        await until(lambda: server.connections == 1)
    assert (len(looks), server.requests) == (8, 0)


async def test_a_connection_lost_in_the_middle_of_a_large_body_is_no_doubt():
    async def behave(server, reader, writer):
        await reader.readexactly(1_000_000)
        writer.transport.abort()

    server = Server(behave)
    async with server.running() as url:
        outcome = await outcome_at(url, LARGE)
    assert type(outcome) is Unavailable
    assert (server.connections, server.requests) == (1, 0)


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_connection_lost_after_the_body_is_in_doubt_and_the_call_is_not_repeated(is_reset):
    async def behave(server, reader, writer):
        await server.read_request(reader)
        if server.requests == 1:  # keeps the connection, so that the next call reuses it
            writer.write(ANSWER)
            await server.read_request(reader)
        if is_reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    server = Server(behave)
    async with server.running() as url, patient(url) as client:
        keep_idle_connections(client)
        assert isinstance(await client.send(SMALL, may_always), Accepted)
        outcome = await client.send(SMALL, may_always)
        await asyncio.sleep(0)
    assert type(outcome) is Unknown
    assert (server.connections, server.requests) == (1, 2)


async def test_connections_are_reused():
    server = Server(answer_for_ever)
    async with server.running() as url, patient(url) as client:
        keep_idle_connections(client)
        for _ in range(5):
            assert isinstance(await client.send(SMALL, may_always), Accepted)
    assert (server.connections, server.requests) == (1, 5)


async def test_a_connection_that_the_server_closed_while_idle_is_not_written_to():
    ended = []

    async def behave(server, reader, writer):
        await server.read_request(reader)
        writer.write(ANSWER)
        writer.write_eof()
        await until(lambda: not _is_unheard(writer.get_extra_info("socket")))
        ended.append(writer)

    server = Server(behave)
    async with server.running() as url, patient(url) as client:
        for number in range(1, 9):
            assert isinstance(await client.send(SMALL, may_always), Accepted)
            await until(lambda number=number: len(ended) == number)
    assert server.requests == 8


class ClosesWhenTold(threading.Thread):
    """A server outside the event loop: ends all its idle connections while the loop stands still."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = []
        self.requests = []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        text = b""
        while True:
            try:
                piece = connection.recv(65536)
            except OSError:
                return
            if not piece:
                return
            text += piece
            head, found, body = text.partition(b"\r\n\r\n")
            if found and len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
                self.requests.append(head)  # from many threads
                text = b""
                connection.sendall(ANSWER)

    def close_idle(self):
        for connection in self.open:
            connection.shutdown(socket.SHUT_RDWR)
        wait_until_heard(self.open)
        for connection in self.open:
            connection.close()
        self.open.clear()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_idle()
        self.join(GIVE_UP_SECONDS)


async def test_an_end_of_stream_that_the_loop_has_not_seen_yet_makes_no_doubt():
    server = ClosesWhenTold()
    try:
        async with patient(server.url) as client:
            warm = await asyncio.gather(*(client.send(SMALL, may_always) for _ in range(6)))
            server.close_idle()  # no await between this and the call: the loop cannot have noticed
            alone = await client.send(SMALL, may_always)
            server.close_idle()
            together = await asyncio.gather(*(client.send(SMALL, may_always) for _ in range(6)))
    finally:
        server.stop()
    assert {type(outcome) for outcome in (*warm, alone, *together)} == {Accepted}
    assert len(server.requests) == 13


async def test_a_server_that_closes_every_new_connection_is_asked_a_few_times_and_is_never_in_doubt():
    async def behave(server, reader, writer):
        writer.transport.abort()

    server = Server(behave)
    async with server.running() as url:
        outcomes = [type(await outcome_at(url)) for _ in range(3)]
    assert set(outcomes) <= {Unavailable, Unknown}
    assert server.connections <= 15
    assert server.requests == 0


async def test_an_answer_before_the_end_of_the_body_is_taken_and_the_connection_is_given_up():
    async def behave(server, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: BadRequestException\r\nContent-Length: 15\r\n\r\n"
            b'{"message":"x"}'
        )
        await writer.drain()
        if server.connections > 1:
            await reader.read()

    server = Server(behave)
    async with server.running() as url, patient(url) as client:
        outcome = await client.send(LARGE, may_always)
        assert isinstance(outcome, Rejected | Unavailable)
        assert isinstance(await client.send(LARGE, may_always), Rejected | Unavailable)
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
        b"\x00" * 1000,
    ],
    ids=["not http", "bad length", "long header", "bad chunk", "gzip", "502", "long page", "zeros"],
)
async def test_an_answer_that_makes_no_sense_is_unknown(answer):
    async def behave(server, reader, writer):
        await server.read_request(reader)
        writer.write(answer)
        await writer.drain()

    server = Server(behave)
    async with server.running() as url:
        outcome = await outcome_at(url)
    assert type(outcome) is Unknown
    assert server.requests == 1


async def test_a_redirect_is_not_followed():
    target = Server(answer_for_ever)
    async with target.running() as elsewhere:

        async def behave(server, reader, writer):
            await server.read_request(reader)
            writer.write(f"HTTP/1.1 307 x\r\nLocation: {elsewhere}/\r\nContent-Length: 0\r\n\r\n".encode())

        server = Server(behave)
        async with server.running() as url:
            outcome = await outcome_at(url)
    assert type(outcome) is Unavailable
    assert (server.requests, target.connections) == (1, 0)


async def test_an_answer_that_never_ends_is_cut_off():
    async def behave(server, reader, writer):
        await server.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    server = Server(behave)
    async with server.running() as url:
        assert type(await outcome_at(url)) is Unknown


async def test_a_cancelled_call_leaves_the_client_usable():
    with simulated_ses() as ses:
        ses.json("PUT", "/faults", {"kind": "hang_before", "count": 1})
        async with patient(ses.url) as client:
            sending = asyncio.create_task(client.send(SMALL, may_always))
            await until(lambda: ses.json("GET", "/faults")[0]["hits"])
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert isinstance(await client.send(SMALL, may_always), Accepted)


AT_V1_LIMIT = Call("a@example.com", ["b@example.com"], random.Random(1).randbytes(V1_MAX_RAW_BYTES), {})


@pytest.mark.parametrize(("call", "times"), [(LARGE, 2.8), (AT_V1_LIMIT, 4.4)], ids=["v2", "v1"])
async def test_a_large_call_takes_a_known_multiple_of_its_message(call, times):
    """Base64 makes four bytes of three; the body is joined once, on v1 escaped as well; nothing is kept after."""

    async def behave(server, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        while await reader.read(65536):
            pass

    server = Server(behave)
    async with server.running() as url, relay_client(url, **{**PATIENT, "call_timeout_seconds": 0.3}) as client:
        await client.send(call, may_always)
        gc.collect()
        tracemalloc.start()
        try:
            assert type(await client.send(call, may_always)) is Unknown
            _, peak = tracemalloc.get_traced_memory()
            await until(lambda: gc.collect() >= 0 and tracemalloc.get_traced_memory()[0] < 500_000)
        finally:
            tracemalloc.stop()
    assert peak < times * len(call.content)


@pytest.mark.parametrize(
    "test",
    [
        test_a_right_to_send_that_ends_before_the_server_takes_the_connection_leaves_it_empty,
        test_a_right_to_send_that_ends_during_a_large_body_prevents_the_rest,
        test_a_connection_lost_in_the_middle_of_a_large_body_is_no_doubt,
        test_a_connection_that_the_server_closed_while_idle_is_not_written_to,
        test_an_end_of_stream_that_the_loop_has_not_seen_yet_makes_no_doubt,
        test_an_answer_before_the_end_of_the_body_is_taken_and_the_connection_is_given_up,
        test_a_cancelled_call_leaves_the_client_usable,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_it_holds_on_the_worker_s_own_loop_too(test):
    uvloop.run(test())
