"""/admin/ on the API port: what the command line can do, over HTTP. JSON in, JSON out.

Who asks shows `Authorization: Bearer <[api] admin_token>`; without a token in the settings nothing is served here
(404). A body must come as application/json, so that no form of a foreign web page can send one; there are no cookies,
and nothing is said about other origins. An act by filter ends after `ACT_SECONDS` with `is_complete` false: the same
call again goes on. Errors are `{"error": sentence}`: 400 names the member, 401, 404, 413, 415, 503.
"""

import dataclasses
import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from aws_api.admin import pausing
from aws_api.admin.bodies import DrainBody, MessagesBody, PauseBody, ScopeBody, Wanted, read
from aws_api.admin.by_filter import Budget, Sum, act_on_filter, count_filter
from aws_api.admin.by_id import Said, act_on_ids
from aws_api.admin.filters import MessageAction
from aws_api.admin.picture import described as described_picture
from aws_api.admin.picture import read_picture
from aws_api.admin.story import described as described_message
from aws_api.admin.story import read_surroundings
from aws_api.admin.who import Who
from aws_api.tools import TOOLS, Tools
from config.errors import Refused, TryLater
from sending_events.records import iso

#: A thousand ids of the longest kind fit.
MAX_BODY_BYTES: Final = 256 * 1024
ACT_SECONDS: Final = 20.0
BY: Final = "api"

_CLOSED = "/admin/ is closed: set [api] admin_token (SLUICE_API_ADMIN_TOKEN) and start the API process anew"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Answer(Exception):  # noqa: N818 - an answer, thrown from where the reason is known
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def guarded(handler: Callable[[web.Request, Tools], Awaitable[Any]]) -> Handler:
    """The handler's object as JSON, for those who show the token; its errors as answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        tools = request.app[TOOLS]
        try:
            _admit(request, tools.settings.api.admin_token)
            return _json(200, await handler(request, tools))
        except _Answer as error:
            return _json(error.status, {"error": str(error)})
        except Refused as error:
            return _json(400, {"error": error.reason})
        except TryLater as error:
            return _json(503, {"error": error.reason})

    return answer


def _admit(request: web.Request, token: str) -> None:
    if not token:
        raise _Answer(404, _CLOSED)
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not is_right:  # RFC 9110, 11.1: the scheme in any case
        raise _Answer(401, "the header Authorization must be Bearer and the token of [api] admin_token")


def _json(status: int, value: Any) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


async def _body(request: web.Request, kind: type[Wanted]) -> Wanted:
    if request.content_type != "application/json":
        raise _Answer(415, "the body must be application/json, and the header Content-Type say so")
    raw = bytearray()
    async for piece in request.content.iter_chunked(64 * 1024):
        raw += piece
        if len(raw) > MAX_BODY_BYTES:
            raise _Answer(413, f"the body must have at most {MAX_BODY_BYTES} bytes")
    return read(kind, bytes(raw))


async def _queue(_: web.Request, tools: Tools) -> Any:
    picture = await read_picture(tools.spool, tools.broker, tools.settings, tools.watch.report)
    return described_picture(picture)


async def _message(request: web.Request, tools: Tools) -> Any:
    message = await tools.spool.find(request.match_info["any_id"])
    if message is None:
        raise _Answer(404, "there is no message with this id; finished ones are forgotten after a while")
    return described_message(message, await read_surroundings(tools.spool, tools.settings, message))


async def _pause(request: web.Request, tools: Tools) -> Any:
    body = await _body(request, PauseBody)
    who = Who(BY, body.why)
    pauses = await pausing.pause(tools.spool, tools.settings, body.scope(), who, for_seconds=body.for_seconds)
    return {"paused": [{"scope": one.scope, "until": iso(one.until_ms) if one.until_ms else None} for one in pauses]}


async def _resume(request: web.Request, tools: Tools) -> Any:
    body = await _body(request, ScopeBody)
    done = await pausing.resume(tools.spool, tools.settings, body.scope(), Who(BY, body.why))
    return {
        "resumed": done.ended,
        "still_paused": [one.scope for one in done.still_paused],
        "messages_tried_again": done.woken,
        "is_probed": done.is_probed,
    }


def _moves(action: MessageAction) -> Handler:
    async def move(request: web.Request, tools: Tools) -> Any:
        body = await _body(request, MessagesBody)
        who = Who(BY, body.why)
        if body.ids is not None:
            said = await act_on_ids(tools.spool, action, body.ids, who)
            return {"messages": [_named(one) for one in said]}
        assert body.filter is not None
        chosen, budget = body.filter.filter(), Budget(ACT_SECONDS)
        if body.dry_run:
            total = await count_filter(tools.spool, action, chosen, budget)
        else:
            total = await act_on_filter(tools.spool, action, chosen, budget, who)
        if not total.messages:
            pausing.check_names(chosen.lane, chosen.route, tools.settings)
        return _summed(total, is_dry_run=body.dry_run)

    return guarded(move)


def _named(said: Said) -> dict[str, Any]:
    values = dataclasses.asdict(said)
    return {"id": values.pop("any_id"), **values}


def _summed(total: Sum, *, is_dry_run: bool) -> dict[str, Any]:
    return {"dry_run": is_dry_run, **dataclasses.asdict(total)}


async def _drain(request: web.Request, tools: Tools) -> Any:
    body, worker = await _body(request, DrainBody), request.match_info["worker"]
    who = Who(BY, body.why)
    if not body.undo:
        await pausing.drain(tools.spool, worker, who)
        return {"worker": worker, "is_draining": True}
    return {"worker": worker, "is_draining": False, "was_draining": await pausing.undrain(tools.spool, worker, who)}


async def _unknown(request: web.Request, _: Tools) -> Any:
    raise _Answer(404, f"there is no call {request.method} {request.path}")


#: After all others: what is no call is told as every error.
UNKNOWN: web.RouteDef = web.route("*", "/admin/{rest:.*}", guarded(_unknown))

ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/admin/queue", guarded(_queue), allow_head=False),
    web.get("/admin/messages/{any_id:.+}", guarded(_message), allow_head=False),
    web.post("/admin/pause", guarded(_pause)),
    web.post("/admin/resume", guarded(_resume)),
    web.post("/admin/messages/hold", _moves("hold")),
    web.post("/admin/messages/release", _moves("release")),
    web.post("/admin/messages/cancel", _moves("cancel")),
    web.post("/admin/messages/retry", _moves("retry")),
    web.post("/admin/workers/{worker}/drain", guarded(_drain)),
)
