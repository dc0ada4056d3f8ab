import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.header_addresses import mailboxes


def addresses(value: bytes) -> list[bytes]:
    return [one.address for one in mailboxes(value)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", []),
        (b" \r\n , ,;", []),
        (b"a@x", [b"a@x"]),
        (b" a@x , b@y,\r\n c@z\r", [b"a@x", b"b@y", b"c@z"]),
        (b"Ann <a@x>, <b@y>", [b"a@x", b"b@y"]),
        (b'"Doe, Jane; (x) <no@x>" <a@x>, b@y', [b"a@x", b"b@y"]),
        (b'"a,b"@x, c@y', [b'"a,b"@x', b"c@y"]),
        (b'Ann <"a>b,"@x>, c@y', [b'"a>b,"@x', b"c@y"]),
        (b"a@x (one, (two, three) four), b@y", [b"a@x", b"b@y"]),
        (b'a@x (5" wide, \\) <no@x>), b@y', [b"a@x", b"b@y"]),
        (b"Team: a@x, Bo <b@y>;, c@z", [b"a@x", b"b@y", b"c@z"]),
        (b"undisclosed-recipients:;", []),
        (b"Ann <@r.example,@s.example:a@x>", [b"a@x"]),
        (b"Ann <a@x> Smith", [b"a@x"]),
        (b"a @ x", [b"a@x"]),
        (b"local, Ann <>, Bo <bo>", [b"", b"", b""]),
        (b"Ann <a@x", [b"a@x"]),
        (b'"never closed, a@x', [b'"neverclosed,a@x']),
        (b"(never closed, a@x", []),
        (b'Ann <"a@x>, b@y', [b'"a@x>, b@y']),
        (b"ends with \\", [b""]),
    ],
)
def test_what_stands_in_an_address_list(value: bytes, found: list[bytes]):
    assert addresses(value) == found


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"Ann Lee <a@x>", b"Ann Lee <a@x>"),
        (b' "Lee, Ann" <a@x>', b'"Lee, Ann" <a@x>'),
        (b"=?utf-8?q?Ann=C3=A9?=\r\n Lee <a@x>", b"=?utf-8?q?Ann=C3=A9?= Lee <a@x>"),
        (b"Ann (at home) <a@x>", b"a@x"),
        (b"\xc3\xa4 <a@x>", b"a@x"),
        (b"a@x <a@x>", b"a@x"),
        (b"Ann <a@x> Lee", b"a@x"),
        (b"Ann < a@x >", b"a@x"),
        (b"Ann\x00 <a@x>", b"a@x"),
        (b"x" * 500 + b" <a@x>", b"a@x"),
        (b" a@x ", b"a@x"),
    ],
)
def test_a_name_is_kept_where_it_is_simple(value: bytes, named: bytes):
    (one,) = mailboxes(value)
    assert one.named == named


@given(
    st.lists(
        st.sampled_from(
            [b"a@x", b" ", b",", b";", b":", b"<", b">", b'"', b"\\", b"(", b")", b"\r\n ", b"b@y", b"\xff"]
        )
    ).map(b"".join)
)
def test_the_place_of_an_address_is_where_it_stands(value: bytes):
    last = 0
    for one in mailboxes(value):
        if one.start >= 0:
            assert value[one.start : one.end] == one.address
            assert one.start >= last
            last = one.end


@pytest.mark.parametrize(
    "piece", [b'"', b"<", b"(", b"\\", b'"\\', b"(a", b'<<"', b"a@x,", b"(((\\", b"<a ", b":", b" "]
)
def test_hostile_lists_cost_linear_time(piece: bytes, milliseconds):
    def cost(size: int) -> float:
        return milliseconds(lambda: mailboxes(piece * (size // len(piece))))

    # Quadratic would be 256 times; the part is measured too because the machine may be slow now.
    assert cost(100_000) < max(500, 100 * cost(100_000 // 16))


@given(st.binary(max_size=300), st.randoms(use_true_random=False))
def test_nothing_raises(value: bytes, chance: random.Random):
    mixed = b"".join(bytes([byte]) + chance.choice([b"", b"<", b'"', b"(", b"@", b","]) for byte in value)
    mailboxes(value)
    mailboxes(mixed)
