"""Patterns of addresses: what they mean and which are none."""

import pytest

from config.settings import Settings
from worker.rules.directions import local_domains
from worker.rules.patterns import PatternIndex, best_hit, parse_pattern, rules_of


@pytest.mark.parametrize(
    ("written", "text", "kind"),
    [
        ("Bob@Example.COM", "bob@example.com", "address"),
        ("o'neil.x@example.com", "o'neil.x@example.com", "address"),
        ("Example.com.", "example.com", "domain"),
        (" localhost ", "localhost", "domain"),
        ("*.Example.com", "*.example.com", "wildcard"),
        ("bücher.example", "xn--bcher-kva.example", "domain"),
        ("x@bücher.example", "x@xn--bcher-kva.example", "address"),
        ("*", "*", "all"),
    ],
)
def test_a_pattern_is_compared_in_one_spelling(written, text, kind):
    pattern = parse_pattern(written)
    assert (pattern.text, pattern.kind) == (text, kind)


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "@", "@example.com", "bob@", "*@example.com", "b*b@example.com", "bob@*.example.com"),
        *("*example.com", "a.*.example", "**", "*.", "*.*", "bob+x@example.com", "+", "a b@example.com", "a..b"),
        *(".example", "[192.0.2.1]", '"a b"@example.com', "a@b@example.com", "x" * 254, "a@" + "x" * 254, "a,b"),
        "y" * 65 + "@example.com",
    ],
)
def test_what_is_no_pattern_says_what_is_allowed(written):
    with pytest.raises(ValueError, match=r"allowed: user@domain, domain, \*\.domain, \*"):
        parse_pattern(written)


def index_of(*rules, fits_without=True):
    return PatternIndex((tuple(map(parse_pattern, rule)) for rule in rules), fits_without=fits_without)


def test_hits_are_ordered_by_how_specific_they_are():
    index = index_of(["*"], ["*.com"], ["*.example.com"], ["mail.example.com"], ["bob@mail.example.com"], [])
    hits = index.hits("Bob@Mail.Example.com")
    assert [hit.text for hit in hits] == [
        *("bob@mail.example.com", "mail.example.com", "*.example.com", "*.com", "*", ""),
    ]
    assert [hit.rules for hit in hits] == [16, 8, 4, 2, 1, 32]
    assert sorted((hit.rank for hit in hits), reverse=True) == [hit.rank for hit in hits]


def test_the_best_hit_of_a_rule_is_its_most_specific_pattern():
    index = index_of(["*", "*.com", "example.com"], ["other.example"])
    hits = index.hits("bob@example.com")
    best = best_hit(hits, 0)
    assert best is not None
    assert best.text == "example.com"
    assert best_hit(hits, 1) is None


@pytest.mark.parametrize("address", ["", "nobody", "@", "@example.com", "bob@", "a@b@", "x@" + "a." * 5000 + "com"])
def test_what_is_no_address_fits_only_what_fits_everybody(address):
    index = index_of(["*.com"], ["example.com"], ["*"], [])
    assert rules_of(index.hits(address)) == 0b1100


def test_exceptions_without_patterns_except_nobody():
    assert rules_of(index_of([], ["*.com"], fits_without=False).hits("bob@example.com")) == 0b10


@pytest.mark.parametrize(
    ("address", "direction"),
    [
        ("amy@example.com", "INBOUND"),
        ("amy@EXAMPLE.com.", "INBOUND"),
        ("amy@sub.example.com", "OUTBOUND"),
        ("amy@wild.example", "OUTBOUND"),
        ("amy@a.wild.example", "INBOUND"),
        ("amy@b.a.wild.example", "INBOUND"),
        ("amy@xn--bcher-kva.example", "INBOUND"),
        ("amy@notwild.example", "OUTBOUND"),
        ("amy", "OUTBOUND"),
        ("", "OUTBOUND"),
        ("amy@" + "a." * 5000 + "wild.example", "OUTBOUND"),
    ],
)
def test_mail_to_a_local_domain_is_inbound(address, direction):
    local = ["example.com", "*.wild.example", "bücher.example"]
    settings = Settings.model_construct(smtp=Settings().smtp.model_copy(update={"local_domains": local}))
    assert local_domains(settings).direction_of(address) == direction
