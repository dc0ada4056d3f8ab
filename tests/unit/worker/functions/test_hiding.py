"""No value of the environment is in a text, however it is written there, and no half of one at a cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.functions.hiding import hide, spellings

SECRET = "ab\\cd'ef\"gh\u00e9\n"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        SECRET.strip(),
        repr(SECRET),
        ascii(SECRET),
        str(KeyError(SECRET)),
        str([SECRET]),
        json.dumps(SECRET),
        json.dumps({"token": SECRET}, ensure_ascii=False),
    ],
)
def test_a_value_is_hidden_in_every_spelling(written):
    assert "cd" not in hide(f"wrong token {written}, sorry", spellings([SECRET]))


def test_the_beginning_of_a_value_at_a_cut_is_hidden():
    hidden = spellings(["abcd", "abcdefgh"])
    assert hide("the token abcdef", hidden, is_cut=True) == "the token ***"
    assert hide("the token a", hidden, is_cut=True) == "the token ***"
    assert hide("the token", hidden, is_cut=True) == "the token"


def test_an_end_that_is_no_cut_stays():
    assert hide("no token a", spellings(["abcdefgh"])) == "no token a"


def test_short_values_are_words_and_stay():
    assert spellings(["abc", ""]) == ()


@given(st.text(min_size=4), st.text(), st.integers(0))
def test_wherever_a_text_is_cut_no_character_of_the_value_is_left(value, before, cut):
    before = "".join("-" for _ in before)
    value = "".join(chr(0x100 + ord(one) % 0x1000) for one in value)
    text = (before + value)[: cut % (len(before + value) + 1)]
    assert not set(hide(text, spellings([value]), is_cut=True)) & set(value)
