import asyncio

import pytest

from bench.load import Load, command_of, sized_for
from bench.sink import Arrivals, SmtpProtocol
from bench.smtp_client import Connection, Reply, UnexpectedReply, message_of, run_load


@pytest.fixture
async def sink():
    """(arrivals, port) of an SMTP server that takes everything."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: SmtpProtocol(arrivals), "127.0.0.1", 0)
    async with server:
        yield arrivals, server.sockets[0].getsockname()[1]


def test_both_load_programs_get_the_same_load():
    load = Load(500, 20, 1024)
    source = " ".join(command_of(load, 2525, "/usr/sbin/smtp-source"))
    assert "-d -s 20 -m 500 -l 1024" in source
    assert source.endswith("127.0.0.1:2525")
    own = " ".join(command_of(load, 2525, None))
    assert "-m bench.smtp_client --port 2525 --messages 500 --sessions 20 --size-bytes 1024" in own


def test_one_message_a_connection_is_asked_for():
    load = Load(500, 20, 1024, is_one_per_connection=True)
    assert "-d" not in command_of(load, 2525, "smtp-source")
    assert command_of(load, 2525, None)[-1] == "--one-per-connection"


def test_a_run_is_made_as_long_as_wanted_by_a_trial():
    assert sized_for(Load(300, 20, 1024), 4.0, lambda trial: trial.messages / 1000).messages == 4000


def test_a_run_is_never_shorter_than_its_trial():
    assert sized_for(Load(300, 20, 1024), 4.0, lambda _: 100.0).messages == 300


@pytest.mark.parametrize("size", [0, 1, 80, 1024, 20 * 1024])
def test_a_message_has_the_size_and_only_whole_lines(size):
    body = message_of(size).partition(b"\r\n\r\n")[2]
    assert abs(len(body) - size) <= 1
    assert body.count(b"\r\n") == body.count(b"\n")
    assert not body or body.endswith(b"\r\n")


@pytest.mark.parametrize("one_per_connection", [True, False])
async def test_our_own_client_delivers_every_message_once(sink, one_per_connection):
    arrivals, port = sink
    await run_load(port, 50, 7, 1024, one_per_connection=one_per_connection)
    assert arrivals.count == 50


async def test_the_sink_stamps_what_is_timed(sink):
    arrivals, port = sink
    connection = await Connection.open(port)
    await connection.envelope("app@example.com", "t17@example.net")
    assert (await connection.content(message_of(100))).code == 250
    await connection.quit()
    assert list(arrivals.stamps) == ["t17"]
    assert arrivals.told("reset") == {"count": 0, "last_at": 0.0}


def test_a_refusal_is_an_error_with_its_reply():
    with pytest.raises(UnexpectedReply, match="451 later") as caught:
        Reply(451, "later").expect(250)
    assert caught.value.reply.code == 451
