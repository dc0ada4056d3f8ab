"""What `mailsluice doctor` finds on our side, with a real server, real files and a real webhook."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from config.redis_clients import redis_client
from config.settings import Settings
from mailsluice.doctor_here import check_here
from mailsluice.doctor_report import Finding
from sending_events.configuration_sets.store import ConfigurationSets


async def look(folder: Path, redis_url: str = "", **sections: Any) -> list[Finding]:
    api = {"port": 9}  # nobody listens there
    settings = Settings.model_validate({"data": {"dir": folder}, "redis": {"url": redis_url}, "api": api, **sections})
    return [one async for one in check_here(settings)]


def named(findings: list[Finding], about: str) -> Finding:
    (found,) = [one for one in findings if one.about == about]
    return found


@pytest.fixture
async def webhook() -> AsyncIterator[str]:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=405)

    app = web.Application()
    app.router.add_get("/hook", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


def sets_with(url: str) -> dict[str, Any]:
    target = {"Url": url, "Secret": "0123456789abcdef"}
    one = {"Name": "hook", "Enabled": True, "MatchingEventTypes": ["send"], "WebhookDestination": target}
    return {"orders": {"EventDestinations": [one]}}


async def test_a_store_that_is_safe_and_files_that_are_not_there_are_well(tmp_path: Path, redis_url: str) -> None:
    found = await look(tmp_path, redis_url, redis={"url": redis_url, "min_free_disk_bytes": 0})
    told = {one.about: one.level for one in found}
    assert told == {
        "store": "ok",
        "rules": "ok",
        "configuration sets": "ok",
        "users": "ok",
        "access keys": "ok",
        "health": "warn",
    }


async def test_a_store_that_does_not_answer_is_told_with_what_starts_it(tmp_path: Path) -> None:
    found = named(await look(tmp_path, redis={"min_free_disk_bytes": 0}), "store")
    assert (found.level, found.text) == ("fail", "the embedded server does not answer")
    assert "mailsluice up" in found.remedy
    assert "make room" not in found.remedy
    full = named(await look(tmp_path, redis={"min_free_disk_bytes": 10**19}), "store")
    assert full.text == found.text
    assert "mailsluice up" in full.remedy
    assert full.remedy.endswith("make room in the data dir.")


async def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = 'x'\naction = { type = 'FLY' }\n")
    (tmp_path / "users.json").write_text("{")
    found = await look(tmp_path, rules={"file": rules}, configuration_sets=sets_with("ftp://example.com"))
    assert named(found, "rules").level == "fail"
    assert str(rules) in named(found, "rules").remedy
    assert named(found, "configuration sets").level == "fail"
    assert "0123456789abcdef" not in "".join(one.text for one in found)


async def test_a_default_set_that_exists_nowhere_is_told(tmp_path: Path, redis_url: str) -> None:
    async def levels(**sections: Any) -> list[str]:
        found = await look(tmp_path, redis_url, **sections)
        return [one.level for one in found if one.about == "configuration sets"]

    default = {"events": {"default_configuration_set": "orders"}}
    assert await levels(**default) == ["ok", "warn"]
    assert await levels(**default, configuration_sets={"orders": {}}) == ["ok"]
    assert await levels(**default, relay={"ses_configuration_set": "orders"}) == ["ok"]
    made = Settings.model_validate({"data": {"dir": tmp_path}, "redis": {"url": redis_url}})
    redis = redis_client(redis_url, connections=1)
    await ConfigurationSets(redis, made).create("orders")
    await redis.aclose()
    assert await levels(**default) == ["ok"]


async def test_a_webhook_that_answers_at_all_is_well(tmp_path: Path, webhook: str) -> None:
    allowed = {"allowed_targets": ["127.0.0.1"]}
    found = named(await look(tmp_path, configuration_sets=sets_with(webhook), events=allowed), "webhook")
    assert (found.level, found.text) == ("ok", "orders:hook answers (with 405, which is all the same)")


async def test_a_webhook_that_may_not_be_reached_or_is_away_is_told_apart(tmp_path: Path) -> None:
    private = sets_with("https://localhost/hook")
    refused = [one for one in await look(tmp_path, configuration_sets=private) if one.about == "webhook"]
    assert [one.level for one in refused] == ["fail"]
    assert "allowed_targets" in refused[0].remedy
    away = {"configuration_sets": sets_with("http://127.0.0.1:9/hook"), "events": {"allowed_targets": ["127.0.0.1"]}}
    assert named(await look(tmp_path, **away), "webhook").level == "warn"
