"""Refusals of operations that are not offered here, in the form that clients of each protocol read."""

from typing import Final
from xml.sax.saxutils import escape

import orjson
from aiohttp import web

_JSON_TYPE: Final = "application/x-amz-json-1.0"


def words(operation: str) -> str:
    """What is told."""
    return f"The operation {operation} is not offered here."


def refuse_target(operation: str, request_id: str) -> web.Response:
    """For the JSON protocols, whose clients name it in X-Amz-Target."""
    code = "UnknownOperationException"
    body = {"__type": code, "message": words(operation), "Message": words(operation)}
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": code, "Content-Type": _JSON_TYPE}
    return web.Response(body=orjson.dumps(body), status=400, headers=headers)


def refuse_action(action: str, request_id: str) -> web.Response:
    """For the query protocol."""
    text = (
        "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code>"
        f"<Message>{escape(words(action))}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    headers = {"x-amzn-RequestId": request_id, "Content-Type": "text/xml"}
    return web.Response(body=text.encode(), status=400, headers=headers)
