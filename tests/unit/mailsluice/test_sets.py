"""`mailsluice sets`: what is shown, and what is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from config.redis_clients import redis_client
from config.settings import Settings
from mailsluice.preflight import set_problems
from mailsluice.sets import read_doing, run, target_words, told
from sending_events.configuration_sets.records import EventDestination, cursor_name
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.progress import dead_letters_key, destination_key
from spool import keys
from worker import start

WRITTEN = {
    "Name": "hook",
    "Enabled": True,
    "MatchingEventTypes": ["bounce"],
    "WebhookDestination": {"Url": "https://hooks.example.com/path?key=hidden", "Secret": "0123456789abcdef"},
}
TOPIC = "arn:aws:sns:us-east-1:123456789012:events"
STREAM = "arn:aws:firehose:us-east-1:123456789012:deliverystream/events"


def settings_of(url: str, folder: Path, shape: dict[str, Any]) -> Settings:
    sets = {"written": {"EventDestinations": [shape]}}
    return Settings.model_validate({"redis": {"url": url}, "data": {"dir": folder}, "configuration_sets": sets})


async def fill(settings: Settings) -> None:
    async with redis_client(settings.redis_url) as redis:
        sets = ConfigurationSets(redis, settings)
        await sets.create("orders")
        off = EventDestination("off", False, frozenset({"Send"}), "log", {})
        topic = EventDestination("topic", True, frozenset({"Send"}), "sns", {"TopicARN": TOPIC})
        for destination in (off, topic):
            await sets.put_destination("orders", destination, is_new=True)
        for _ in range(3):
            await redis.xadd(keys.EVENTS, {"d": b"{}"})
        name = cursor_name("orders", "topic")
        trouble = {"failures": 2, "next_try_at_ms": 1_700_000_000_000, "error": "busy\x1b[31m"}
        await redis.hset(destination_key(name), mapping=trouble)
        await redis.xadd(dead_letters_key(name), {"id": "1-1", "d": "{}", "why": "x"})


async def test_sets_are_told_with_what_waits_and_why(redis_url: str, tmp_path: Path) -> None:
    settings = settings_of(redis_url, tmp_path, WRITTEN)
    await fill(settings)
    async with redis_client(redis_url) as redis:
        found = await ConfigurationSets(redis, settings).all()
        text = told(found, await read_doing(redis, found))
    assert text.splitlines() == [
        "orders: 2 destinations",
        "  off: log, disabled",
        "    told of Send",
        f"  topic: sns {TOPIC}, enabled",
        "    told of Send",
        "    at most 3 events behind",
        "    did not take them 2 times in a row, the next try at 2023-11-14 22:13:20 UTC: busy\\x1b[31m",
        "    1 dead letter",
        "",
        "written: 1 destination, in mailsluice.toml",
        "  hook: webhook https://hooks.example.com, enabled",
        "    told of Bounce",
        "    nothing waits",  # no process has seen it yet: it begins at the end
    ]


def test_one_set_is_told_for_programs_and_an_unknown_one_is_said(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(redis_url, tmp_path, WRITTEN)
    assert run(settings, "written", as_json=True) == 0
    said = capsys.readouterr().out
    (told_set,) = json.loads(said)
    assert (told_set["name"], told_set["is_of_file"]) == ("written", True)
    assert told_set["destinations"][0]["destination"] == "written:hook"
    assert "hidden" not in said
    assert "0123456789" not in said
    assert run(settings, "orders") == 1
    assert 'no configuration set "orders"' in capsys.readouterr().err
    assert run(Settings.model_validate({"redis": {"url": redis_url}}), None) == 0
    assert capsys.readouterr().out == "There are no configuration sets.\n"


@pytest.mark.parametrize(
    ("kind", "target", "words"),
    [
        ("cloudwatch", {"DimensionConfigurations": [{"DimensionName": "kind"}]}, "mailsluice by kind"),
        ("firehose", {"DeliveryStreamARN": STREAM}, STREAM),
        ("sns", {"TopicARN": TOPIC}, TOPIC),
        ("eventbridge", {"EventBusArn": "bus"}, "bus"),
        ("webhook", {"Url": "https://ann:secret@hooks.example.com:8443/x"}, "https://hooks.example.com:8443"),
        ("redis_stream", {"Key": "events", "Url": "redis://:secret@r:6379/0"}, "events at redis://r:6379"),
        ("redis_stream", {"Key": "events"}, "events"),
        ("file", {"Path": "a.ndjson"}, "a.ndjson"),
        ("log", {}, ""),
    ],
)
def test_a_target_is_told_without_secrets(kind: Any, target: dict[str, Any], words: str) -> None:
    assert target_words(EventDestination("one", True, frozenset(), kind, target)) == words


def test_mistakes_stop_up_and_a_worker_before_they_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = settings_of("redis://127.0.0.1:1", tmp_path, {**WRITTEN, "MatchingEventTypes": []})
    problems = set_problems(wrong)
    assert problems == [
        "[configuration_sets.written] EventDestinations 1 (hook): At least one event type must be specified."
    ]
    assert start.run(wrong) == 1
    assert problems[0] in capsys.readouterr().err
    assert set_problems(settings_of("redis://127.0.0.1:1", tmp_path, WRITTEN)) == []
