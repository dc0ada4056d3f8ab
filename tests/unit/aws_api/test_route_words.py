import dataclasses

import pytest

from aws_api.admin.route_words import lane_words, notes, paused, resume_command, route_words, troubled, troubles, why
from spool.sending_quota import LaneView, Pause, RouteLimits, RouteView, Trouble
from tests.figures_at_rest import LIMITS, NOW_MS, a_route, figures

SHUT = Trouble("AccountSendingPausedException", "sending is paused", NOW_MS - 60_000, NOW_MS + 5000, is_account=True)
ENDED = {"daily_ended": True, "next_slot_at_ms": NOW_MS + 600_000}


def lanes(**changed: object) -> dict[str, LaneView]:
    return {"express": LaneView(100), "bulk": LaneView(80, 400, 412, **changed)}


@pytest.mark.parametrize(
    ("view", "pauses", "kind", "words"),
    [
        (a_route(), (), "rate", "their turn at 11.09 recipients/s"),
        (a_route(**ENDED), (), "daily quota", "daily quota"),
        (a_route(sent_last_24_hours=40_000), (), "daily quota", "the 80 % of the daily quota that lane bulk may take"),
        (a_route(sent_last_24_hours=39_999), (), "rate", "their turn at 11.09 recipients/s"),
        (a_route(trouble=SHUT, **ENDED), (), "trouble", "SES: AccountSendingPausedException: sending is paused "),
        (a_route(trouble=SHUT), (Pause("all"),), "paused", "the end of a pause: everything, until mailsluice resume"),
        (a_route(), (Pause("lane:bulk"),), "paused", "the end of a pause: lane bulk"),
        (a_route(), (Pause("route:default"),), "paused", "the end of a pause: route default"),
        (a_route(), (Pause("lane:express"), Pause("route:x"), Pause("domain:bulk")), "rate", "their turn"),
    ],
)
def test_the_first_thing_that_keeps_a_lane_is_told(view: RouteView, pauses: tuple[Pause, ...], kind: str, words: str):
    found = why(view, "bulk", pauses)
    assert found.kind == kind
    assert found.words.startswith(words)


def test_the_first_lane_may_take_what_the_second_may_not():
    assert why(a_route(sent_last_24_hours=40_000), "express", ()).kind == "rate"


def test_a_lane_that_waits_for_the_quota_has_its_next_slot_and_its_end():
    view = a_route(lanes=lanes(drained_at_ms=NOW_MS + 11_000_000, paused_senders=1), **ENDED)
    assert lane_words(view, "bulk", ()) == (
        "412 recipients wait for daily quota; next slot 22:23 UTC; drained by 01:17 UTC at this rate; 1 sender paused"
    )


def test_a_lane_whose_senders_are_all_paused_waits_for_that():
    view = a_route(lanes=lanes(drained_at_ms=NOW_MS + 11_000_000, paused_senders=1, is_all_paused=True))
    shop, other = Pause("user:shop", why="a loop"), Pause("user:other")
    assert lane_words(view, "bulk", (shop,)) == (
        "412 recipients wait for the end of a pause: user shop, until mailsluice resume: a loop"
    )
    assert lane_words(view, "bulk", (other, shop)) == (
        "412 recipients wait for the end of a pause: their senders are paused"
    )


def test_a_lane_that_waits_for_its_part_of_the_quota_has_its_next_slot():
    view = a_route(lanes=lanes(next_slot_at_ms=NOW_MS + 600_000), sent_last_24_hours=40_000)
    assert "that lane bulk may take; next slot 22:23 UTC" in lane_words(view, "bulk", ())


def test_one_recipient_is_one():
    assert "; 1 recipient in 24 h" in route_words(a_route(sent_last_24_hours=1), LIMITS)


def test_nothing_is_foretold_of_a_pause():
    view = a_route(lanes=lanes(drained_at_ms=NOW_MS + 11_000_000), **ENDED)
    assert lane_words(view, "bulk", (Pause("all", NOW_MS + 60_000, 0, "why", "me@here"),)) == (
        "412 recipients wait for the end of a pause: everything, until 22:14 UTC, by me@here: why"
    )


@pytest.mark.parametrize(
    ("view", "limits", "words"),
    [
        (a_route(), LIMITS, "13.86 recipients/s (SES says 14/s); 1,204 recipients in 24 h of 50,000 (SES says so)"),
        (a_route(rate=6.93, factor=0.5), LIMITS, "6.93 recipients/s (SES says 14/s, slowed to 50% after throttling); "),
        (a_route(rate=4.95), RouteLimits("default", 5.0), "4.95 recipients/s (the operator's cap 5/s); "),
        (a_route(), RouteLimits("default", 20.0), "13.86 recipients/s (SES says 14/s); "),
        (a_route(max_send_rate=None), LIMITS, "13.86 recipients/s (SES was not asked yet); "),
        (
            a_route(max_send_rate=None, is_fallback=True, quota_error="AccessDenied"),
            LIMITS,
            "13.86 recipients/s (assumed, 14/s: set [relay] max_send_rate to what the account has); ",
        ),
        (a_route(rate=float("inf"), max_send_rate=0.0), LIMITS, "no limit of rate (SES says unlimited); "),
    ],
)
def test_who_told_the_rate_is_told(view: RouteView, limits: RouteLimits, words: str):
    assert route_words(view, limits).startswith(words)


def test_who_told_the_daily_limit_is_told():
    cap = RouteLimits("default", 0.0, 1000.0)
    assert "1,204 recipients in 24 h of 1,000 (the operator's cap)" in route_words(a_route(daily_limit=1000.0), cap)
    assert route_words(a_route(daily_limit=float("inf")), LIMITS).endswith("in 24 h, no daily limit")
    assert route_words(a_route(quota_error="AccessDenied"), LIMITS).endswith("does not tell its limits: AccessDenied")


def test_a_probe_that_is_due_is_the_next_message():
    assert "next probe in 5.00 s" in troubled(SHUT, NOW_MS)
    assert "the next message is the probe" in troubled(SHUT, NOW_MS + 6000)


def test_a_pause_is_told_with_the_command_that_ends_it():
    assert paused(Pause("user:shop"), NOW_MS) == "user shop, until mailsluice resume"
    assert resume_command("user:shop") == "mailsluice resume --user shop"
    assert resume_command("all") == "mailsluice resume"


def test_a_route_that_is_well_needs_no_sentence():
    well = figures(routes=(a_route(),))
    assert (troubles(well), notes(well)) == ((), ())


def test_every_trouble_and_every_note_is_a_sentence():
    odd = figures(
        routes=(
            a_route(trouble=SHUT, lanes=lanes(), is_fallback=True, **ENDED),
            dataclasses.replace(a_route(), name="eu", trouble=dataclasses.replace(SHUT, is_account=False)),
        ),
        pauses=(Pause("all"),),
        draining={"worker-1": NOW_MS},
    )
    assert len(troubles(odd)) == 2
    assert "400 messages wait" in troubles(odd)[0]
    assert len(notes(odd)) == 4
    assert all(one.endswith(".") for one in (*troubles(odd), *notes(odd)))
