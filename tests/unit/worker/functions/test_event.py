"""The event is WorkMail's, key by key."""

from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.functions.event import MAX_EVENT_BYTES, event_of

FIXTURES = Path(__file__).parents[3] / "contract" / "fixtures"


@dataclass(frozen=True)
class FakeFacts:
    subject: str = "Hello From Amazon WorkMail!"
    from_addresses: tuple[str, ...] = ("from@example.com",)
    sender_addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class FakeMessage:
    message_id: str = "00000000-0000-0000-0000-000000000000"
    sender: str = "envelope@example.com"


def event(facts=None, recipients=("r1@example.com",), message=None, direction="INBOUND"):
    payload = event_of(
        facts or FakeFacts(), message or FakeMessage(), recipients, direction=direction, invocation_id="0" * 32
    )
    assert len(payload) <= MAX_EVENT_BYTES
    return orjson.loads(payload)


def test_the_documented_event_comes_out_key_by_key():
    documented = (FIXTURES / "workmail" / "run_lambda_event.json").read_bytes()
    ours = event(
        FakeFacts(sender_addresses=("sender@example.com",)), ("recipient1@example.com", "recipient2@example.com")
    )
    assert orjson.dumps(ours, option=orjson.OPT_INDENT_2) == documented.strip()


SAMPLES = [*(FIXTURES / "workmail").glob("*work*mail*"), *(FIXTURES / "workmail_templates").glob("*.event.json")]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_what_functions_are_tested_with_is_in_our_event_too(sample):
    def shape(value):
        if isinstance(value, dict):
            return {key: shape(one) for key, one in value.items()}
        return [shape(value[0])] if isinstance(value, list) else type(value)

    ours = shape(event(FakeFacts(sender_addresses=("sender@example.com",))))
    theirs = shape(orjson.loads(sample.read_bytes()))
    assert theirs.items() <= ours.items()


@pytest.mark.parametrize("sender", [(), ("from@example.com",), ("FROM@example.com",)])
def test_a_sender_stands_there_only_when_somebody_sends_for_the_owner(sender):
    assert "sender" not in event(FakeFacts(sender_addresses=sender))


def test_the_envelope_sender_stands_in_for_a_missing_from():
    assert event(FakeFacts(from_addresses=()))["envelope"]["mailFrom"] == {"address": "envelope@example.com"}
    assert event(FakeFacts(from_addresses=("x" * 400,)))["envelope"]["mailFrom"] == {"address": "envelope@example.com"}
    nobody = event(FakeFacts(from_addresses=()), message=FakeMessage(sender=""))
    assert nobody["envelope"]["mailFrom"] == {"address": ""}


def test_a_sender_without_a_from_sends_for_the_owner_of_the_envelope():
    told = event(FakeFacts(from_addresses=(), sender_addresses=("sender@example.com",)))
    assert (told["envelope"]["mailFrom"]["address"], told["sender"]["address"]) == (
        "envelope@example.com",
        "sender@example.com",
    )


def test_a_subject_is_cut_at_256_characters_and_that_is_no_truncation():
    told = event(FakeFacts(subject="ü" * 300))
    assert (told["subject"], told["truncated"]) == ("ü" * 256, False)


def test_recipients_are_told_once_whatever_their_case():
    told = event(recipients=("a@example.com", "B@example.com", "A@Example.com", "b@example.com"))
    assert told["envelope"]["recipients"] == [{"address": "a@example.com"}, {"address": "B@example.com"}]


def test_a_list_beyond_128_kb_is_cut_and_says_so():
    recipients = [f"{number:0>60}@{'d' * 200}.example" for number in range(1000)]
    told = event(recipients=recipients)
    kept = [one["address"] for one in told["envelope"]["recipients"]]
    assert told["truncated"] is True
    assert 0 < len(kept) < 1000
    assert kept == recipients[: len(kept)]
    assert len(orjson.dumps(told)) + len(orjson.dumps(recipients[len(kept)])) + 20 > MAX_EVENT_BYTES


def test_direction_and_ids_are_told():
    told = event(message=FakeMessage(message_id="abc-1"), direction="OUTBOUND")
    assert (told["messageId"], told["invocationId"], told["flowDirection"]) == ("abc-1", "0" * 32, "OUTBOUND")


@given(
    st.text(),
    st.lists(st.text(), max_size=3),
    st.lists(st.text(), max_size=3),
    st.lists(st.text(max_size=3000), max_size=100),
)
def test_any_header_gives_an_event_within_the_limit(subject, owners, senders, recipients):
    facts = FakeFacts(f"{subject}\ud800", tuple(owners), tuple(senders))
    assert event(facts, recipients)["truncated"] in {True, False}
