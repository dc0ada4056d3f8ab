"""The table of replies."""

import re
from pathlib import Path

import pytest

import smtp_gateway
from smtp_gateway.replies import Reply, several_lines

SOURCES = "".join(
    path.read_text() for path in Path(smtp_gateway.__file__).parent.glob("*.py") if path.name != "replies.py"
)


@pytest.mark.parametrize("reply", Reply)
def test_a_reply_is_well_formed(reply: Reply):
    assert re.fullmatch(rb"[2345]\d\d [\x20-\x7e]{1,500}\r\n", reply.line)
    if reply.code >= 400:
        assert reply.enhanced
    if reply.enhanced:
        assert re.fullmatch(r"[245]\.\d\.\d{1,2}", reply.enhanced)
        assert reply.enhanced[0] == str(reply.code)[0]


@pytest.mark.parametrize("reply", Reply)
def test_every_reply_is_given_somewhere(reply: Reply):
    assert f"Reply.{reply.name}" in SOURCES


def test_no_two_names_are_the_same_reply():
    assert len(Reply.__members__) == len(list(Reply))


def test_no_other_file_writes_a_reply():
    assert not re.findall(r"\"[2345]\d\d[ -][A-Z0-9]", SOURCES.replace('b"334 "', ""))


def test_the_accepted_reply_is_what_clients_of_ses_parse():
    assert Reply.ACCEPTED.line_with(message_id="abc") == b"250 2.0.0 Ok abc\r\n"


def test_trouble_of_our_own_is_always_temporary():
    for reply in (Reply.NO_MEMORY, Reply.STORE_FULL, Reply.STORE_NOT_SAFE, Reply.STORE_SILENT, Reply.FAILED):
        assert reply.code // 100 == 4
        assert not reply.is_clients_fault


def test_several_lines_are_joined_by_hyphens():
    assert several_lines(250, ["a", "b"]) == b"250-a\r\n250 b\r\n"
