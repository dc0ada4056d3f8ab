"""How findings are told, and what is said when the proof fails."""

import json
from dataclasses import MISSING
from typing import Any

import pytest

from mailsluice.doctor_proof import EVENTS, Proof, flaw_of, remedy_of
from mailsluice.doctor_report import as_json, exit_code_of, fail, line_of, ok, summary_of, warn
from spool.records import Message
from spool.states import Place, RecipientState


def message_with(**changes: Any) -> Message:
    """One that waits, but for the changes."""
    fields = {name: None for name, one in Message.__dataclass_fields__.items() if one.default is MISSING}
    told = {"recipients": ("a@example.com",), "states": (RecipientState.WAITING,), "place": Place.DUE, "reason": ""}
    return Message(**{**fields, "message_id": "m", **told, **changes})


GOOD, DOUBTFUL, BAD = ok("store", "keeps"), warn("account", "sandbox", "ask"), fail("queue", "gone", "make it")


def test_only_what_failed_is_an_exit_code() -> None:
    assert [exit_code_of(found) for found in ([], [GOOD, DOUBTFUL], [GOOD, BAD])] == [0, 0, 1]


def test_the_summary_counts() -> None:
    assert summary_of([GOOD]) == "Everything is as it should be."
    assert summary_of([GOOD, DOUBTFUL, BAD]) == "1 failed, 1 to look at; the rest is as it should be."


def test_the_remedy_stands_below_and_nobody_forges_a_line() -> None:
    head, remedy = line_of(BAD).splitlines()
    assert head.split() == ["fail", "queue", "gone"]
    assert remedy.strip() == "→ make it"
    assert len(line_of(ok("topic", "a\nok    queue")).splitlines()) == 1


def test_programs_get_all_of_it() -> None:
    told = json.loads(as_json([GOOD, BAD], ["[relay]"], None))
    assert told["is_well"] is False
    assert told["findings"][1] == {"level": "fail", "about": "queue", "text": "gone", "remedy": "make it"}
    assert (told["settings_to_write"], told["proven_seconds"]) == (["[relay]"], None)


def test_a_proof_is_complete_with_all_four_events() -> None:
    proof = Proof(seen=dict.fromkeys(EVENTS[1:], 1.0))
    assert proof.missing == ["Send"]
    proof.seen["Send"] = 2.0
    assert proof.is_complete


def test_where_to_look_depends_on_what_is_missing() -> None:
    assert "mailsluice feedback" in remedy_of(EVENTS)
    assert "Bounce" in remedy_of(["Bounce"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"states": (RecipientState.SENT,), "place": Place.DONE}, ""),
        ({"states": (RecipientState.REJECTED,), "place": Place.DONE}, "was not sent: rejected"),
        ({"states": (RecipientState.WAITING,), "place": Place.HELD, "reason": "asked"}, "was not sent: waiting asked"),
        ({"states": (RecipientState.WAITING,), "place": Place.PARKED, "reason": "quota"}, "still waits for quota"),
    ],
)
def test_a_mail_that_ses_never_got_is_told_as_that(changes: dict[str, object], words: str) -> None:
    message = message_with(**changes)
    assert words in flaw_of(message)
    assert bool(flaw_of(message)) == bool(words)
