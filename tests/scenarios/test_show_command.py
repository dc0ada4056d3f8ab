"""`mailsluice show` on a real spool."""

import json

import pytest

from config.settings import Settings
from mailsluice import show
from spool.records import Attempt
from spool.states import RecipientState
from spool.store import Spool
from tests.spooled import accept, send, settings_of, settle, with_spool


@pytest.fixture
def settings(redis_url, tmp_path) -> Settings:
    return settings_of(redis_url, tmp_path)


def test_a_message_is_found_by_every_id_it_has(settings, capsys):
    async def fill(spool: Spool) -> str:
        message_id = await accept(spool, 2, header_message_id="<one@example.com>")
        await send(spool, message_id, "0100ses-id-000000")
        return message_id

    message_id = with_spool(settings, fill)
    for any_id in (
        message_id,
        "<one@example.com>",
        "one@example.com",
        "0100ses-id-000000",
        "<0100ses-id-000000@email.amazonses.com>",
    ):
        assert show.run(settings, any_id, as_json=True) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["message_id"] == message_id
        assert found["state"] == "done"
        assert [one["state"] for one in found["recipients"]] == ["sent", "sent"]
        assert {one["ses_message_id"] for one in found["recipients"]} == {"0100ses-id-000000"}
        assert found["batches"][0]["recipients"] == ["user0@example.net", "user1@example.net"]
    assert show.run(settings, message_id) == 0
    text = capsys.readouterr().out
    assert text.startswith(message_id)
    assert "2 sent, batch 1: SES id 0100ses-id-000000" in text


def test_a_parked_message_tells_why_and_until_when(settings, capsys):
    async def fill(spool: Spool) -> str:
        message_id = await accept(spool, 3, client_address="192.0.2.7", helo="app", user="shop")
        first = Attempt(1, (0, 1, 2), 1_700_000_000_000, "worker-1", "throttled", 1_700_000_000_100)
        states = (RecipientState.WAITING,) * 3
        await settle(
            spool, message_id, to="parked", after_seconds=90, reason="throttled", attempts=(first,), states=states
        )
        return message_id

    message_id = with_spool(settings, fill)
    assert show.run(settings, message_id) == 0
    text = capsys.readouterr().out
    assert "parked: throttled; tried again at" in text
    assert "3 waiting, batch 1" in text
    assert show.run(settings, message_id, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["reason"]) == ("parked", "throttled")
    assert (found["client_address"], found["helo"], found["user"]) == ("192.0.2.7", "app", "shop")
    assert found["until"] > found["accepted_at"]


@pytest.mark.parametrize("any_id", ["0000018bcfe56800-none-000000", "<a@b>", "", "../x", "\x1b[2J", "a" * 5000])
def test_an_unknown_id_is_one_line_and_exit_code_1(settings, capsys, any_id):
    assert show.run(settings, any_id) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "forgotten after 1 d" in said.err
    assert "\x1b" not in said.err


def test_without_a_server_there_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert show.run(settings_of("redis://user:secret@127.0.0.1:1", tmp_path), "x") == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "127.0.0.1:1" in said.err
    assert "secret" not in said.err
