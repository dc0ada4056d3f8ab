"""/admin/: what an operator does over HTTP, on a real spool."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aws_api.admin.bodies import MOST_IDS
from aws_api.admin.door import MAX_BODY_BYTES, ROUTES
from aws_api.app import make_app
from config.redis_clients import redis_client
from sending_events.operator_acts import OperatorAct
from sending_events.rendering import decoded
from spool import keys
from spool.assembly import open_spool
from spool.states import Place
from spool.store import Spool
from tests.api_tools import tools_of
from tests.spooled import accept, beat, settings_of, settle

TOKEN = "a-token-of-tests-0123"


class Admin:
    """A client of the application, with the right token unless a test says otherwise."""

    def __init__(self, client: aiohttp.ClientSession, url: str, spool: Spool) -> None:
        self.client, self.url, self.spool = client, url, spool

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {TOKEN}", **headers}
        options: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body} if body else {}
        async with self.client.request(method, self.url + path, headers=sent, **options) as answer:
            assert answer.content_type == "application/json"
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    async def post(self, path: str, body: Any) -> Any:
        status, answer = await self.call("POST", path, body)
        assert status == 200, answer
        return answer

    async def acts(self) -> list[OperatorAct]:
        raw = [fields[b"d"] for _, fields in await self.spool.redis.xrange(keys.EVENTS)]
        return [one for one in map(decoded, raw) if isinstance(one, OperatorAct)]


@pytest.fixture
async def admin(redis_url: str, tmp_path) -> AsyncIterator[Admin]:
    settings = settings_of(redis_url, tmp_path, api={"admin_token": TOKEN})
    async for one in an_admin(settings):
        yield one


async def an_admin(settings) -> AsyncIterator[Admin]:
    redis = redis_client(settings.redis_url)
    spool = open_spool(settings, redis=redis)
    server = TestServer(make_app(tools_of(settings, redis, spool)))
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as client:
            yield Admin(client, str(server.make_url("")).rstrip("/"), spool)
    finally:
        await server.close()
        await redis.aclose()


PATHS = [
    (route.method, route.path.replace("{any_id:.+}", "x").replace("{worker}", "x"))
    for route in ROUTES
    if isinstance(route, web.RouteDef)
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "shown", ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer{TOKEN}", f"Basic {TOKEN}", "Bearer \u00e9"]
)
async def test_without_the_token_nothing_is_said_or_done(admin: Admin, method: str, path: str, shown: str):
    status, answer = await admin.call(method, path, {"ids": ["x"]} if method == "POST" else None, Authorization=shown)
    assert status == 401
    assert list(answer) == ["error"]
    assert TOKEN not in str(answer)


async def test_the_scheme_may_be_written_in_any_case(admin: Admin):
    assert (await admin.call("GET", "/admin/queue", Authorization=f"bearer {TOKEN}"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/admin/nosuch"), ("POST", "/admin/messages/holdd"), ("GET", "/admin/pause"), ("PUT", "/admin/queue")],
)
async def test_what_is_no_call_is_told_as_json(admin: Admin, method: str, path: str):
    status, answer = await admin.call(method, path, {"ids": ["x"]})
    assert (status, answer) == (404, {"error": f"there is no call {method} {path}"})
    assert (await admin.call(method, path, Authorization="Bearer x"))[0] == 401


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_without_a_token_in_the_settings_admin_is_closed_and_says_how_to_open_it(
    redis_url, tmp_path, method: str, path: str
):
    async for admin in an_admin(settings_of(redis_url, tmp_path)):
        for shown in ("Bearer ", "Bearer x", ""):
            status, answer = await admin.call(method, path, Authorization=shown)
            assert status == 404
            assert "SLUICE_API_ADMIN_TOKEN" in answer["error"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_of_a_foreign_page_is_refused(admin: Admin, content_type: str):
    status, answer = await admin.call("POST", "/admin/pause", b'{"why": "x"}', **{"Content-Type": content_type})
    assert status == 415
    assert "application/json" in answer["error"]
    assert not await admin.spool.read_pauses()


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/admin/pause", b"{", "Invalid JSON"),
        ("/admin/pause", b"[]", "object"),
        ("/admin/pause", {"lanes": "bulk"}, "lanes: "),
        ("/admin/pause", {"lane": 7}, "lane: "),
        ("/admin/pause", {"lane": "nosuch"}, "lane: there is no lane of this name; there are: express, bulk"),
        ("/admin/pause", {"route": "nosuch"}, "route: there is no route of this name; there are: default"),
        ("/admin/pause", {"domain": "a b"}, "domain: "),
        ("/admin/pause", {"lane": ""}, "lane: must not be empty"),
        ("/admin/resume", {"user": ""}, "user: must not be empty"),
        ("/admin/resume", {"lane": "nosuch"}, "lane: there is no lane of this name; there are: express, bulk"),
        ("/admin/messages/cancel", {"filter": {"reason": ""}}, "reason: must not be empty"),
        ("/admin/messages/hold", {"filter": {"lane": "nosuch"}}, "lane: there is no lane of this name"),
        ("/admin/messages/hold", {"filter": {"route": "nosuch"}, "dry_run": False}, "route: there is no route"),
        ("/admin/pause", {"for_seconds": -1}, "for_seconds: "),
        ("/admin/pause", {"for_seconds": "30m"}, "for_seconds: "),
        ("/admin/resume", {"for_seconds": 5}, "for_seconds: "),
        ("/admin/messages/hold", {"why": "x"}, "must have either ids or filter"),
        ("/admin/messages/hold", {"ids": ["a"], "filter": {"lane": "bulk"}}, "must have either ids or filter"),
        ("/admin/messages/hold", {"ids": ["a"], "dry_run": False}, "dry_run goes with filter only"),
        ("/admin/messages/hold", {"ids": []}, "ids: "),
        ("/admin/messages/hold", {"ids": ["a"] * (MOST_IDS + 1)}, "ids: "),
        ("/admin/messages/hold", {"filter": {}}, "filter: must have at least one member"),
        ("/admin/messages/hold", {"filter": {"states": ["held"]}}, "states: hold does nothing about held"),
        ("/admin/messages/hold", {"filter": {"states": ["asleep"]}}, "filter.states.0: "),
        ("/admin/messages/hold", {"filter": {"older_than_seconds": "x"}}, "filter.older_than_seconds: "),
        ("/admin/messages/retry", {"filter": {"states": ["lane"]}}, "states: retry does nothing about lane"),
        ("/admin/workers/nosuch/drain", {"why": "x"}, "worker: no living worker has this name"),
    ],
)
async def test_a_wrong_member_is_named(admin: Admin, path: str, body: Any, words: str):
    options = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
    status, answer = await admin.call("POST", path, body, **options)
    assert status == 400
    assert words in answer["error"]
    assert await admin.acts() == []


async def test_a_body_that_is_too_large_is_refused(admin: Admin):
    body = b" " * (MAX_BODY_BYTES + 1)
    status, _ = await admin.call("POST", "/admin/pause", body, **{"Content-Type": "application/json"})
    assert status == 413


async def test_a_pause_is_begun_seen_and_ended(admin: Admin):
    answer = await admin.post("/admin/pause", {"lane": "bulk", "for_seconds": 1800, "why": "news first"})
    assert answer["paused"][0]["scope"] == "lane:bulk"
    assert answer["paused"][0]["until"]
    _, seen = await admin.call("GET", "/admin/queue")
    [pause] = seen["pauses"]
    assert (pause["scope"], pause["why"], pause["by"]) == ("lane:bulk", "news first", "api")
    answer = await admin.post("/admin/resume", {"lane": "bulk"})
    assert (answer["resumed"], answer["still_paused"]) == (["lane:bulk"], [])
    assert [(act.action, act.by, act.why) for act in await admin.acts()] == [
        ("pause", "api", "news first"),
        ("resume", "api", ""),
    ]


async def test_no_scope_is_everything(admin: Admin):
    status, answer = await admin.call("POST", "/admin/pause", b"", **{"Content-Type": "application/json"})
    assert (status, answer["paused"][0]["scope"]) == (200, "all")


async def test_messages_are_acted_on_by_their_ids(admin: Admin):
    due, held = await accept(admin.spool), await accept(admin.spool, header_message_id="<a/b@example.com>")
    await settle(admin.spool, held, to="held", reason="x")
    answer = await admin.post("/admin/messages/hold", {"ids": [due, "nosuch"]})
    assert [(one["id"], one["is_done"]) for one in answer["messages"]] == [
        (due, True),
        ("nosuch", False),
    ]
    await admin.post("/admin/messages/release", {"ids": [due]})
    await admin.post("/admin/messages/cancel", {"ids": ["<a/b@example.com>"], "why": "a mistake"})
    status, story = await admin.call("GET", "/admin/messages/%3Ca/b@example.com%3E")
    assert (status, story["message_id"], story["state"]) == (200, held, "done")
    assert [one["state"] for one in story["recipients"]] == ["dropped"]
    assert (await admin.call("GET", "/admin/messages/nosuch"))[0] == 404
    assert [act.action for act in await admin.acts()] == ["hold", "release", "cancel"]


async def test_a_filter_is_a_dry_run_until_it_is_meant(admin: Admin):
    ids = [await accept(admin.spool, 2) for _ in range(3)]
    chosen = {"filter": {"sender": "sender@example.com"}}
    answer = await admin.post("/admin/messages/hold", chosen)
    assert (answer["dry_run"], answer["messages"], answer["recipients"]) == (True, 3, 6)
    assert answer["is_complete"]
    assert await admin.spool.redis.zcard(keys.HELD) == 0
    answer = await admin.post("/admin/messages/hold", {**chosen, "dry_run": False})
    assert (answer["dry_run"], answer["messages"]) == (False, 3)
    assert {(await admin.spool.load_summaries(ids))[one].place for one in ids} == {Place.HELD}
    [act] = await admin.acts()
    assert (act.chosen_by, act.counts) == ({"sender": "sender@example.com"}, {"messages": 3, "recipients": 6})


async def test_a_worker_is_drained_and_not_any_more(admin: Admin):
    await beat(admin.spool, late_ms=-60_000)
    assert (await admin.post("/admin/workers/worker-1/drain", {"why": "upgrade"}))["is_draining"]
    _, seen = await admin.call("GET", "/admin/queue")
    assert seen["workers"][0]["draining_since"]
    assert (await admin.post("/admin/workers/worker-1/drain", {"undo": True}))["was_draining"]


async def test_without_the_spools_server_it_says_so(admin: Admin, redis_server):
    redis_server.kill()
    status, answer = await admin.call("POST", "/admin/messages/hold", {"ids": ["x"]})
    assert (status, answer["error"]) == (503, "the spool does not answer")
