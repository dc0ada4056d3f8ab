"""What a sender said about a message, in the calls of its batches and in its events."""

import dataclasses

import pytest

from sending_events.records import EventRecord
from spool.send_parameters import SendParameters
from spool.ses_headers import MAX_TAGS
from spool.verdicts import Decision, Part, Verdict
from tests.unit.worker.stand import AnsweringSes, message, stand, work
from worker.relay.outcomes import Accepted, Rejected, Unavailable
from worker.relay.relay import relay
from worker.steps.finish import finish
from worker.work import Stop

ARNS = {"source_arn": "arn:aws:ses:a:1:identity/a", "from_arn": "arn:b", "return_path_arn": "arn:c"}
HEADERS = b"X-SES-MESSAGE-TAGS: in=header\r\nX-SES-CONFIGURATION-SET: header\r\nSubject: s\r\n\r\nbody\r\n"


def said(**fields) -> SendParameters:
    return SendParameters(**{"operation": "SendSmtpEmail", **fields})


async def called(parameters: SendParameters, part: Part | None = None, **relay_settings):
    """The call of a message with these parameters."""
    ses = AnsweringSes(Accepted("ses-1"))
    tools = stand(ses, relay=relay_settings)
    verdict = Verdict("v", parts=(dataclasses.replace(part, recipients=(0,)),)) if part else None
    doing = dataclasses.replace(work(tools, message(1, parameters=parameters, verdict=verdict)), content=HEADERS)
    await relay(doing, tools)
    [call] = ses.calls
    return call


async def test_tags_arns_and_the_name_of_the_set_go_with_the_call():
    call = await called(said(configuration_set="news", tags=(("a", "1"), ("b", "2")), **ARNS))
    assert {name: value for name, value in call.tags.items() if name != "sluice-batch"} == {
        "a": "1", "b": "2", "sluice-set": "news"
    }  # fmt: skip
    assert call.tags["sluice-batch"].endswith("-000000.1")
    assert {name: getattr(call, name) for name in ARNS} == ARNS
    assert call.content == b"Subject: s\r\n\r\nbody\r\n"


@pytest.mark.parametrize(("operation", "tags"), [("SendSmtpEmail", {}), ("", {"in": "header"})])
async def test_headers_count_only_where_no_door_has_read_them(operation: str, tags: dict[str, str]):
    call = await called(said(operation=operation))
    assert {name: value for name, value in call.tags.items() if name != "sluice-batch"} == tags


@pytest.mark.parametrize(
    ("parameters", "part", "ses_set"),
    [
        (said(), None, "route"),
        (said(configuration_set="unmapped"), None, "route"),
        (said(configuration_set="ours"), None, "theirs"),
        (said(configuration_set="unmapped"), Part((), configuration_set="ours"), "theirs"),
        (said(configuration_set="ours"), Part((), configuration_set="unmapped"), "route"),
    ],
)
async def test_the_call_carries_what_ours_is_mapped_to_else_the_routes_own(parameters, part, ses_set):
    call = await called(parameters, part, ses_configuration_set="route", configuration_sets={"ours": "theirs"})
    assert call.configuration_set == ses_set
    ours = part.configuration_set if part else parameters.configuration_set
    assert call.tags.get("sluice-set", "") == ours


async def test_ours_and_those_of_rules_are_kept_of_too_many_tags():
    many = tuple((f"t{n}", "1") for n in range(MAX_TAGS))
    call = await called(said(configuration_set="news", tags=many), Part((), tags={"r": "1", "t0": "rule"}))
    assert len(call.tags) == MAX_TAGS
    assert (call.tags["r"], call.tags["t0"], call.tags["sluice-set"]) == ("1", "rule", "news")
    call = await called(said(tags=(("sluice-batch", "forged"), ("sluice-set", "forged")), configuration_set="news"))
    assert call.tags["sluice-set"] == "news"
    assert call.tags["sluice-batch"] != "forged"


async def test_our_own_tags_are_nobody_elses():
    forged = (("sluice-batch", "forged"), ("sluice-set", "forged"), ("a", "1"))
    call = await called(said(tags=forged), Part((), tags={"sluice-set": "rule", "sluice-batch": "rule"}))
    assert set(call.tags) == {"sluice-batch", "a"}
    assert call.tags["sluice-batch"].endswith("-000000.1")


async def sets_told(ses: AnsweringSes, of, **settings) -> dict[str, list[tuple[str, tuple[int, ...] | None]]]:
    """kind → (set, recipients) of the events of a relay and its end."""
    tools = stand(ses, **settings)
    ended = await relay(work(tools, of), tools)
    if not isinstance(ended, Stop):
        await finish(ended.work, tools)
    told: dict[str, list[tuple[str, tuple[int, ...] | None]]] = {}
    for settlement in tools.spool.settlements:
        for raw in settlement.events:
            event = EventRecord.decode(raw)
            told.setdefault(event.kind, []).append((event.configuration_set, event.recipients))
    return told


async def test_each_event_names_the_set_of_its_recipients():
    parts = (Part((1,), configuration_set="rule"), Part((2,), lane="bulk"))
    of = message(
        3,
        verdict=Verdict("v", (Decision("DEFAULT", (0, 1, 2), "r"),), parts=parts),
        parameters=said(configuration_set="own"),
    )
    ses = AnsweringSes(Accepted("1"), Rejected("MessageRejected", "no"), Accepted("2"))
    told = await sets_told(ses, of)
    assert sorted(told["send"]) == [("own", (0,)), ("own", (2,))]
    assert told["reject"] == [("rule", (1,))]


async def test_what_happens_to_recipients_of_several_sets_is_told_once_for_each():
    parts = (Part((1,), configuration_set="rule"),)
    of = message(2, verdict=Verdict("v", (Decision("DEFAULT", (0, 1), "r"),), parts=parts))
    told = await sets_told(AnsweringSes(Unavailable("HTTP503", "x")), of)
    assert sorted(told["deferred"]) == [("", (0,)), ("rule", (1,))]
