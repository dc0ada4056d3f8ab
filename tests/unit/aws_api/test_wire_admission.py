from types import SimpleNamespace

import pytest
from aiohttp.test_utils import make_mocked_request

from aws_api.wire.admission import PASSED_ON, is_of_this_machine


def is_trusted(peer: object, host: str = "127.0.0.1:2580", **headers: str) -> bool:
    transport = SimpleNamespace(get_extra_info=lambda name, default=None: peer if name == "peername" else default)
    return is_of_this_machine(make_mocked_request("GET", "/", headers={"Host": host, **headers}, transport=transport))


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
    assert not is_trusted(("127.0.0.1", 1), **{name.upper(): "127.0.0.1"})
    assert not is_trusted(("127.0.0.1", 1), **{name: ""})
