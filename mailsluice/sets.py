"""The configuration sets of an installation and how their destinations are doing, for people and for programs.

Targets are shown without what may be a secret: of a URL its host alone, and not where a webhook's secret is kept.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import typer
from redis import asyncio as aioredis

from aws_api.admin.wording import escaped, instant, many
from config.settings import Settings
from mailsluice.looking import look
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination, Kind, cursor_name
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.destinations.cloud_watch import DEFAULT_NAMESPACE
from sending_events.progress import Progress, dead_letters_key, destination_key
from spool.scripts import answer_of
from spool.store import Spool

EXIT_UNKNOWN_SET = 1


@dataclass(frozen=True, slots=True)
class Doing:
    """How one destination is doing; one that is disabled has the zeros."""

    #: Events behind its cursor, those among them that it does not want as well.
    behind: int = 0
    failures: int = 0
    error: str = ""
    next_try_at_ms: int = 0
    dead_letters: int = 0


def run(settings: Settings, name: str | None, *, as_json: bool = False) -> int:
    """Prints the sets. Returns the exit code. Raises Refused when those of the file cannot be used."""

    async def show(spool: Spool, _: aioredis.Redis) -> int:
        kept = ConfigurationSets(spool.redis, settings)
        if name is None:
            found = await kept.all()
        else:
            one = await kept.get(name)
            if one is None:
                typer.echo(f"There is no configuration set {json.dumps(name)}.", err=True)
                return EXIT_UNKNOWN_SET
            found = (one,)
        doing = await read_doing(spool.redis, found)
        typer.echo(json.dumps(described(found, doing), indent=2) if as_json else told(found, doing))
        return 0

    return look(settings, show)


async def read_doing(redis: aioredis.Redis, found: tuple[ConfigurationSet, ...]) -> Mapping[str, Doing]:
    """By the destinations' names of their cursors; disabled ones have dead letters at most."""
    enabled = {cursor_name(one.name, each.name): each.is_enabled for one in found for each in one.destinations}
    behind = await Progress(redis).backlogs([name for name, is_enabled in enabled.items() if is_enabled])
    pipeline = redis.pipeline(transaction=False)
    for name in enabled:
        pipeline.hmget(destination_key(name), "failures", "error", "next_try_at_ms")
        pipeline.xlen(dead_letters_key(name))
    answers = iter(await answer_of(pipeline.execute()) if enabled else ())
    doing = {}
    for name in enabled:
        failures, error, next_try_at_ms = next(answers)
        told_error = (error or b"").decode("utf-8", "replace")
        doing[name] = Doing(
            behind.get(name, 0), int(failures or 0), told_error, int(next_try_at_ms or 0), next(answers)
        )
    return doing


def told(found: tuple[ConfigurationSet, ...], doing: Mapping[str, Doing]) -> str:
    """The sets for people."""
    if not found:
        return "There are no configuration sets."
    lines = []
    for one in found:
        where = ", in mailsluice.toml" if one.is_of_file else ""
        lines += ["", f"{one.name}: {many(len(one.destinations), 'destination')}{where}"]
        for each in one.destinations:
            lines += _destination_lines(one, each, doing)
    return "\n".join(lines[1:])


def _destination_lines(one: ConfigurationSet, each: EventDestination, doing: Mapping[str, Doing]) -> Iterator[str]:

    state = "enabled" if each.is_enabled else "disabled"
    yield f"  {each.name}: {' '.join(filter(None, (each.kind, escaped(target_words(each)))))}, {state}"
    yield f"    told of {', '.join(sorted(each.event_types))}"
    how = doing[cursor_name(one.name, each.name)]
    if each.is_enabled:
        yield f"    at most {many(how.behind, 'event')} behind" if how.behind else "    nothing waits"
    if how.failures:
        tries = f"{many(how.failures, 'time')} in a row"
        yield f"    did not take them {tries}, the next try at {instant(how.next_try_at_ms)}: {escaped(how.error)}"
    if how.dead_letters:
        yield f"    {many(how.dead_letters, 'dead letter')}"


def described(found: tuple[ConfigurationSet, ...], doing: Mapping[str, Doing]) -> list[dict[str, Any]]:
    """The object of --json."""
    return [
        {
            "name": one.name,
            "is_of_file": one.is_of_file,
            "destinations": [_described(one, each, doing) for each in one.destinations],
        }
        for one in found
    ]


def _described(one: ConfigurationSet, each: EventDestination, doing: Mapping[str, Doing]) -> dict[str, Any]:

    cursor = cursor_name(one.name, each.name)
    how = doing[cursor]
    return {
        "name": each.name,
        "destination": cursor,
        "is_enabled": each.is_enabled,
        "kind": each.kind,
        "target": target_words(each),
        "event_types": sorted(each.event_types),
        "behind": how.behind,
        "failures": how.failures,
        "error": how.error,
        "next_try_at_ms": how.next_try_at_ms,
        "dead_letters": how.dead_letters,
    }


def target_words(destination: EventDestination) -> str:
    """Where its events go, in a few words."""
    return _TARGET_WORDS[destination.kind](destination.target)


def _metrics(target: Mapping[str, Any]) -> str:
    names = ", ".join(str(one["DimensionName"]) for one in target["DimensionConfigurations"])
    return f"{target.get('Namespace', DEFAULT_NAMESPACE)} by {names}"


def _stream(target: Mapping[str, Any]) -> str:
    return str(target["Key"]) + (f" at {_host_of(str(target['Url']))}" if "Url" in target else "")


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


_TARGET_WORDS: Mapping[Kind, Callable[[Mapping[str, Any]], str]] = {
    "cloudwatch": _metrics,
    "firehose": lambda target: str(target["DeliveryStreamARN"]),
    "sns": lambda target: str(target["TopicARN"]),
    "eventbridge": lambda target: str(target["EventBusArn"]),
    "webhook": lambda target: _host_of(str(target["Url"])),
    "redis_stream": _stream,
    "file": lambda target: str(target["Path"]),
    "log": lambda _: "",
}
