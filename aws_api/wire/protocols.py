"""The protocols that services here speak: name in botocore's models → how a request is read and an answer written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from botocore.model import OperationModel

from aws_api.wire import query, rest_json
from aws_api.wire.failures import NotAdmitted, OperationRefused
from aws_api.wire.services import Addressed


@dataclass(frozen=True, slots=True)
class Protocol:
    """The functions of one protocol; all pure."""

    content_type: str
    #: (operation, path and query, headers, body) → its input. Raises OperationRefused.
    read: Callable[[Addressed, str, Mapping[str, str], bytes], dict[str, Any]]
    #: (operation, output, request id) → body of the answer.
    write: Callable[[OperationModel, Mapping[str, Any], str], bytes]
    #: (operation when it is known, why, request id) → the answer that says no.
    refuse: Callable[[OperationModel | None, OperationRefused | NotAdmitted, str], web.Response]


QUERY: Final = Protocol(query.CONTENT_TYPE, query.parameters_of, query.answer_of, query.refused)

PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "rest-json": Protocol(rest_json.CONTENT_TYPE, rest_json.parameters_of, rest_json.answer_of, rest_json.refused),
    "query": QUERY,
}
