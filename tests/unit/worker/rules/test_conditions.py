"""Conditions: what each of them compares, and how it says so."""

import builtins
import time

import pytest

from tests.unit.worker.rules.case import a_message
from worker.rules.attachments import MAX_VALUES_BYTES
from worker.rules.conditions import OPERATORS, pattern_of, why_true
from worker.rules.facts import Facts
from worker.rules.records import Condition

CONTENT = b"Subject: Your =?utf-8?q?R=C3=9CCKNUNG?=\r\nX-A: one\r\nX-A: two\r\nX-Empty:\r\n\r\n" + b"x" * 1000
PDF = b"Content-Disposition: attachment; filename=plan.PDF\r\n\r\n"


def why(condition: Condition, content: bytes = CONTENT, user: str = "shop", ip: str = "192.0.2.7") -> str:
    return why_true(condition, Facts(a_message(user=user, ip=ip), content))


@pytest.mark.parametrize(
    ("condition", "because"),
    [
        (Condition("SUBJECT", "EQUALS", ("your rückNUNG",)), 'SUBJECT EQUALS "your rückNUNG"'),
        (Condition("SUBJECT", "EQUALS", ("your",)), ""),
        (Condition("SUBJECT", "STARTS_WITH", ("nothing", "YOUR")), 'SUBJECT STARTS_WITH "YOUR"'),
        (Condition("SUBJECT", "STARTS_WITH", ("rück",)), ""),
        (Condition("SUBJECT", "ENDS_WITH", ("nung",)), 'SUBJECT ENDS_WITH "nung"'),
        (Condition("SUBJECT", "ENDS_WITH", ("your",)), ""),
        (Condition("SUBJECT", "CONTAINS", ("r R",)), 'SUBJECT CONTAINS "r R"'),
        (Condition("SUBJECT", "CONTAINS", ("invoice",)), ""),
        (Condition("SUBJECT", "NOT_EQUALS", ("a", "b")), 'SUBJECT NOT_EQUALS "a" and 1 more'),
        (Condition("SUBJECT", "NOT_EQUALS", ("a", "YOUR RÜCKNUNG")), ""),
        (Condition("HEADER", "EQUALS", ("TWO",), "x-a"), 'HEADER x-a EQUALS "TWO"'),
        (Condition("HEADER", "EQUALS", ("three",), "X-A"), ""),
        (Condition("HEADER", "NOT_EQUALS", ("two",), "X-A"), ""),
        (Condition("HEADER", "NOT_EQUALS", ("x",), "X-None"), 'HEADER X-None NOT_EQUALS "x"'),
        (Condition("HEADER", "EQUALS", ("",), "X-Empty"), 'HEADER X-Empty EQUALS ""'),
        (Condition("HEADER", "EQUALS", ("",), "X-None"), ""),
        (Condition("HEADER", "CONTAINS", ("",), "X-None"), ""),
        (Condition("SMTP_USER", "EQUALS", ("Shop",)), 'SMTP_USER EQUALS "Shop"'),
        (Condition("SMTP_USER", "EQUALS", ("other",)), ""),
        (Condition("ATTACHMENT_NAME", "ENDS_WITH", (".pdf",)), ""),
        (Condition("MESSAGE_SIZE", "GREATER_THAN", (1000,)), "MESSAGE_SIZE GREATER_THAN 1000"),
        (Condition("MESSAGE_SIZE", "GREATER_THAN", (len(CONTENT),)), ""),
        (Condition("MESSAGE_SIZE", "GREATER_THAN_OR_EQUAL", (len(CONTENT),)), None),
        (Condition("MESSAGE_SIZE", "LESS_THAN", (len(CONTENT),)), ""),
        (Condition("MESSAGE_SIZE", "LESS_THAN_OR_EQUAL", (1, len(CONTENT))), None),
        (Condition("MESSAGE_SIZE", "EQUALS", (len(CONTENT),)), None),
        (Condition("SOURCE_IP", "CIDR_MATCHES", ("10.0.0.0/8", "192.0.2.0/24")), "SOURCE_IP CIDR_MATCHES 192.0.2.0/24"),
        (Condition("SOURCE_IP", "CIDR_MATCHES", ("2001:db8::/32",)), ""),
        (Condition("SOURCE_IP", "NOT_CIDR_MATCHES", ("10.0.0.0/8", "::/0")), None),
        (Condition("SOURCE_IP", "NOT_CIDR_MATCHES", ("10.0.0.0/8", "192.0.2.7/32")), ""),
        (Condition("HAS_ATTACHMENTS", "IS_FALSE"), "HAS_ATTACHMENTS IS_FALSE"),
        (Condition("HAS_ATTACHMENTS", "IS_TRUE"), ""),
        (Condition("SUBJECT", "MATCHES", ("R.CK(N|M)UNG$",)), 'SUBJECT MATCHES "R.CK(N|M)UNG$"'),
        (Condition("SUBJECT", "MATCHES", ("rück",)), ""),
        (Condition("SUBJECT", "MATCHES", ("(?i)rück",)), None),
        (Condition("HEADER", "MATCHES", ("^t.o$",), "X-A"), None),
    ],
)
def test_a_condition_says_what_fits(condition, because):
    found = why(condition)
    assert found == because if because is not None else found


def test_every_operator_of_every_attribute_is_carried_out():
    for attribute, operators in OPERATORS.items():
        for operator in operators:
            values = {"MESSAGE_SIZE": (1,), "SOURCE_IP": ("10.0.0.0/8",)}.get(attribute, ("x",))
            assert isinstance(why(Condition(attribute, operator, values, "X-A" if attribute == "HEADER" else "")), str)


def test_files():
    assert why(Condition("HAS_ATTACHMENTS", "IS_TRUE"), PDF)
    assert not why(Condition("HAS_ATTACHMENTS", "IS_FALSE"), PDF)
    assert why(Condition("ATTACHMENT_NAME", "ENDS_WITH", (".exe", ".pdf")), PDF) == 'ATTACHMENT_NAME ENDS_WITH ".pdf"'
    assert not why(Condition("ATTACHMENT_NAME", "NOT_EQUALS", ("plan.pdf",)), PDF)


MUCH = b"Content-Disposition: inline; x=" + b"y" * MAX_VALUES_BYTES + b"; filename=plan.exe\r\n\r\n"
UNREAD = " (more about files than could be read)"


@pytest.mark.parametrize("operator", ["EQUALS", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "MATCHES"])
def test_where_there_is_more_than_could_be_read_any_name_may_be_there(operator):
    told = why(Condition("ATTACHMENT_NAME", operator, ("other", "one")), MUCH)
    assert told == f'ATTACHMENT_NAME {operator} "other"{UNREAD}'


def test_where_there_is_more_than_could_be_read_there_are_files_and_none_is_missing():
    assert why(Condition("HAS_ATTACHMENTS", "IS_TRUE"), MUCH) == f"HAS_ATTACHMENTS IS_TRUE{UNREAD}"
    assert not why(Condition("HAS_ATTACHMENTS", "IS_FALSE"), MUCH)
    assert not why(Condition("ATTACHMENT_NAME", "NOT_EQUALS", ("other",)), MUCH)
    named = MUCH.replace(b"inline;", b"inline; filename=a.pdf;")
    assert why(Condition("ATTACHMENT_NAME", "EQUALS", ("b", "a.pdf")), named) == 'ATTACHMENT_NAME EQUALS "a.pdf"'


def test_mail_without_a_source_is_in_no_range():
    assert not why(Condition("SOURCE_IP", "CIDR_MATCHES", ("0.0.0.0/0", "::/0")), ip="")
    assert why(Condition("SOURCE_IP", "NOT_CIDR_MATCHES", ("0.0.0.0/0",)), ip="")


def test_a_pattern_that_costs_others_hours_costs_moments():
    content = b"Subject: " + b"a" * 60_000 + b"!\r\n\r\n"
    began = time.process_time()
    assert not why(Condition("SUBJECT", "MATCHES", ("(a+)+$",)), content)
    assert time.process_time() - began < 2


def test_a_pattern_meets_half_characters_and_raw_bytes():
    condition = Condition("SUBJECT", "MATCHES", (".",))
    assert why(condition, b"Subject: \xff\xfe\r\n\r\n")
    assert why(condition, b"Subject: =?utf-16?b?2D8=?=\r\n\r\n")


def test_what_re2_refuses_says_so():
    for pattern in ("(?=a)", "(a)\\1", "(", "a{2000}", "a**"):
        with pytest.raises(ValueError, match="no pattern of re2: "):
            pattern_of(pattern)


def test_without_re2_a_pattern_is_refused(monkeypatch):
    ordinary = builtins.__import__

    def without_re2(name, *rest, **keys):
        if name == "re2":
            raise ImportError(name)
        return ordinary(name, *rest, **keys)

    monkeypatch.setattr(builtins, "__import__", without_re2)
    with pytest.raises(ValueError, match="MATCHES needs google-re2, which is not installed"):
        pattern_of("a")


def test_the_words_for_a_value_are_short_and_printable():
    told = why(Condition("SUBJECT", "NOT_EQUALS", ("\x1b[31m\n" + "y" * 500,)))
    assert told.isprintable()
    assert len(told) < 150


def test_a_value_is_found_whatever_the_case_of_either_side_and_is_told_as_it_is_written():
    sharp = Condition("SUBJECT", "CONTAINS", ("nothing", "STRASSE"))
    assert sharp.folded == ("nothing", "strasse")
    assert why(sharp, "Subject: Große Straße\r\n\r\n".encode()) == 'SUBJECT CONTAINS "STRASSE"'


def test_how_a_condition_is_compared_is_no_part_of_what_it_is():
    assert Condition("SUBJECT", "EQUALS", ("A",)) != Condition("SUBJECT", "EQUALS", ("a",))
    assert Condition("MESSAGE_SIZE", "EQUALS", (1,)).folded == ()
