from types import SimpleNamespace

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from aws_api.wire.admission import PASSED_ON, is_of_this_machine


def is_trusted(
    peer: object, *hosts: str, version: HttpVersion = HttpVersion11, headers: dict[str, str] | None = None
) -> bool:
    transport = SimpleNamespace(get_extra_info=lambda name, default=None: peer if name == "peername" else default)
    sent = CIMultiDict(headers or {})
    for host in hosts or ("127.0.0.1:2580",):
        sent.add("Host", host)
    return is_of_this_machine(make_mocked_request("GET", "/", headers=sent, version=version, transport=transport))


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("127.0.0.1", 4000), True),
        (("127.8.9.10", 4000), True),
        (("::1", 4000, 0, 0), True),
        (("::ffff:127.0.0.1", 4000, 0, 0), True),
        (("::ffff:10.0.0.1", 4000, 0, 0), False),
        (("10.0.0.1", 4000), False),
        (("172.17.0.1", 4000), False),
        (("fe80::1%lo", 4000, 0, 1), False),
        (("0.0.0.0", 4000), False),
        (None, False),
        ("", False),
    ],
)
def test_the_peer_must_be_a_loopback_address(peer, expected):
    assert is_trusted(peer) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost:2580", True),
        ("LocalHost", True),
        ("mail.localhost:1", True),
        ("[::1]:2580", True),
        ("evil.example:2580", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_the_name_that_was_asked_must_be_one_of_this_machine(host, expected):
    assert is_trusted(("127.0.0.1", 1), host) is expected


@pytest.mark.parametrize("name", PASSED_ON)
def test_a_request_that_somebody_passed_on_is_a_strangers(name):
    assert not is_trusted(("127.0.0.1", 1), headers={name.upper(): "127.0.0.1"})
    assert not is_trusted(("127.0.0.1", 1), headers={name: ""})


def test_a_proxy_that_speaks_as_nginx_does_by_itself_is_a_stranger():
    assert is_trusted(("127.0.0.1", 1), "127.0.0.1:2580")
    assert not is_trusted(("127.0.0.1", 1), "127.0.0.1:2580", version=HttpVersion10)


def test_two_names_are_one_too_many():
    assert not is_trusted(("127.0.0.1", 1), "localhost", "evil.example")
    assert not is_trusted(("127.0.0.1", 1), "localhost", "localhost")


@pytest.mark.parametrize(
    ("site", "expected"),
    [("none", True), ("same-origin", True), ("same-site", False), ("cross-site", False), ("", False), ("new", False)],
)
def test_a_request_that_a_page_of_another_origin_began_is_a_strangers(site, expected):
    assert is_trusted(("127.0.0.1", 1), headers={"Sec-Fetch-Site": site}) is expected
