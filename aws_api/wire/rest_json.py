"""The rest-json protocol: parameters from path, query, headers and a JSON body; answers and errors as JSON.

Path and query are percent-decoded before they are checked. An error is its name in `x-amzn-ErrorType`, the text as
`message` in the body, and the status of the model. Each answer has `x-amzn-RequestId`.
"""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson
from aiohttp import web
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from aws_api.wire.failures import STATUS_OF_COMMON, Cause, NotAdmitted, OperationRefused
from aws_api.wire.services import Addressed
from aws_api.wire.shapes import Reader, WrongKind, in_words

#: The names that these services have for what is wrong with a signature, all with status 403.
CODE_OF_CAUSE: Final[dict[Cause, str]] = {
    "no_signature": "MissingAuthenticationToken",
    "incomplete": "IncompleteSignature",
    "unknown_key": "UnrecognizedClientException",
    "wrong_signature": "SignatureDoesNotMatch",
    "wrong_time": "InvalidSignatureException",
}

CONTENT_TYPE: Final = "application/json"
#: Objects, lists and their values; no call has as many, however large its contents are.
MOST_VALUES: Final = 20_000
#: A body that is shorter has not so many that it matters.
_LARGE_BYTES: Final = 64 * 1024
# Where no quote is behind a backslash any more. It may end at the end, so that no piece is read twice.
_TEXT: Final = re.compile(rb'"[^"]*+"?')


def parameters_of(addressed: Addressed, raw_path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The operation's input, read and checked. Raises OperationRefused."""
    offer, shape = addressed.offer, addressed.operation.input_shape
    if shape is None or offer is None:
        return {}
    reader = Reader(offer.lenient_shapes)
    try:
        values = _values_of(shape, addressed, raw_path, headers, body)
        held = reader.read_members(shape, values, "")
    except WrongKind as error:
        raise OperationRefused("SerializationException", str(error)) from error
    if reader.mistakes:
        parameter = reader.mistakes[0][0]
        raise OperationRefused(offer.refusals.get(parameter, offer.refusal), in_words(reader.mistakes))
    return held


def _values_of(
    shape: StructureShape, addressed: Addressed, raw_path: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """Name on the wire → value, wherever the model says it is."""
    payload = shape.serialization.get("payload")
    is_in_body = any("location" not in member.serialization for member in shape.members.values())
    values: dict[str, Any] = {}
    if payload is not None:
        values[payload] = body if shape.members[payload].type_name == "blob" else _json_object(body)
    elif is_in_body:
        values |= _json_object(body)
    query = parse_qs(raw_path.partition("?")[2], keep_blank_values=True)
    for name, member in shape.members.items():
        at = str(member.serialization.get("name", name))
        match member.serialization.get("location"):
            case "uri":
                values[at] = _scalar(member, unquote(addressed.in_path[at], errors="backslashreplace"), at)
            case "querystring":
                values[at] = _from_query(member, query.get(at), at)
            case "header":
                values[at] = _scalar(member, headers[at], at) if at in headers else None
    return values


def _from_query(shape: Shape, texts: list[str] | None, path: str) -> Any:
    if texts is None:
        return None
    if isinstance(shape, ListShape):
        return [_scalar(shape.member, one, path) for one in texts]
    return _scalar(shape, texts[0], path)


def _scalar(shape: Shape, text: str, path: str) -> Any:
    """A text of the path, the query or a header as the JSON value that it stands for."""
    if shape.type_name in {"string", "timestamp", "blob"}:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WrongKind(f"{path} must be of type {shape.type_name}") from error


def _json_object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    if len(body) > _LARGE_BYTES:
        _check_values(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WrongKind("the body is not valid JSON") from error
    if not isinstance(value, dict):
        raise WrongKind("the body must be a JSON object")
    return value


def _check_values(body: bytes) -> None:
    """Counted without being parsed: a value that is a few bytes here is a hundred as an object. Raises WrongKind."""
    # Every text has a quote that is not behind a backslash, also one that is `"\\\\"`.
    texts = body.count(b'"') - body.count(b'\\"')
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if texts > 4 * MOST_VALUES or sum(map(_TEXT.sub(b"", plain).count, (b"{", b"[", b","))) > MOST_VALUES:
        raise WrongKind("the body has too many values")


def answer_of(operation: OperationModel, output: Mapping[str, Any], _: str) -> bytes:
    """The body of an answer without a payload member."""
    shape = operation.output_shape
    return orjson.dumps(_written(shape, output) if shape is not None else {})


def payload_of(operation: OperationModel) -> str | None:
    """Name of the output's member that is the whole body, as it is."""
    shape = operation.output_shape
    return shape.serialization.get("payload") if shape is not None else None


def _written(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        members = shape.members
        return {
            str(members[name].serialization.get("name", name)): _written(members[name], one)
            for name, one in value.items()
            if one is not None
        }
    if isinstance(shape, ListShape):
        return [_written(shape.member, one) for one in value]
    if isinstance(shape, MapShape):
        return {key: _written(shape.value, one) for key, one in value.items()}
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def refusal_of(operation: OperationModel | None, error: OperationRefused | NotAdmitted) -> tuple[int, str]:
    """Status and name of an error."""
    if isinstance(error, NotAdmitted):
        return 403, CODE_OF_CAUSE[error.cause]
    for shape in operation.error_shapes if operation is not None else ():
        if shape.name == error.code:
            return int(shape.metadata.get("error", {}).get("httpStatusCode", 400)), error.code
    return STATUS_OF_COMMON.get(error.code, 400), error.code


def refused(operation: OperationModel | None, error: OperationRefused | NotAdmitted, request_id: str) -> web.Response:
    """The answer that says no."""
    status, code = refusal_of(operation, error)
    members = error.members if isinstance(error, OperationRefused) else {}
    headers = {"x-amzn-RequestId": request_id, "Content-Type": CONTENT_TYPE, "x-amzn-ErrorType": code}
    return web.Response(body=orjson.dumps({"message": error.reason, **members}), status=status, headers=headers)
