"""Calls to hosts that somebody else names: where they go, where not, and how they end."""

import asyncio
import socket

import pytest
from aiohttp import web

from config.errors import Refused, TryLater
from sending_events.destinations.outbound_http import AllowedTargets, OutboundHttp
from tests.unit.sending_events.receivers import certificate_of, receiving

HOST = "hooks.example.test"


class Names:
    """A name server of the test: each look-up of a name takes its next answer, the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host):
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
async def made():
    opened = []

    def make(*allowed, **more):
        opened.append(OutboundHttp(AllowedTargets.of(allowed), **more))
        return opened[-1]

    yield make
    for one in opened:
        await one.close()


async def never(request):
    raise AssertionError("somebody connected")


async def test_a_name_with_a_private_address_is_not_connected_to(made):
    async with receiving(never) as port:
        for address in ("127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "fe80::1", "::1"):
            with pytest.raises(Refused, match="not public"):
                await made(look_up=Names([address])).get(f"https://{HOST}:{port}/")


async def test_one_private_address_among_public_ones_is_enough_to_refuse(made):
    with pytest.raises(Refused, match="not public"):
        await made(look_up=Names(["1.1.1.1", "127.0.0.1"])).get(f"https://{HOST}/")


async def test_the_name_is_looked_up_once_for_check_and_connection(made):
    """A second look-up with another answer would be a way around the check."""
    connected = []

    async def answer(request):
        connected.append(request.remote)
        return web.Response(text="here")

    async with receiving(answer) as port:
        names = Names(["127.0.0.1"], ["192.0.2.1"])
        http = made(HOST, look_up=names)
        assert (await http.get(f"http://{HOST}:{port}/")).body == b"here"
        assert names.asked == [HOST]
        assert connected == ["127.0.0.1"]


async def test_the_next_look_up_is_checked_again(made):
    async def answer(request):
        return web.Response(headers={"Connection": "close"})

    async with receiving(answer) as port:
        http = made("127.0.0.0/8", HOST, look_up=Names(["127.0.0.1"]))
        assert (await http.get(f"http://{HOST}:{port}/")).status == 200
        http = made("127.0.0.0/8", look_up=Names(["127.0.0.1"], ["10.0.0.1"]))
        with pytest.raises(TryLater):  # no TLS there, but connected to
            await http.get(f"https://{HOST}:{port}/")
        with pytest.raises(Refused, match="not public"):
            await http.get(f"https://{HOST}:{port}/")


def test_a_socket_to_an_address_that_nobody_checked_is_not_opened():
    http = OutboundHttp(AllowedTargets())
    with pytest.raises(PermissionError):
        http._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    http._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("1.1.1.1", 80))).close()


async def test_localhost_is_refused_by_the_real_resolver(made):
    with pytest.raises(Refused, match="localhost is at an address that is not public"):
        await made().get("https://localhost/")


async def test_spellings_of_loopback_reach_nobody(made):
    async with receiving(never) as port:
        for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::ffff:7f00:1]", "0x7f.1"):
            with pytest.raises(Refused):
                await made().get(f"https://{host}:{port}/")


async def test_redirects_are_answers_and_not_followed(made):
    async def answer(request):
        assert request.path == "/first"
        return web.Response(status=302, headers={"Location": "/second"})

    async with receiving(answer) as port:
        found = await made("127.0.0.1").get(f"http://127.0.0.1:{port}/first")
    assert (found.status, found.headers["location"]) == (302, "/second")


async def test_the_certificate_must_be_that_of_the_host(made, tmp_path):
    seen = []

    async def answer(request):
        seen.append(request.headers["Host"])
        return web.Response(text="safe")

    server, client = certificate_of(HOST, tmp_path)
    async with receiving(answer, tls=server) as port:
        names = Names(["127.0.0.1"])
        http = made(HOST, "other.example.test", look_up=names, tls=lambda: client)
        assert (await http.get(f"https://{HOST}:{port}/")).body == b"safe"
        assert seen == [f"{HOST}:{port}"]
        with pytest.raises(TryLater, match=r"certificate of other\.example\.test:\d+ is not trusted"):
            await http.get(f"https://other.example.test:{port}/")
        with pytest.raises(TryLater, match="is not trusted"):  # the world's authorities do not know it
            await made(HOST, look_up=names).get(f"https://{HOST}:{port}/")
    assert len(seen) == 1


async def test_an_answer_that_does_not_end_is_read_to_its_limit(made):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4096)

    async with receiving(endless) as port:
        http, url = made("127.0.0.1"), f"http://127.0.0.1:{port}/"
        with pytest.raises(Refused, match="larger than 1000 bytes"):
            await http.get(url, max_answer_bytes=1000)
        answer = await http.post(url, b"{}", {}, max_answer_bytes=1000)
        assert (answer.status, answer.is_whole, len(answer.body)) == (200, False, 1000)


async def test_what_does_not_answer_is_left_after_the_time_limit(made):
    is_over = asyncio.Event()

    async def hang(request):
        await is_over.wait()
        return web.Response()

    async with receiving(hang) as port:
        with pytest.raises(TryLater, match=r"did not answer in 0\.05 seconds"):
            await made("127.0.0.1").post(f"http://127.0.0.1:{port}/", b"", {}, time_limit_seconds=0.05)
        is_over.set()


async def test_a_hanging_look_up_is_left_after_the_time_limit(made):
    async def hang(host):
        await asyncio.Event().wait()

    with pytest.raises(TryLater, match="did not answer"):
        await made(look_up=hang).get(f"https://{HOST}/", time_limit_seconds=0.05)


async def test_a_kept_connection_that_was_closed_is_opened_anew(made):
    bodies = []

    async def answer(request):
        bodies.append(await request.read())
        if len(bodies) == 2:
            request.transport.abort()
        return web.Response()

    async with receiving(answer) as port:
        http, url = made("127.0.0.1"), f"http://127.0.0.1:{port}/"
        assert (await http.post(url, b"1", {})).status == 200
        assert (await http.post(url, b"2", {})).status == 200
    assert bodies == [b"1", b"2", b"2"]


async def test_a_name_without_addresses_is_tried_later(made):
    with pytest.raises(TryLater, match="has no address"):
        await made(look_up=Names([])).get(f"https://{HOST}/")


async def test_trouble_is_told_without_path_and_query_of_the_url(made):
    async def no_such_name(host):
        raise OSError("no such name")

    url = f"https://{HOST}/token-in-path?key=token-in-query"
    for http in (made(look_up=no_such_name), made(look_up=Names(["10.0.0.1"]))):
        with pytest.raises((Refused, TryLater)) as caught:
            await http.get(url)
        assert "token" not in f"{caught.value.reason} {caught.value.detail} {caught.value!r}"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(TryLater, match="cannot be reached") as caught:
            await made("127.0.0.1").get(f"http://127.0.0.1:{closed.getsockname()[1]}/token")
        assert "token" not in f"{caught.value.reason} {caught.value.detail}"


async def test_proxies_and_cookies_of_elsewhere_are_not_used(made, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    cookies = []

    async def answer(request):
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with receiving(answer) as port:
        http = made("127.0.0.1")
        for _ in range(2):
            assert (await http.get(f"http://127.0.0.1:{port}/")).status == 200
    assert cookies == [None, None]


async def test_answers_are_not_decompressed(made):
    async def bomb(request):
        return web.Response(body=b"not gzip at all", headers={"Content-Encoding": "gzip"})

    async with receiving(bomb) as port:
        assert (await made("127.0.0.1").get(f"http://127.0.0.1:{port}/")).body == b"not gzip at all"
