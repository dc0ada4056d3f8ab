"""What `mailsluice show` and its JSON tell of rules and functions."""

import dataclasses

from aws_api.admin.story import described
from mailsluice.show import told
from spool.records import Message
from spool.states import Place, RecipientState
from spool.verdicts import Applied, Decision, FunctionCall, Part, Verdict
from tests.unit.mailsluice.test_show import MESSAGE, NOW

WAITING, DROPPED, REJECTED = RecipientState.WAITING, RecipientState.DROPPED, RecipientState.REJECTED
CALL = FunctionCall(
    rule="disclaimer",
    function="file:/rules/disclaimer.py:handler",
    mode="sync",
    invocation_id="0" * 32,
    recipients=(0,),
    parts=(Part((0,)),),
    tries=2,
    first_at_ms=NOW - 20_000,
    next_at_ms=NOW + 10_000,
    error="the function raised ValueError",
    timeout_minutes=5,
)
NOTHING_YET = dataclasses.replace(MESSAGE, attempts=(), told=frozenset(), place=Place.PARKED, states=(WAITING,) * 3)


def judged(verdict: Verdict, states: tuple[RecipientState, ...] = (WAITING,) * 3, **changed: object) -> Message:
    return dataclasses.replace(NOTHING_YET.judged(verdict), states=states, **changed)


def recipients(message: Message) -> list[dict[str, object]]:
    return described(message)["recipients"]


def test_who_was_dropped_or_bounced_is_told_with_the_rule_and_its_reason():
    verdict = Verdict(
        "1f2e3d4c5b6a",
        decisions=(
            Decision("DROP", (0,), "spam", "Subject CONTAINS casino"),
            Decision("BOUNCE", (1,), "closed", "recipient b@example.net", "This mailbox is closed."),
            Decision("DEFAULT", (2,)),
        ),
        parts=(Part((2,)),),
    )
    message = judged(verdict, (DROPPED, REJECTED, WAITING))
    dropped, bounced, ordinary = recipients(message)
    assert (dropped["action"], dropped["rule"], dropped["because"]) == ("DROP", "spam", "Subject CONTAINS casino")
    assert dropped["reason"] == "dropped by rule spam"
    assert (bounced["action"], bounced["reason"]) == ("BOUNCE", "This mailbox is closed.")
    assert (ordinary["action"], ordinary["rule"], ordinary["reason"]) == ("DEFAULT", "", "")
    assert described(message)["rules_version"] == "1f2e3d4c5b6a"
    text = told(message, NOW)
    assert "rules       version 1f2e3d4c5b6a" in text
    assert "DROP by rule spam: Subject CONTAINS casino" in text
    assert "This mailbox is closed." in text


def test_a_message_that_was_given_up_still_tells_whom_a_rule_had_dropped():
    verdict = Verdict("v", (Decision("DROP", (0,), "spam"), Decision("DEFAULT", (1, 2))), parts=(Part((1, 2)),))
    message = judged(verdict, (DROPPED,) * 3, place=Place.DONE, reason="dropped by the operator")
    reasons = [one["reason"] for one in recipients(message)]
    assert reasons == ["dropped by rule spam", "dropped by the operator", "dropped by the operator"]


def test_a_function_that_is_waited_for_is_told_with_its_try_its_time_and_its_error():
    verdict = Verdict("v", (Decision("DEFAULT", (1, 2)),), parts=(Part((1, 2)),), calls=(CALL,))
    message = judged(verdict, reason="waits for a function: slow")
    words = (
        "waits for function file:/rules/disclaimer.py:handler, try 3, next at 2023-11-14 22:13:30 UTC (in 10 s), "
        "last error: the function raised ValueError"
    )
    assert words in told(message, NOW)
    waiting, other, _ = recipients(message)
    assert (waiting["rule"], waiting["action"]) == ("disclaimer", "")
    assert waiting["waits_for_function"] == "file:/rules/disclaimer.py:handler"
    assert other["waits_for_function"] == ""
    (call,) = described(message)["function_calls"]
    assert (call["state"], call["tries"], call["next_at"]) == ("waits", 2, "2023-11-14T22:13:30.000Z")
    assert (call["recipients"], call["fallback"]) == (["a@example.net"], "DEFAULT")


def test_a_function_that_is_being_asked_is_told_as_that():
    verdict = Verdict("v", (Decision("DEFAULT", (1, 2)),), parts=(Part((1, 2)),), calls=(CALL,))
    assert "try 3, asked now" in told(judged(verdict, place=Place.LEASED), NOW)


def test_a_message_that_was_given_up_waits_for_no_function():
    verdict = Verdict("v", (Decision("DEFAULT", (1, 2)),), parts=(Part((1, 2)),), calls=(CALL,))
    message = judged(verdict, (DROPPED,) * 3, place=Place.DONE, reason="dropped by the operator")
    text = told(message, NOW)
    assert "waits" not in text
    assert "is not asked any more, after 2 tries" in text
    assert recipients(message)[0]["waits_for_function"] == ""
    assert recipients(message)[0]["reason"] == "dropped by the operator"
    assert described(message)["function_calls"][0]["next_at"] is None


def test_calls_that_ended_tell_how():
    calls = (
        dataclasses.replace(CALL, state="answered", tries=1, error=""),
        dataclasses.replace(CALL, rule="other", state="failed", tries=7, fallback="BOUNCE"),
        dataclasses.replace(CALL, rule="copy", mode="async", state="failed", tries=3, error="HTTP 500"),
    )
    message = judged(
        Verdict("v", (Decision("DEFAULT", (0, 1, 2), "disclaimer"),), parts=(Part((0, 1, 2)),), calls=calls)
    )
    text = told(message, NOW)
    assert "answered after 1 try" in text
    assert "given up after 7 tries, last error: the function raised ValueError; fallback BOUNCE" in text
    assert "given up after 3 tries, last error: HTTP 500\n" in f"{text}\n"
    assert [one["next_at"] for one in described(message)["function_calls"]] == [None] * 3


def test_parts_tell_how_they_go_and_no_values_of_headers():
    part = Part(
        (0, 1),
        lane="bulk",
        route="eu",
        configuration_set="tracked",
        tags={"team": "a"},
        headers=(("X-Team", "secret value"),),
        content_ref="file:updated",
        content_bytes=10,
        archives=("all",),
    )
    message = judged(Verdict("v", (Decision("DEFAULT", (0, 1, 2)),), parts=(part, Part((2,), "INBOUND"))))
    text = told(message, NOW)
    assert (
        "2 recipients, OUTBOUND: lane bulk, route eu, configuration set tracked, tags team=a, headers X-Team, "
        "archives all, content updated by a function" in text
    )
    assert "1 recipient, INBOUND: content as accepted" in text
    assert "secret value" not in text
    first, second = described(message)["parts"]
    assert first == {
        "recipients": ["a@example.net", "b@example.net"],
        "direction": "OUTBOUND",
        "lane": "bulk",
        "route": "eu",
        "configuration_set": "tracked",
        "tags": {"team": "a"},
        "headers": ["X-Team"],
        "archives": ["all"],
        "is_updated": True,
    }
    assert (second["direction"], second["is_updated"]) == ("INBOUND", False)


def test_replaced_and_added_recipients_tell_the_address_of_the_envelope():
    verdict = Verdict(
        "v",
        (Decision("DEFAULT", (0, 1, 2, 3), "move"),),
        (Applied("move", (0,), "recipient a@example.net", "goes to new@example.net"),),
        parts=(Part((0, 1, 2, 3)),),
        added=("copy@example.net",),
        replaced={0: "new@example.net"},
    )
    message = dataclasses.replace(NOTHING_YET.judged(verdict))
    found = recipients(message)
    assert [(one["address"], one["envelope_address"], one["is_added"]) for one in found] == [
        ("new@example.net", "a@example.net", False),
        ("b@example.net", "b@example.net", False),
        ("c@example.net", "c@example.net", False),
        ("copy@example.net", "", True),
    ]
    text = told(message, NOW)
    assert "new@example.net (in place of a@example.net)" in text
    assert "copy@example.net (added)" in text
    assert "move: goes to new@example.net for 1 recipient (recipient a@example.net)" in text
    assert described(message)["rules"][0] == {
        "rule": "move",
        "actions": "goes to new@example.net",
        "recipients": ["new@example.net"],
        "because": "recipient a@example.net",
    }


def test_words_of_rules_cannot_control_a_terminal():
    verdict = Verdict(
        "v",
        (Decision("DROP", (0,), "spam", "Subject CONTAINS \x1b[2J"), Decision("DEFAULT", (1, 2))),
        (Applied("x", (1,), "\x1b", "\x07"),),
        (Part((1, 2), headers=(("X-\x1b", "v"),)),),
        (dataclasses.replace(CALL, error="\x1b[31m", state="failed"),),
    )
    text = told(judged(verdict, (DROPPED, WAITING, WAITING)), NOW)
    assert "\x1b" not in text
    assert "\x07" not in text


def test_what_may_be_secret_in_the_url_of_a_function_is_not_shown():
    call = dataclasses.replace(CALL, function="https://me:secret@example.com/run?key=hidden")
    applied = (Applied("disclaimer", (0,), "", f"runs {call.function} (sync)"),)
    message = judged(Verdict("v", (Decision("DEFAULT", (1, 2)),), applied, (Part((1, 2)),), (call,)))
    text = told(message, NOW)
    assert "runs https://***@example.com/run?… (sync)" in text
    assert "for function https://***@example.com/run?…" in text
    assert "secret" not in text + str(described(message))
    assert "hidden" not in text + str(described(message))
