import dataclasses

import pytest

from aws_api.admin.filters import ACTS_ON, USUAL_STATES, Filter, fits, is_sender, state_of, states_of
from config.errors import Refused
from spool.records import Message
from spool.sending_quota import Seat
from spool.states import IN_LANE, Place, RecipientState

NOW_MS = 1_700_000_000_000
ALL = frozenset({"due", "parked", "lane", "held", "leased"})

MESSAGE = Message(
    message_id="id-1",
    sender="App+news@Example.com",
    recipients=("a@One.example", "b@two.example"),
    states=(RecipientState.SENT, RecipientState.WAITING),
    place=Place.PARKED,
    accepted_at_ms=NOW_MS - 3_600_000,
    size_bytes=1,
    door="smtp",
    header_message_id="",
    user="shop",
    client_address="",
    helo="",
    is_auto_submitted=False,
    content_ref="",
    rounds=0,
    failures=0,
    crashes=0,
    reason="SES account trouble: X",
    until_ms=0,
    seat=Seat("eu", "bulk", "shop"),
)


@pytest.mark.parametrize(
    ("chosen", "is_fitting"),
    [
        (Filter(sender="app+news@example.com"), True),
        (Filter(sender="EXAMPLE.com"), True),
        (Filter(sender="other@example.com"), False),
        (Filter(sender="<>"), False),
        (Filter(recipient_domain="two.EXAMPLE"), True),
        (Filter(recipient_domain="@two.example"), True),
        (Filter(recipient_domain="one.example"), False),  # that recipient has its mail
        (Filter(older_than_seconds=3599), True),
        (Filter(older_than_seconds=3601), False),
        (Filter(newer_than_seconds=3601), True),
        (Filter(newer_than_seconds=3599), False),
        (Filter(reason="account TROUBLE"), True),
        (Filter(reason="throttled"), False),
        (Filter(user="shop"), True),
        (Filter(user="app+news@example.com"), False),
        (Filter(lane="bulk"), True),
        (Filter(lane="express"), False),
        (Filter(route="eu"), True),
        (Filter(route="us"), False),
        (Filter(lane="bulk", reason="throttled"), False),
    ],
)
def test_every_member_that_is_given_must_fit(*, chosen: Filter, is_fitting: bool):
    assert fits(chosen, ALL, MESSAGE, NOW_MS) is is_fitting


def test_mail_without_a_user_is_found_by_its_sender_or_its_key():
    message = dataclasses.replace(MESSAGE, user="", seat=Seat("eu", "bulk", "app@example.com"))
    assert fits(Filter(user="app@example.com"), ALL, message, NOW_MS)
    assert fits(Filter(user="app+news@example.com"), ALL, message, NOW_MS)
    assert fits(Filter(user="App+x@Example.com"), ALL, message, NOW_MS)
    assert not fits(Filter(user="shop"), ALL, message, NOW_MS)


def test_the_lane_is_a_state_apart_from_parked():
    in_lane = dataclasses.replace(MESSAGE, reason=IN_LANE)
    assert (state_of(MESSAGE), state_of(in_lane)) == ("parked", "lane")
    assert not fits(Filter(lane="bulk"), frozenset({"parked"}), in_lane, NOW_MS)
    assert state_of(dataclasses.replace(MESSAGE, place=Place.DONE)) is None
    for place in (Place.DUE, Place.LEASED, Place.HELD):
        assert state_of(dataclasses.replace(MESSAGE, place=place)) == place.value


def test_the_null_sender_can_be_chosen():
    assert is_sender("<>", "")
    assert is_sender("", "")
    assert not is_sender("<>", "a@b")
    assert not is_sender("b", "")


def test_an_act_looks_where_it_can_do_something():
    chosen = Filter(lane="bulk")
    for action, states in USUAL_STATES.items():
        assert states <= ACTS_ON[action]
        assert states_of(action, chosen) == states
    assert states_of("release", Filter(states=("parked",))) == {"parked"}
    with pytest.raises(Refused, match="retry does nothing about held; allowed: parked"):
        states_of("retry", Filter(states=("held", "parked")))


def test_a_filter_of_nothing_is_refused():
    with pytest.raises(Refused, match="at least one member"):
        states_of("cancel", Filter())


def test_what_was_given_is_told():
    assert Filter(states=("due",), sender="").given() == {"states": ["due"], "sender": ""}


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        *(
            (Filter(**{name: ""}), f"{name}: must not be empty")
            for name in ("sender", "reason", "user", "lane", "route")
        ),
        (Filter(recipient_domain=""), "recipient_domain: must not be empty"),
        (Filter(sender="a@b@c"), "sender: must be an address"),
        (Filter(sender="*.example"), "sender: must be an address"),
        (Filter(sender="@example.com"), "sender: must be an address"),
        (Filter(recipient_domain="*.example"), "recipient_domain: must be a domain"),
        (Filter(recipient_domain="a@b.example"), "recipient_domain: must be a domain"),
        (Filter(newer_than_seconds=3600, older_than_seconds=3600), "older_than_seconds: no message"),
    ],
)
def test_what_no_message_can_fit_is_refused(chosen: Filter, words: str):
    with pytest.raises(Refused, match=words):
        states_of("cancel", chosen)


@pytest.mark.parametrize(
    "sender", ["<>", "a@b.example", "<a@b.example>", "b.example", '"a@b"@c.example', "a*@b.example"]
)
def test_every_sender_can_be_chosen(sender: str):
    assert states_of("hold", Filter(sender=sender, older_than_seconds=60, newer_than_seconds=61))
