"""Which service and operation a request is for. Pure.

All services share a port. A request says what it wants in one of three ways: header `X-Amz-Target: Prefix.Operation`
(the JSON protocols), method and path (rest-json), or a form with `Action=Operation` (the query protocol). What says
none of these is no AWS request, and the door's other paths get it unchanged.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from botocore.model import OperationModel

from aws_api.wire.forms import text_of
from aws_api.wire.services import Addressed, Service, model_of

FORM: Final = "application/x-www-form-urlencoded"
_OPERATION_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")
#: Of an operation's name in a form; no escapes stand in one, so that it is as long as it looks.
_MOST_NAME_BYTES: Final = 200


def by_path(services: Iterable[Service], method: str, raw_path: str) -> Addressed | None:
    """The operation of a rest service with this method and path; the path as it was sent, still percent-encoded."""
    path = raw_path.partition("?")[0]
    for service in services:
        for at_method, template, operation in _routes(service.name):
            if at_method == method and (found := template.fullmatch(path)):
                return Addressed(service, operation, found.groupdict())
    return None


def by_target(method: str, raw_path: str, target: str) -> str | None:
    """The operation's name when the request is one of a JSON protocol."""
    if method != "POST" or raw_path.partition("?")[0] != "/" or not target:
        return None
    name = target.rpartition(".")[2]
    return name if _OPERATION_NAME.fullmatch(name) else "of this X-Amz-Target"


def may_be_form(method: str, raw_path: str, content_type: str) -> bool:
    """Whether the request may be one of the query protocol.

    GET is none: clients send POST, and a link that somebody follows must not become mail.
    """
    return method == "POST" and raw_path.partition("?")[0] == "/" and content_type.lower() == FORM


def by_form(form: bytes) -> str | None:
    """The action's name when the form has one. Some clients send it first, others behind all the rest."""
    start = 0 if form.startswith(b"Action=") else form.find(b"&Action=") + 1
    if not form.startswith(b"Action=", start):
        return None
    start += len(b"Action=")
    end = form.find(b"&", start, start + _MOST_NAME_BYTES + 1)
    if end < 0 and len(form) - start > _MOST_NAME_BYTES:
        return None
    name = text_of(form[start : end if end >= 0 else None])
    return name if _OPERATION_NAME.fullmatch(name) else None


def by_action(services: Iterable[Service], action: str) -> Addressed | None:
    """The operation of this name of a service that speaks the query protocol."""
    for service in services:
        if service.protocol == "query" and action in service.model.operation_names:
            return Addressed(service, service.model.operation_model(action), {})
    return None


@cache
def _routes(name: str) -> tuple[tuple[str, re.Pattern[str], OperationModel], ...]:
    """Method, path and operation of a rest service, the most literal path first; none of other protocols."""
    model = model_of(name)
    if not str(model.metadata["protocol"]).startswith("rest-"):
        return ()
    operations = [model.operation_model(one) for one in model.operation_names]
    operations.sort(key=lambda one: (one.http["requestUri"].count("{"), one.name))
    return tuple((one.http["method"], _pattern(one.http), one) for one in operations)


def _pattern(http: Mapping[str, str]) -> re.Pattern[str]:
    """`/messages/{messageId}`: a name is one segment; `{name+}` may be several."""
    template = http["requestUri"].partition("?")[0]
    pieces = re.split(r"\{(\w+)(\+?)\}", template)
    literals, names, greedy = pieces[0::3], pieces[1::3], pieces[2::3]
    holes = [f"(?P<{name}>{'.+' if more else '[^/]+'})" for name, more in zip(names, greedy, strict=True)]
    return re.compile("".join(re.escape(one) + hole for one, hole in zip(literals, [*holes, ""], strict=True)))
