"""The query protocol: parameters from a form, answers and errors as XML.

Lists are `Name.member.1`, an empty one `Name=`; structures are dotted; blobs are base64, perhaps with line breaks
inside. `Version` is not asked for: clients of 2011 send none. Numbers and booleans are texts and read here; lengths,
patterns and the like are checked with the other protocols' (shapes.py). Each answer has `x-amzn-RequestId`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from aiohttp import web
from botocore.model import ListShape, OperationModel, Shape, StructureShape

from aws_api.wire.failures import Cause, NotAdmitted, OperationRefused
from aws_api.wire.forms import WrongForm, blob_of, members_of, text_of, tree_of
from aws_api.wire.services import Addressed
from aws_api.wire.shapes import Reader, WrongKind, in_words

CONTENT_TYPE: Final = "text/xml"
_NAMESPACE: Final = "http://ses.amazonaws.com/doc/2010-12-01/"

#: What is wrong with who asks → code and status (SES API reference, "Common Errors").
CODE_OF_CAUSE: Final[dict[Cause, tuple[str, int]]] = {
    "no_signature": ("MissingAuthenticationToken", 403),
    "incomplete": ("IncompleteSignature", 400),
    "unknown_key": ("InvalidClientTokenId", 403),
    "wrong_signature": ("SignatureDoesNotMatch", 403),
    "wrong_time": ("SignatureDoesNotMatch", 403),
}
#: Errors that every service has → their code and status in this protocol.
CODE_OF_COMMON: Final[dict[str, tuple[str, int]]] = {
    "ValidationException": ("ValidationError", 400),
    "AccessDeniedException": ("AccessDenied", 403),
    "SerializationException": ("MalformedInput", 400),
    "UnknownOperationException": ("InvalidAction", 400),
    "RequestTimeoutException": ("RequestTimeout", 408),
    "RequestEntityTooLargeException": ("RequestEntityTooLarge", 413),
    "InternalFailure": ("InternalFailure", 500),
    "ServiceUnavailableException": ("ServiceUnavailable", 503),
}


def parameters_of(addressed: Addressed, _: str, __: Mapping[str, str], form: bytes) -> dict[str, Any]:
    """The operation's input, read and checked. Raises OperationRefused."""
    offer, shape = addressed.offer, addressed.operation.input_shape
    if shape is None or offer is None:
        return {}
    reader = Reader(offer.lenient_shapes)
    try:
        held = reader.read_members(shape, _structure(shape, tree_of(form), ""), "")
    except (WrongKind, WrongForm) as error:
        raise OperationRefused("SerializationException", str(error)) from error
    if reader.mistakes:
        parameter = reader.mistakes[0][0]
        raise OperationRefused(offer.refusals.get(parameter, offer.refusal), in_words(reader.mistakes))
    return held


def _value(shape: Shape, node: Any, path: str) -> Any:
    """What a part of the form stands for, in the kinds that JSON has; blobs decoded."""
    match shape:
        case StructureShape():
            return _structure(shape, {} if node == b"" else _as_tree(node, path), path)
        case ListShape():
            members = [] if node == b"" else members_of(_as_tree(node, path))
            return [_value(shape.member, one, f"{path}.{number}") for number, one in enumerate(members, 1)]
    if not isinstance(node, bytes):
        raise WrongKind(f"{path} must be a value")
    read = _SCALARS.get(shape.type_name)
    if read is None:
        raise WrongKind(f"{path} cannot be given in a form")
    try:
        return read(node)
    except ValueError as error:
        raise WrongKind(f"{path} must be of type {shape.type_name}") from error


def _structure(shape: StructureShape, tree: Mapping[str, Any], path: str) -> dict[str, Any]:
    found = {}
    for name, member in shape.members.items():
        at = str(member.serialization.get("name", name))
        if at in tree:
            found[at] = _value(member, tree[at], f"{path}.{name}" if path else name)
        elif name in shape.required_members and isinstance(member, StructureShape) and not member.required_members:
            found[at] = {}  # a form cannot write a structure without members
    return found


def _as_tree(node: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(node, dict):
        raise WrongKind(f"{path} must have members")
    return node


def _boolean(value: bytes) -> bool:
    text = value.lower()
    if text not in {b"true", b"false"}:
        raise ValueError
    return text == b"true"


#: Kind of shape → how its text is read.
_SCALARS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "string": text_of,
    "character": text_of,
    "timestamp": text_of,
    "blob": blob_of,
    "boolean": _boolean,
    "integer": lambda value: int(text_of(value)),
    "long": lambda value: int(text_of(value)),
    "float": lambda value: float(text_of(value)),
    "double": lambda value: float(text_of(value)),
}


def answer_of(operation: OperationModel, output: Mapping[str, Any], request_id: str) -> bytes:
    """The body of an answer."""
    name, shape = operation.name, operation.output_shape
    result = _xml(shape, output) if shape is not None else ""
    return (
        f'<{name}Response xmlns="{_NAMESPACE}"><{name}Result>{result}</{name}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode("utf-8", "replace")


def _xml(shape: Shape, value: Any) -> str:
    """What stands inside the element of the value."""
    match shape:
        case StructureShape():
            return "".join(
                f"<{name}>{_xml(member, value[name])}</{name}>"
                for name, member in shape.members.items()
                if value.get(name) is not None
            )
        case ListShape():
            return "".join(f"<member>{_xml(shape.member, one)}</member>" for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return _escaped(str(value))


def _escaped(text: str) -> str:
    """XML 1.0 cannot write most control characters, and texts repeat what the client sent."""
    if text.isprintable():
        return escape(text)
    return escape("".join(one if one.isprintable() or one in "\t\n" else "?" for one in text))


def refusal_of(operation: OperationModel | None, error: OperationRefused | NotAdmitted) -> tuple[int, str]:
    """Status and code of an error. SES has many codes that no model names (InvalidParameterValue), all with 400."""
    if isinstance(error, NotAdmitted):
        code, status = CODE_OF_CAUSE[error.cause]
        return status, code
    for shape in operation.error_shapes if operation is not None else ():
        told = shape.metadata.get("error", {})
        if error.code in {shape.name, told.get("code")}:
            return int(told.get("httpStatusCode", 400)), str(told.get("code", shape.name))
    code, status = CODE_OF_COMMON.get(error.code, (error.code, 400))
    return status, code


def refused(operation: OperationModel | None, error: OperationRefused | NotAdmitted, request_id: str) -> web.Response:
    """The answer that says no."""
    status, code = refusal_of(operation, error)
    members = error.members if isinstance(error, OperationRefused) else {}
    more = "".join(f"<{name}>{_escaped(value)}</{name}>" for name, value in members.items())
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{"Sender" if status < 500 else "Receiver"}</Type>'
        f"<Code>{code}</Code><Message>{_escaped(error.reason)}</Message>{more}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    headers = {"x-amzn-RequestId": request_id, "Content-Type": CONTENT_TYPE}
    return web.Response(body=body.encode("utf-8", "replace"), status=status, headers=headers)
