"""What is told about operations that are not offered here; the whole answer for protocols that nothing here speaks."""

from typing import Final

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
