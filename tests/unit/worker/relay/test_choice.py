"""The seat of a message: lane, route, and whose turn it is."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Settings
from spool.sending_quota import Seat
from spool.verdicts import Part, Verdict
from tests.unit.worker.stand import message
from worker.relay.choice import (
    domain_fit,
    fairness_key,
    has_other_route,
    header_from_domain,
    lane_header,
    routes_for,
    seat_of,
)


def everything_open(_: str) -> bool:
    return True


def settings(**sections) -> Settings:
    return Settings.model_validate(sections)


def chosen(head: bytes = b"", *, is_open=everything_open, user="", sections=None, **fields) -> Seat | None:
    return seat_of(message(user=user, **fields), head, settings(**(sections or {})), is_open)


# -- lanes


def test_without_settings_mail_takes_the_default_route_in_the_default_lane():
    assert chosen(b"From: Ann <ann@Example.com>\r\n") == Seat(
        "default", "express", "app@example.com", 1.0, "example.com"
    )


@pytest.mark.parametrize(
    ("head", "lane"),
    [
        (b"X-Sluice-Lane: bulk\r\n", "bulk"),
        (b"x-sluice-LANE :\r\n  Bulk \r\nTo: x\r\n", "bulk"),
        (b"X-Sluice-Lane: bulk\nX-Sluice-Lane: express\n", "bulk"),
        (b"X-Sluice-Lane: no-such-lane\r\n", "express"),
        (b"X-Sluice-Lane:\r\n", "express"),
        (b"Subject: X-Sluice-Lane: bulk\r\n", "express"),
        (b"Subject: a\r\n X-Sluice-Lane: bulk\r\n", "express"),
        (b"X-Sluice-Lane-Not: bulk\r\n", "express"),
        (b"X-Sluice-Lane: b\xffulk\r\n", "express"),
    ],
)
def test_the_header_chooses_the_lane_and_an_unknown_name_means_the_default(head, lane):
    assert chosen(head).lane == lane


def test_an_unknown_lane_in_the_header_does_not_fall_back_to_that_of_the_user():
    lanes = {"by_user": {"news": "bulk"}}
    assert chosen(b"X-Sluice-Lane: fast\r\n", user="news", sections={"lanes": lanes}).lane == "express"


@pytest.mark.parametrize(
    ("user", "recipients", "head", "lane"),
    [
        ("news", 1, b"", "bulk"),
        ("news", 1, b"X-Sluice-Lane: express\r\n", "express"),
        ("other", 10, b"", "express"),
        ("other", 11, b"", "bulk"),
        ("boss", 11, b"", "express"),
    ],
)
def test_the_header_goes_before_the_user_and_the_user_before_the_size(user, recipients, head, lane):
    lanes = {"by_user": {"news": "bulk", "boss": "express"}, "large_recipients": 10}
    assert chosen(head, user=user, recipients=recipients, sections={"lanes": lanes}).lane == lane


def test_the_header_can_be_switched_off():
    assert chosen(b"X-Sluice-Lane: bulk\r\n", sections={"lanes": {"header": False}}).lane == "express"


# -- whose turn it is


@pytest.mark.parametrize(
    ("user", "sender", "key"),
    [
        ("Billing", "x@example.com", "Billing"),
        ("", "Bounce+123=bob@Example.COM", "bounce@example.com"),
        ("", "plain@example.com", "plain@example.com"),
        ("", "+label@example.com", "+label@example.com"),
        ("", '"a+b@c"@example.com', '"a@example.com'),
        ("", "", ""),
        ("", "root", "root"),
    ],
)
def test_turns_are_taken_by_user_else_by_sender_without_label(user, sender, key):
    assert fairness_key(message(user=user, sender=sender)) == key


def test_weights_of_senders_are_found_whatever_their_case():
    lanes = {"weights": {"News@Example.com": 3, "billing": 2}}
    assert chosen(sender="news+1@example.com", sections={"lanes": lanes}).weight == 3
    assert chosen(user="billing", sections={"lanes": lanes}).weight == 2
    assert chosen(user="nobody", sections={"lanes": lanes}).weight == 1


# -- the From domain


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b"ann@example.com", "example.com"),
        (b"Ann <ann@Example.COM>", "example.com"),
        (b'"Doe, Ann" <ann@example.com>', "example.com"),
        (b'"trap@evil.example" <ann@example.com>', "example.com"),
        (b'"<trap@evil.example>" <ann@example.com>', "example.com"),
        (b'"a \\" <trap@evil.example>" <ann@example.com>', "example.com"),
        (b"(trap@evil.example) ann@example.com", "example.com"),
        (b"(a (trap@evil.example)) ann@example.com (x@evil.example)", "example.com"),
        (b"trap@evil.example <ann@example.com>", "example.com"),
        (b"ann@example.com, bob@example.org", "example.com"),
        (b"ann@example.com, Bob <bob@example.org>", "example.com"),
        (b"Ann\r\n <ann@\r\n\texample.com>", "example.com"),
        (b"=?utf-8?q?trap=40evil.example?= <ann@example.com>", "example.com"),
        (b'"a@b"@example.com', "example.com"),
        (b"<@hop.example,@hop2.example:ann@example.com>", "example.com"),
        (b"ann@example.com.", "example.com"),
        ("Jürgen <j@müller.example>".encode(), "xn--mller-kva.example"),
        (b"j@m\xfcller.example", "m�ller.example"),
        (b"ann@[192.0.2.1]", ""),
        (b"undisclosed:;", ""),
        (b"<", ""),
        (b"<>", ""),
        (b'"', ""),
        (b"((((", ""),
        (b"ann@", ""),
        (b"", ""),
    ],
)
def test_the_from_domain_is_that_of_the_address_and_not_of_a_name(value, domain):
    assert (
        header_from_domain(b"Subject: From: x@wrong.example\r\nFROM: " + value + b"\r\nTo: b@c.example\r\n") == domain
    )


def test_without_a_from_address_the_domain_is_that_of_the_envelope_sender():
    assert chosen(b"Subject: x\r\n").from_domain == "example.com"
    assert chosen(b"From: nobody\r\n", sender="").from_domain == ""


def test_an_aliased_from_address_counts_as_what_ses_will_see():
    sections = {"relay": {"from_aliases": {"Ann@intern.example": "mail@example.net"}}}
    assert chosen(b"From: Ann <ann@INTERN.example>\r\n", sections=sections).from_domain == "example.net"


@given(st.binary(max_size=300))
def test_any_header_bytes_give_a_seat(head):
    seat = chosen(head)
    assert seat.route == "default"
    assert seat.lane in {"express", "bulk"}


@given(st.text(alphabet='<>@"(),;: \\ab.', max_size=60))
def test_any_from_value_gives_a_domain_without_an_at(value):
    assert not set(header_from_domain(f"From: {value}\r\n".encode())) & set('@<>,;:" ')


@pytest.mark.parametrize(
    "piece", [b"(", b'"', b"<", b"@", b",", b'a,"b"', b"\\", b"a@", b"(a)", b"\r\n x", b" ", b":", b"From: ", b"<>,"]
)
def test_reading_a_hostile_header_takes_time_in_proportion(piece, milliseconds):
    def read(size: int):
        head = b"From:" + piece * (size // len(piece)) + b"\r\nX-Sluice-Lane:" + piece * (size // len(piece))
        return lambda: (header_from_domain(head), lane_header(head))

    assert milliseconds(read(400_000)) < 12 * max(milliseconds(read(100_000)), 1)


# -- routes

ROUTES = {
    "all": {},
    "example": {"from_domains": ["example.com"]},
    "sub": {"from_domains": ["*.example.com"]},
    "deep": {"from_domains": ["*.mail.example.com"]},
    "vip": {"users": ["boss"]},
    "spare": {"weight": 0},
}


@pytest.mark.parametrize(
    ("pattern", "domain", "is_fit"),
    [
        ("example.com", "example.com", True),
        ("Example.COM.", "example.com", True),
        ("example.com", "mail.example.com", False),
        ("*.example.com", "mail.example.com", True),
        ("*.example.com", "a.mail.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("müller.example", "xn--mller-kva.example", True),
        ("example.com", "", False),
        ("*.", "", False),
    ],
)
def test_a_pattern_is_a_domain_or_all_its_subdomains(pattern, domain, is_fit):
    assert bool(domain_fit(pattern, domain)) is is_fit


@pytest.mark.parametrize(
    ("user", "domain", "order"),
    [
        ("", "example.com", ["example", "all", "spare"]),
        ("", "x.example.com", ["sub", "all", "spare"]),
        ("", "x.mail.example.com", ["deep", "sub", "all", "spare"]),
        ("boss", "example.com", ["vip", "example", "all", "spare"]),
        ("", "other.example", ["all", "spare"]),
    ],
)
def test_the_most_specific_route_comes_first(user, domain, order):
    assert list(routes_for("m", user, domain, settings(routes=ROUTES))) == order


def test_a_sender_whom_no_route_allows_has_no_seat():
    sections = {"routes": {"one": {"from_domains": ["example.net"]}, "two": {"users": ["boss"]}}}
    assert chosen(b"From: a@example.com\r\n", sections=sections) is None
    assert chosen(b"From: a@example.com\r\n", user="boss", sections=sections).route == "two"


def test_mail_goes_past_a_closed_route_to_the_next_that_is_allowed():
    sections = {"routes": ROUTES}
    head = b"From: a@example.com\r\n"
    assert chosen(head, sections=sections).route == "example"
    assert chosen(head, sections=sections, is_open=lambda name: name != "example").route == "all"
    assert chosen(head, sections=sections, is_open=lambda name: name not in {"example", "all"}).route == "spare"


def test_when_every_allowed_route_is_closed_mail_waits_at_the_first():
    def only_others(name):
        return name in {"sub", "deep", "vip"}

    seat = chosen(b"From: a@example.com\r\n", sections={"routes": ROUTES}, is_open=only_others)
    assert seat.route == "example"


def test_a_message_with_a_turn_uses_it_even_if_the_route_is_closed_for_others():
    head = b"From: a@example.com\r\n"
    kept = chosen(head, sections={"routes": ROUTES}, turn=5, turn_at="all:bulk", is_open=lambda name: name != "all")
    assert (kept.route, kept.lane) == ("all", "bulk")


@pytest.mark.parametrize("turn_at", ["gone:bulk", "sub:bulk", "all:gone", ""])
def test_a_turn_for_a_route_or_lane_that_is_not_its_own_any_more_is_not_used(turn_at):
    again = chosen(b"From: a@example.com\r\n", sections={"routes": ROUTES}, turn=5, turn_at=turn_at)
    assert (again.route, again.lane) == ("example", "express")


def test_a_turn_that_is_used_up_binds_no_more():
    again = chosen(b"From: a@example.com\r\n", sections={"routes": ROUTES}, turn=0, turn_at="all:bulk")
    assert (again.route, again.lane) == ("example", "express")


NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), unique=True, min_size=2)


@given(NAMES, st.text(alphabet="0123456789abcdef-", min_size=1, max_size=20), st.data())
def test_only_the_mail_of_a_route_that_goes_away_moves(names, message_id, data):
    weights = {name: {"weight": data.draw(st.floats(0.1, 100))} for name in names}
    order = routes_for(message_id, "", "example.com", settings(routes=weights))
    assert sorted(order) == sorted(names)
    left_out = data.draw(st.sampled_from(names))
    rest = {name: route for name, route in weights.items() if name != left_out}
    assert routes_for(message_id, "", "example.com", settings(routes=rest)) == tuple(n for n in order if n != left_out)


def test_equal_routes_share_by_weight():
    three = settings(routes={"a": {"weight": 1}, "b": {"weight": 3}, "c": {"weight": 0}})
    firsts = Counter(routes_for(f"message-{n}", "", "", three)[0] for n in range(4000))
    assert set(firsts) == {"a", "b"}
    assert 0.70 < firsts["b"] / 4000 < 0.80


def test_there_is_another_route_only_if_one_is_allowed_and_open():
    seat = Seat("example", "express", "app@example.com", 1.0, "example.com")
    by_name = settings(routes=ROUTES)
    assert has_other_route("m", seat, by_name, everything_open)
    assert not has_other_route("m", seat, by_name, lambda name: name == "example")
    strict = settings(routes={name: ROUTES[name] for name in ("example", "sub")})
    assert not has_other_route("m", seat, strict, everything_open)
    only_user = settings(routes={"example": {}, "vip": {"users": ["boss"]}})
    assert not has_other_route("m", seat, only_user, everything_open)
    assert has_other_route("m", dataclasses.replace(seat, sender="boss"), only_user, everything_open)


# -- what a rule says about a part


TWO_ROUTES = {"routes": {"us": {}, "eu": {}, "strict": {"from_domains": ["example.org"]}}}


def test_a_rules_route_comes_before_all_others_open_or_not_and_no_other_takes_its_place():
    for name in ("us", "eu"):
        seat = seat_of(message(), b"", settings(**TWO_ROUTES), lambda _: False, Part((0,), route=name))
        assert (seat.route, seat.is_fixed) == (name, True)
        assert not has_other_route(message().message_id, seat, settings(**TWO_ROUTES), everything_open)


@pytest.mark.parametrize("name", ["strict", "gone"])
def test_a_rules_route_that_is_not_allowed_or_gone_is_as_if_there_were_none(name):
    seat = seat_of(message(), b"", settings(**TWO_ROUTES), everything_open, Part((0,), route=name))
    assert seat == chosen(sections=TWO_ROUTES)


def test_a_rules_lane_comes_before_header_and_user_and_a_lane_that_is_gone_does_not():
    head = b"X-Sluice-Lane: express\r\n"
    assert seat_of(message(), head, settings(), everything_open, Part((0,), lane="bulk")).lane == "bulk"
    assert seat_of(message(), head, settings(), everything_open, Part((0,), lane="gone")).lane == "express"


def test_a_turn_moves_no_part_into_its_lane():
    of = message(turn=5, turn_at="default:bulk", verdict=Verdict("v"))
    assert seat_of(of, b"", settings(), everything_open, Part((0,))).lane == "express"
    assert seat_of(of, b"", settings(), everything_open, Part((0,), lane="bulk")).lane == "bulk"
