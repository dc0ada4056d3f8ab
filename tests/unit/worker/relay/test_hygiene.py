import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import RelaySettings
from simulator.checks import ONCE_ONLY as SIMULATED_ONCE_ONLY
from worker.relay.hygiene import ONCE_ONLY, UNDISCLOSED, alias_of, cleaned
from worker.relay.mime import header_end

OFF = RelaySettings()
ALIASES = {"app@example.com": "app@verified.example", "old@example.com": "new@verified.example"}


def relay(**settings: object) -> RelaySettings:
    return RelaySettings.model_validate(settings)


FIRST = relay(duplicate_headers="first")
REMOVE = relay(empty_headers="remove")
REWRITE = relay(long_headers="rewrite")
ALIASED = relay(from_aliases=ALIASES)
ALL = relay(
    long_headers="rewrite",
    duplicate_headers="first",
    empty_headers="remove",
    long_lines="wrap",
    from_aliases=ALIASES,
)
LINE = st.one_of(
    st.sampled_from(
        [
            b"From: App <app@example.com>\r\n",
            b"To: " + b", ".join(b"r%d@example.net" % number for number in range(60)) + b"\r\n",
            b"Subject: one\r\n",
            b"subject: two\r\n folded\r\n",
            b": nameless\r\n",
            b":\r\n more\r\n",
            b" folded\n",
            b"\r",
            b"X-Long: " + b"word " * 300 + b"\r\n",
            b"Content-Type: text/plain\r\n",
        ]
    ),
    st.binary(max_size=12).map(lambda raw: raw + b"\r\n"),
)
MESSAGE = st.tuples(
    st.lists(LINE, max_size=10).map(b"".join), st.sampled_from([b"\r\n", b"\n", b""]), st.binary(max_size=80)
).map(b"".join)


@given(MESSAGE)
def test_off_means_bytes_untouched(content: bytes):
    assert cleaned(content, ["r1@example.net"], OFF) is content


@pytest.mark.parametrize("settings", [OFF, FIRST, REMOVE, REWRITE, ALIASED, ALL])
def test_a_message_that_needs_nothing_comes_back_as_the_same_object(settings: RelaySettings):
    content = b"From: A <a@example.com>\r\nTo: b@example.net\r\nSubject: s\r\n\r\n: body\r\nFrom: x\r\nFrom: x\r\n"
    assert cleaned(content, ["b@example.net"], settings) is content
    assert cleaned(content, ["b@example.net"], settings, rewrite_long=True) is content


@given(MESSAGE)
def test_the_body_stays_to_the_byte_and_kept_headers_too(content: bytes):
    settings = relay(duplicate_headers="first", empty_headers="remove", from_aliases=ALIASES)
    result = cleaned(content, [], settings)
    end = header_end(content)
    assert result.endswith(content[end:])
    head = result[: len(result) - len(content[end:])]
    lines = set(re.findall(rb"[^\n]*\n?", content[:end]))
    for line in re.findall(rb"[^\n]*\n?", head):
        assert line in lines or b"@verified.example" in line


@given(MESSAGE)
def test_cleaning_twice_changes_nothing_more(content: bytes):
    once = cleaned(content, ["r1@example.net"], ALL)
    assert cleaned(once, ["r1@example.net"], ALL) == once


def test_the_table_of_once_only_headers_is_that_of_the_simulator():
    assert {name.decode() for name in ONCE_ONLY} == SIMULATED_ONCE_ONLY
    assert len(ONCE_ONLY) == 60


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_first_of_a_once_only_header_stays(end: bytes):
    lines = [
        b"Received: one",
        b"Subject: first",
        b"Received: two",
        b"SUBJECT : second",
        b" folded",
        b"X-Own: 1",
        b"Message-ID: <1@x>",
        b"X-Own: 2",
        b"message-id: <2@x>",
        b"Subject: third",
        b"",
        b"Subject: in the body",
        b"Subject: in the body",
    ]
    kept = [line for number, line in enumerate(lines) if number not in {3, 4, 8, 9}]
    assert cleaned(end.join(lines), [], FIRST) == end.join(kept)


def test_a_duplicate_at_the_very_end_is_removed():
    assert cleaned(b"Subject: a\r\nSubject: b", [], FIRST) == b"Subject: a\r\n"


def test_headers_that_may_stand_often_stay():
    content = b"Received: a\r\nReceived: b\r\nTo: a@x\r\nTo: b@x\r\nDate\r\nDate\r\nSubject: x\r\n\r\n"
    assert cleaned(content, [], FIRST) is content


def test_headers_without_a_name_are_removed_with_all_their_lines():
    content = b": a\r\nSubject: s\r\n:\r\n folded\r\n\tmore\r\nX: 1\r\n: : b\r\n\r\n: body\r\n"
    assert cleaned(content, [], REMOVE) == b"Subject: s\r\nX: 1\r\n\r\n: body\r\n"
    assert cleaned(b"X: 1\r\n:", [], REMOVE) == b"X: 1\r\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"From: app@example.com\r\n", b"From: app@verified.example\r\n"),
        (b"from : Shop <App@Example.COM>\r\n", b"from : Shop <app@verified.example>\r\n"),
        (b'From: "app@example.com" <app@example.com>\n', b'From: "app@example.com" <app@verified.example>\n'),
        (b"From: (app@example.com)\r\n app@example.com\r\n", b"From: (app@example.com)\r\n app@verified.example\r\n"),
        (
            b"From: A <app@example.com>, c@x,\r\n old@example.com\r\nSender: app@example.com\r\n",
            b"From: A <app@verified.example>, c@x,\r\n new@verified.example\r\nSender: app@verified.example\r\n",
        ),
    ],
)
def test_an_address_of_the_alias_table_is_replaced_and_its_name_stays(before: bytes, after: bytes):
    rest = b"Reply-To: app@example.com\r\nTo: app@example.com\r\n\r\nFrom: app@example.com\r\n"
    assert cleaned(before + rest, [], ALIASED) == after + rest


@pytest.mark.parametrize(
    "value", [b"ap p@example.com", b"xapp@example.com", b"app@example.com.org", b"app (x) @example.com"]
)
def test_an_address_that_is_not_plainly_that_of_the_table_stays(value: bytes):
    content = b"From: " + value + b"\r\n\r\n"
    assert cleaned(content, [], ALIASED) is content


def test_the_alias_of_an_envelope_sender():
    assert alias_of("APP@example.com", ALIASED) == "app@verified.example"
    assert alias_of("Other@example.com", ALIASED) == "Other@example.com"
    assert alias_of("", ALIASED) == ""
    assert alias_of("app@example.com", OFF) == "app@example.com"
    assert alias_of("app@example.com", relay(from_aliases={"APP@Example.com": "b@x"})) == "b@x"


def many(count: int, name: bytes = b"To") -> bytes:
    return name + b": " + b",\r\n ".join(b"R %d <r%d@example.net>" % (n, n) for n in range(count)) + b"\r\n"


def test_fifty_addresses_stay():
    content = many(30) + many(20, b"Cc") + b"\r\n"
    assert cleaned(content, ["r1@example.net"], REWRITE) is content


def test_a_long_header_names_those_of_the_batch():
    content = b"A: 1\r\n" + many(60) + b"B: 2\r\n\r\nTo: body\r\n"
    batch = ["R3@example.net", "r59@example.net", "bcc@example.net"]
    named = b"To: R 3 <r3@example.net>,\r\n R 59 <r59@example.net>\r\n"
    for settings, force in ((REWRITE, False), (OFF, True)):
        assert (
            cleaned(content, batch, settings, rewrite_long=force) == b"A: 1\r\n" + named + b"B: 2\r\n\r\nTo: body\r\n"
        )
    assert cleaned(content, batch, OFF) is content


def test_to_and_cc_count_together_and_an_address_is_named_once():
    content = b"cc: x@example.net, r1@example.net\r\n" + many(50, b"TO") + b"To: y@example.net\r\n\r\n"
    batch = ["r1@example.net", "x@example.net", "y@example.net"]
    assert cleaned(content, batch, REWRITE) == (
        b"cc: x@example.net\r\nTO: R 1 <r1@example.net>,\r\n y@example.net\r\n\r\n"
    )


def test_members_of_groups_count():
    content = b"To: Team: " + many(51).removeprefix(b"To: ").removesuffix(b"\r\n") + b";\r\n\r\n"
    assert cleaned(content, ["r50@example.net"], REWRITE) == b"To: R 50 <r50@example.net>\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "rewritten"),
    [
        (many(51), b"To: undisclosed-recipients:;\r\n"),
        (many(51, b"Cc"), b"To: undisclosed-recipients:;\r\n"),
        (many(51) + many(3, b"Cc"), b"To: undisclosed-recipients:;\r\n"),
        (many(3, b"Cc") + many(51), b"To: undisclosed-recipients:;\r\n"),
        (many(51) + b"Cc: h@example.net\r\n", b"To: undisclosed-recipients:;\r\nCc: h@example.net\r\n"),
        (b"Cc: h@example.net\r\n" + many(51), b"Cc: h@example.net\r\nTo: undisclosed-recipients:;\r\n"),
        (many(51, b"Cc") + b"Cc: h@example.net\r\n", b"Cc: h@example.net\r\n"),
        (many(51).removesuffix(b"\r\n"), b"To: undisclosed-recipients:;\r\n"),
        (many(51).replace(b"\r\n", b"\n"), b"To: undisclosed-recipients:;\n"),
    ],
)
def test_a_header_that_names_nobody_of_the_batch_says_so(head: bytes, rewritten: bytes):
    assert cleaned(head, ["h@example.net"], REWRITE) == rewritten


def test_addresses_that_are_only_at_signs_of_names_do_not_count():
    content = b"To: " + b", ".join(b'"a@b@c" <r%d@x>' % n for n in range(40)) + b"\r\n\r\n"
    assert cleaned(content, [], REWRITE) is content


@given(st.lists(st.integers(0, 99), max_size=60), st.sets(st.integers(0, 99), max_size=50))
def test_whoever_is_named_stood_there_and_is_of_the_batch(written: list[int], batch: set[int]):
    written = [*range(100), *written]
    content = b"To: " + b", ".join(b"r%d@x" % n for n in written[:80]) + b"\r\n"
    content += b"Cc: " + b", ".join(b"C <r%d@x>" % n for n in written[80:]) + b"\r\n\r\nbody"
    result = cleaned(content, [f"r{n}@x" for n in batch], REWRITE)
    named = [int(number) for number in re.findall(rb"r(\d+)@x", result)]
    assert sorted(named) == sorted(batch & set(written))
    assert (UNDISCLOSED in result) == (not any(n in batch for n in written[:80]))
    assert result.endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(
    "content",
    [
        b"a" * 100_000,
        b":" * 100_000,
        b"a: b\r\n" * 17_000,
        b"To: " + b"a@x," * 25_000,
        b"To: a@x\r\n" * 11_000,
        b"\n " * 50_000,
        b" \t" * 50_000,
        b"From: " + b'"\\' * 50_000,
        b"Subject" * 14_000 + b"\r\n" + b"Subject:\r\n" * 5_000,
    ],
    ids=range(9),
)
def test_hostile_headers_cost_linear_time(content: bytes, milliseconds):
    assert milliseconds(lambda: cleaned(content, ["a@x"], ALL, rewrite_long=True)) < 700


def test_a_message_that_needs_nothing_costs_next_to_nothing(milliseconds):
    head = b"".join(b"X-Header-%d: some value of a header\r\n" % number for number in range(30))
    content = head + many(5) + b"From: a@example.com\r\n\r\n" + (b"x" * 70 + b"\r\n") * 100_000
    assert milliseconds(lambda: [cleaned(content, ["a@x"], OFF) for _ in range(1000)]) < 20
    assert milliseconds(lambda: cleaned(content, ["a@x"], ALL)) < 30
