"""Who is let in by the door, and what it says about a file of keys that cannot be used."""

import pytest
import structlog
from aiohttp.test_utils import make_mocked_request

from aws_api.wire.access_keys import AccessKeyFile, WrongKey
from aws_api.wire.door import Access
from aws_api.wire.failures import NotAdmitted
from aws_api.wire.services import Service


def test_a_trouble_of_the_file_of_keys_is_logged_once(tmp_path):
    access = Access(AccessKeyFile(tmp_path / "keys.json"), trusts_loopback=False)
    with structlog.testing.capture_logs() as logged:
        for reason in ("others can read it", "others can read it", "belongs to another user"):
            access.log_unusable(WrongKey(reason))
    assert [(line["event"], line["reason"]) for line in logged] == [
        ("api.keys_unusable", "others can read it"),
        ("api.keys_unusable", "belongs to another user"),
    ]


async def test_without_trust_a_request_needs_a_signature(tmp_path):
    access = Access(AccessKeyFile(tmp_path / "keys.json"), trusts_loopback=False)
    request = make_mocked_request("GET", "/messages/x", headers={"Host": "localhost"})
    with pytest.raises(NotAdmitted):
        access.claim(request, Service("workmailmessageflow"))
