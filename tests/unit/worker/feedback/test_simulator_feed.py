"""The simulator's feed over a socket: what is asked, what is understood, and what counts as away."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from worker.feedback.simulator_feed import FeedAway, SimulatorFeed

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ask = Callable[[Answer], Awaitable[SimulatorFeed]]


@pytest.fixture
async def feed_of() -> AsyncIterator[Ask]:
    """Makes a feed whose source answers as it is told."""
    opened: list[SimulatorFeed | TestServer] = []

    async def make(answer: Answer) -> SimulatorFeed:
        app = web.Application()
        app.router.add_get("/events", answer)
        server = TestServer(app)
        await server.start_server()
        feed = SimulatorFeed(str(server.make_url("/")), wait_seconds=0.5)
        opened.extend((feed, server))
        return feed

    yield make
    for one in opened:
        await one.close()


async def test_a_page_is_lines_and_the_position_after_them(feed_of: Ask):
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.Response(body=b'{"a":1}\n\nno json\n', headers={"X-Next": "19", "X-Feed": "one"})

    page = await (await feed_of(answer)).read(17)
    assert asked == [{"since": "17", "wait": "0.5"}]
    assert (page.feed, page.lines, page.next, page.is_cut) == ("one", (b'{"a":1}', b"no json"), 19, False)


async def test_an_answer_without_events_or_a_name_is_a_page_too(feed_of: Ask):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers={"X-Next": "0"})

    page = await (await feed_of(answer)).read(0)
    assert (page.feed, page.lines, page.next) == ("", (), 0)


async def test_an_answer_may_say_that_it_is_not_the_end(feed_of: Ask):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"{}\n", headers={"X-Next": "1", "X-More": "1"})

    assert (await (await feed_of(answer)).read(0)).is_cut


@pytest.mark.parametrize(
    "answer",
    [
        web.Response,
        lambda: web.Response(headers={"X-Next": "many"}),
        lambda: web.Response(status=503, headers={"X-Next": "1"}),
        lambda: web.Response(status=404, text="Not found"),
    ],
)
async def test_an_answer_that_is_no_page_means_away(feed_of: Ask, answer: Callable[[], web.Response]):
    async def answering(_: web.Request) -> web.Response:
        return answer()

    feed = await feed_of(answering)
    with pytest.raises(FeedAway, match="/events answers"):
        await feed.read(0)


async def test_an_answer_that_is_cut_off_means_away(feed_of: Ask):
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Next": "2", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"a":1}\n')
        assert request.transport is not None
        request.transport.close()
        return response

    feed = await feed_of(answer)
    with pytest.raises(FeedAway, match="does not answer"):
        await feed.read(0)


async def test_a_source_that_nobody_listens_at_means_away():
    with socket.socket() as taken:  # so that nobody else gets the port; it does not listen
        taken.bind(("127.0.0.1", 0))
        feed = SimulatorFeed(f"http://127.0.0.1:{taken.getsockname()[1]}", wait_seconds=0.1)
        with pytest.raises(FeedAway, match="does not answer"):
            await feed.read(0)
        await feed.close()


async def test_a_proxy_of_the_environment_is_not_asked(feed_of: Ask, monkeypatch: pytest.MonkeyPatch):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers={"X-Next": "0"})

    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await (await feed_of(answer)).read(0)).next == 0
