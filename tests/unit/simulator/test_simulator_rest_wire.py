"""JSON bodies of the v2 API."""

import base64
import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.refusals import Refused
from simulator.rest_wire import read_send_email

DATA = base64.b64encode(b"From: a@example.com\r\n\r\nx").decode()


def test_the_three_lists_become_one_envelope():
    call = read_send_email(
        orjson.dumps(
            {
                "FromEmailAddress": "a@example.com",
                "Destination": {"CcAddresses": ["c@x"], "ToAddresses": ["t@x"], "BccAddresses": ["b@x"]},
                "Content": {"Raw": {"Data": DATA}},
                "EmailTags": [{"Name": "n", "Value": "v"}],
                "ConfigurationSetName": "s",
            }
        )
    )
    assert call.destinations == ("t@x", "c@x", "b@x")
    assert (call.source, call.tags, call.configuration_set) == ("a@example.com", (("n", "v"),), "s")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 20_000,
        b'{"Content": 1}',
        b'{"Content": {"Simple": {}}}',
        b'{"Content": {"Raw": {"Data": 5}}}',
        b'{"Content": {"Raw": {"Data": "*"}}}',
        b'{"Content": {"Raw": {"Data": ""}}, "Destination": {"ToAddresses": "a@x"}}',
        b'{"Content": {"Raw": {"Data": ""}}, "Destination": {"ToAddresses": [1]}}',
        b'{"Content": {"Raw": {"Data": ""}}, "EmailTags": ["x"]}',
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(body):
    with pytest.raises(Refused):
        read_send_email(body)


json_values = st.recursive(st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["Content", "Raw", "Data", "Destination", "ToAddresses", "EmailTags"]), inner)
))  # fmt: skip


@given(json_values)
def test_no_json_breaks_the_reader(value):
    with contextlib.suppress(Refused):
        read_send_email(orjson.dumps(value))
