import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.queues import KEY_PREFIX
from spool import keys


def test_every_key_lies_under_the_one_hash_tag():
    assert KEY_PREFIX == "{ms}:"
    fixed = [value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)]
    made = [keys.message_key("0000-a"), keys.cursor_key("file"), keys.lock_key("x")]
    assert all(key.startswith(KEY_PREFIX) for key in [*fixed, *made])


@pytest.mark.parametrize(
    "text", ["", "A", "a b", "a\n", "a\r\nb", "ü", "a:b", "{ms}", "*", "a" * 121, "../a", "\udc80"]
)
def test_what_is_no_id_of_ours_becomes_no_key(text: str):
    assert not keys.is_message_id(text)
    with pytest.raises(ValueError, match="not a message id"):
        keys.message_key(text)


@given(st.text())
def test_a_foreign_id_of_any_text_becomes_24_hex_digits(text: str):
    assert len(keys.index_of(text)) == 24
    assert int(keys.index_of(text), 16) >= 0
    assert keys.index_of(text) == keys.index_of(f" <{text.strip().removeprefix('<').removesuffix('>')}> ")


def test_different_ids_have_different_indexes():
    assert keys.index_of("a@example.com") != keys.index_of("b@example.com")
