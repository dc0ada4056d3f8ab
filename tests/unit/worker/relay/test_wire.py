"""Our bodies, read back by the simulator, which reads them as the real service does."""

from urllib.parse import parse_qsl

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.query_wire import parse_form, read_send_raw_email
from simulator.rest_wire import read_send_email
from simulator.send_call import SendCall
from worker.relay.wire import V1_MAX_RAW_BYTES, Call, own_header, v1_body, v2_body

EVERY_BYTE = bytes(range(256))
ADDRESS = st.one_of(
    st.sampled_from(["a@example.com", "a+b=c&d%40/e?@example.com", '"a b\\"c"@example.com', "ü@exämple.com", "a#~'@b"]),
    st.text(min_size=1, max_size=30),
)
TAGS = st.dictionaries(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), st.just("a.b@C-1_"), max_size=5)
CALLS = st.builds(
    Call,
    sender=ADDRESS | st.just(""),
    recipients=st.lists(ADDRESS, min_size=1, max_size=50, unique=True),
    content=st.binary(max_size=2000) | st.sampled_from([EVERY_BYTE, EVERY_BYTE[1:], b"\xfb\xff\xfe" * 30]),
    tags=TAGS,
    configuration_set=st.sampled_from(["", "a-set_1"]),
    source_arn=st.sampled_from(["", "arn:aws:ses:eu-west-1:1:identity/a+b@x"]),
    from_arn=st.sampled_from(["", "arn:b"]),
    return_path_arn=st.sampled_from(["", "arn:c&d"]),
    header=st.sampled_from([b"", *(own_header("X-Sluice-Batch", "m" * n) for n in (1, 2, 3))]),
)


def read_v1(body: bytes) -> SendCall:
    return read_send_raw_email(parse_form(body))


@given(CALLS)
def test_both_wires_carry_the_call_unchanged(call):
    for read in (read_v1(v1_body(call)), read_send_email(v2_body(call))):
        assert read.raw == call.header + call.content
        assert read.source == (call.sender or None)
        assert read.destinations == tuple(call.recipients)
        assert read.configuration_set == (call.configuration_set or None)
        assert read.tags == (tuple(call.tags.items()) or None)


@given(CALLS)
def test_both_wires_carry_the_arns_of_sending_authorization(call):
    arns = {"SourceArn": call.source_arn, "FromArn": call.from_arn, "ReturnPathArn": call.return_path_arn}
    fields = dict(parse_qsl(v1_body(call).partition(b"&RawMessage")[0].decode()))
    assert {name: fields.get(name, "") for name in arns} == arns
    values = orjson.loads(v2_body(call))
    assert values.get("FromEmailAddressIdentityArn", "") == (call.source_arn or call.from_arn)
    assert values.get("FeedbackForwardingEmailAddressIdentityArn", "") == call.return_path_arn


@given(st.text(st.characters(categories=["Cs", "L"]), min_size=1, max_size=5), st.sampled_from([v1_body, v2_body]))
def test_an_address_that_cannot_be_encoded_does_not_stop_the_call(address, encode):
    body = encode(Call(address, [address], b"x", {}))
    read = read_v1(body) if encode is v1_body else read_send_email(body)
    assert read.destinations == (read.source,)


@given(st.text("abc.-0123456789", min_size=1, max_size=80))
def test_our_own_header_is_one_line_with_its_value(value):
    name, _, rest = own_header("X-Sluice-Batch", value).partition(b":")
    assert (name, rest.strip(b" "), rest[-2:]) == (b"X-Sluice-Batch", f"{value}\r\n".encode(), b"\r\n")


@pytest.mark.parametrize("more", [0, 1])
def test_a_message_above_ten_megabytes_of_base64_goes_to_v2(more):
    header = own_header("X-Sluice-Batch", "m.1")
    call = Call("a@b", ["c@d"], bytes(V1_MAX_RAW_BYTES - len(header) + more), {}, header=header)
    assert call.is_for_v1 is (more == 0)
    encoded_bytes = -(-len(call.header + call.content) // 3) * 4
    assert (encoded_bytes <= 10 * 1024 * 1024) is call.is_for_v1


def test_neither_address_nor_content_appears_in_a_repr():
    assert repr(Call("a@b", ["c@d"], b"secret", {})) == "<Call 1 recipients, 6 bytes>"
