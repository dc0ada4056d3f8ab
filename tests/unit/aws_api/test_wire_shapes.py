from datetime import UTC, datetime

import orjson
import pytest
from botocore.model import ServiceModel

from aws_api.wire import rest_json
from aws_api.wire.failures import OperationRefused
from aws_api.wire.services import Addressed, Offer, Service

MODEL = ServiceModel(
    {
        "metadata": {"protocol": "rest-json", "apiVersion": "2020-01-01", "endpointPrefix": "x", "serviceId": "x"},
        "operations": {
            "Do": {
                "name": "Do",
                "http": {"method": "POST", "requestUri": "/things/{id}"},
                "input": {"shape": "In"},
                "output": {"shape": "In"},
                "errors": [{"shape": "Gone"}, {"shape": "Plain"}],
            }
        },
        "shapes": {
            "Gone": {"type": "structure", "members": {}, "error": {"httpStatusCode": 410}, "exception": True},
            "Plain": {"type": "structure", "members": {}, "exception": True},
            "In": {
                "type": "structure",
                "required": ["id", "text"],
                "members": {
                    "id": {"shape": "Id", "location": "uri", "locationName": "id"},
                    "page": {"shape": "Number", "location": "querystring", "locationName": "PageSize"},
                    "tags": {"shape": "Texts", "location": "querystring", "locationName": "tag"},
                    "token": {"shape": "Text", "location": "header", "locationName": "X-Token"},
                    "text": {"shape": "Text", "locationName": "Text"},
                    "list": {"shape": "Texts"},
                    "map": {"shape": "Map"},
                    "flag": {"shape": "Flag"},
                    "number": {"shape": "Number"},
                    "ratio": {"shape": "Ratio"},
                    "blob": {"shape": "Blob"},
                    "at": {"shape": "Time"},
                    "kind": {"shape": "Kind"},
                },
            },
            "Id": {"type": "string", "pattern": "[a-z]+", "min": 1, "max": 5},
            "Text": {"type": "string", "min": 2, "max": 5},
            "Texts": {"type": "list", "member": {"shape": "Text"}, "max": 2},
            "Map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Number"}},
            "Flag": {"type": "boolean"},
            "Number": {"type": "integer", "min": 1, "max": 9},
            "Ratio": {"type": "double"},
            "Blob": {"type": "blob"},
            "Time": {"type": "timestamp"},
            "Kind": {"type": "string", "enum": ["A", "B"]},
        },
    }
)


async def handle(call):
    return {}


def read(body: object, path: str = "/things/abc", headers: dict[str, str] | None = None, **offer: object):
    service = Service("x", {"Do": Offer(handle, **offer)})
    addressed = Addressed(service, MODEL.operation_model("Do"), {"id": path.partition("?")[0].rpartition("/")[2]})
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return rest_json.parameters_of(addressed, path, headers or {}, raw)


def refused(body: object, path: str = "/things/abc", **options: object) -> tuple[str, str]:
    with pytest.raises(OperationRefused) as caught:
        read(body, path, **options)
    return caught.value.code, caught.value.reason


def test_every_kind_is_read_from_its_place():
    body = {
        "Text": "text",
        "list": ["ab", "cd"],
        "map": {"ab": 1, "cd": None},
        "flag": True,
        "number": 3,
        "ratio": 1,
        "blob": "AAE=",
        "at": 1.5,
        "kind": "A",
        "unknown": {"later": 1},
    }
    assert read(body, "/things/abc?PageSize=4&tag=xx&tag=y%20z", {"X-Token": "tok"}) == {
        "id": "abc",
        "page": 4,
        "tags": ["xx", "y z"],
        "token": "tok",
        "text": "text",
        "list": ["ab", "cd"],
        "map": {"ab": 1},
        "flag": True,
        "number": 3,
        "ratio": 1.0,
        "blob": b"\x00\x01",
        "at": datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
        "kind": "A",
    }


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({}, "/things/abc", "Value at 'text' failed to satisfy constraint: Member must not be null"),
        ({"Text": None}, "/things/abc", "Value at 'text' failed to satisfy constraint: Member must not be null"),
        ({"Text": "x"}, "/things/abc", "Value 'x' at 'text' failed to satisfy constraint: Member must have length "),
        ({"Text": "x" * 500}, "/things/abc", f"Value '{'x' * 100}…' at 'text'"),
        (
            {"Text": "ok"},
            "/things/A%2Fb",
            "Value 'A/b' at 'id' failed to satisfy constraint: Member must satisfy regular",
        ),
        ({"Text": "ok"}, "/things/abc%0A", "regular expression"),
        ({"Text": "ok", "list": ["ab", "x"]}, "/things/abc", "at 'list.2.member'"),
        ({"Text": "ok", "list": ["ab"] * 3}, "/things/abc", "length less than or equal to 2"),
        ({"Text": "ok", "map": {"k": 3}}, "/things/abc", "at 'map.key'"),
        ({"Text": "ok", "map": {"kk": 30}}, "/things/abc", "Value '30' at 'map.kk'"),
        ({"Text": "ok", "number": 0}, "/things/abc", "value greater than or equal to 1"),
        ({"Text": "ok"}, "/things/abc?PageSize=10", "value less than or equal to 9"),
        ({"Text": "ok", "kind": "C"}, "/things/abc", "enum value set: [A, B]"),
    ],
)
def test_a_value_outside_the_models_limits_is_refused_in_awss_words(body, path, words):
    code, text = refused(body, path)
    assert code == "ValidationException"
    assert text.startswith("1 validation error detected: ")
    assert words in text


def test_all_mistakes_are_told_at_once():
    assert refused({"number": 0, "kind": "C"})[1].startswith("3 validation errors detected: ")


def test_the_length_is_that_of_the_decoded_text():
    assert read({"Text": "ok"}, "/things/%61%62%63%64%65")["id"] == "abcde"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{", "/things/abc"),
        (b"[]", "/things/abc"),
        (b"\xff", "/things/abc"),
        (b'{"Text": "\xff"}', "/things/abc"),
        ({"Text": 5}, "/things/abc"),
        ({"Text": "ok", "list": "ab"}, "/things/abc"),
        ({"Text": "ok", "map": []}, "/things/abc"),
        ({"Text": "ok", "flag": "true"}, "/things/abc"),
        ({"Text": "ok", "number": "3"}, "/things/abc"),
        ({"Text": "ok", "number": True}, "/things/abc"),
        ({"Text": "ok", "number": 1.5}, "/things/abc"),
        ({"Text": "ok", "ratio": "1"}, "/things/abc"),
        ({"Text": "ok", "blob": "***"}, "/things/abc"),
        ({"Text": "ok", "at": "yesterday"}, "/things/abc"),
        ({"Text": "ok", "at": 1e300}, "/things/abc"),
        ({"Text": "ok"}, "/things/abc?PageSize=many"),
    ],
)
def test_a_value_of_another_kind_cannot_be_read(body, path):
    assert refused(body, path)[0] == "SerializationException"


def test_a_parameter_may_have_an_error_of_its_own_and_a_shape_no_pattern():
    assert refused({"Text": "ok"}, "/things/ABC", refusals={"id": "Gone"})[0] == "Gone"
    assert read({"Text": "ok"}, "/things/ABC", lenient_shapes=frozenset({"Id"}))["id"] == "ABC"
    assert refused({"Text": "ok"}, "/things/ABCDEF", lenient_shapes=frozenset({"Id"}))[0] == "ValidationException"


def test_an_answer_has_the_names_and_kinds_of_the_wire():
    output = {"text": "x", "blob": b"\x00", "at": datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "list": ["a"], "flag": None}
    written = orjson.loads(rest_json.answer_of(MODEL.operation_model("Do"), output, "r"))
    assert written == {"Text": "x", "blob": "AA==", "at": 60.0, "list": ["a"]}


def test_the_status_of_an_error_is_the_models():
    operation = MODEL.operation_model("Do")
    assert rest_json.refusal_of(operation, OperationRefused("Gone", "")) == (410, "Gone")
    assert rest_json.refusal_of(operation, OperationRefused("Plain", "")) == (400, "Plain")
    assert rest_json.refusal_of(operation, OperationRefused("InternalFailure", "")) == (500, "InternalFailure")
