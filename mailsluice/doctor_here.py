"""What `mailsluice doctor` looks at on our side: store, doors, and the files that the operator writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from aws_api.wire.access_keys import AccessKeyFile
from config.errors import Refused, SluiceError, TryLater
from config.redis_clients import redis_client
from config.settings import Settings
from config.settings_source import variable_of
from mailsluice.doctor_report import Finding, fail, ok, warn
from mailsluice.preflight import without_secrets
from mailsluice.probes import answers_http
from mailsluice.upstream import address, reachable
from sending_events.configuration_sets.set_file import check_file as check_sets
from sending_events.configuration_sets.set_file import sets_of_file
from sending_events.configuration_sets.store import ConfigurationSets
from sending_events.destinations.outbound_http import AllowedTargets, OutboundHttp
from smtp_gateway.users import UserFile
from spool.environment import check_environment
from spool.safety import SafetyWatch, no_answer
from worker.rules.keeper import check_file as check_rules

_START = "start it: `mailsluice up`, or its part alone"
WEBHOOK_SECONDS = 10.0


async def check_here(settings: Settings) -> AsyncIterator[Finding]:
    """Every finding as it is made."""
    yield await _store(settings)
    for finding in _files(settings):
        yield finding
    async for finding in _default_set(settings):
        yield finding
    async for finding in _webhooks(settings):
        yield finding
    yield await _api(settings)


async def _store(settings: Settings) -> Finding:
    redis = redis_client(settings.redis_url, connections=1)
    where = without_secrets(settings.redis.url) or "the embedded server"
    try:
        report = await SafetyWatch(redis, settings).check()
        if report.is_safe and not report.problems:
            await check_environment(redis, settings.spool.environment)
    except SluiceError as error:
        return fail("store", error.reason, "see docs/operations.md")
    finally:
        await redis.aclose()
    if no_answer(settings) in report.problems:
        # Beside it stands what this machine knows without the server: that its disk is full.
        told = " ".join((_START, *(one for one in report.problems if one != no_answer(settings))))
        return fail("store", f"{where} does not answer", told)
    told = " ".join(report.problems)
    if not report.is_safe:
        return fail("store", f"{where} does not keep what it answers for", told)
    return warn("store", where, told) if told else ok("store", f"{where} keeps what it answers for")


def _files(settings: Settings) -> Iterator[Finding]:
    """The files that are read while mail flows; a mistake in one is told before it costs mail."""
    looks: tuple[tuple[str, Path | None, Callable[[], Any]], ...] = (
        ("rules", settings.rules.file, lambda: check_rules(settings)),
        ("configuration sets", None, lambda: check_sets(settings)),
        ("users", settings.users_file, lambda: UserFile(settings.users_file).list()),
        ("access keys", settings.access_keys_file, lambda: AccessKeyFile(settings.access_keys_file).list()),
    )
    for about, file, look in looks:
        try:
            found = look()
        except (Refused, OSError, ValueError) as error:
            text = error.reason if isinstance(error, Refused) else str(error)
            yield fail(about, text, f"correct {file or 'the settings'}")
            continue
        if isinstance(found, list):
            yield ok(about, f"{len(found)} in {file}" if found else "none")
        elif about == "rules":
            yield ok(about, str(file) if file else "none: every mail is sent")
        else:
            yield ok(about, f"{len(settings.configuration_sets)} in the settings")


async def _default_set(settings: Settings) -> AsyncIterator[Finding]:
    """Nobody refuses a message for a default that does not exist; its events go nowhere."""
    name = settings.events.default_configuration_set
    if not name:
        return
    redis = redis_client(settings.redis_url, connections=1)
    try:
        is_known = await ConfigurationSets(redis, settings).is_known(name)
    except SluiceError:
        return  # told already
    finally:
        await redis.aclose()
    if not is_known:
        variable = variable_of("events", "default_configuration_set")
        text = f"{name}, the default one, exists nowhere: events of messages without a set go to no set's destinations"
        yield warn("configuration sets", text, f"correct {variable}, or create the set")


async def _webhooks(settings: Settings) -> AsyncIterator[Finding]:
    """A GET of each: any answer means that it is reached, and may be."""
    try:
        sets = sets_of_file(settings)
    except Refused:
        return  # told already
    http = OutboundHttp(AllowedTargets.of(settings.events.allowed_targets))
    try:
        for one in sets.values():
            for destination in one.destinations:
                url = destination.target.get("Url", "")
                if destination.kind == "webhook" and destination.is_enabled:
                    yield await _webhook(http, f"{one.name}:{destination.name}", str(url))
    finally:
        await http.close()


async def _webhook(http: OutboundHttp, name: str, url: str) -> Finding:
    try:
        answer = await http.get(url, time_limit_seconds=WEBHOOK_SECONDS)
    except Refused as error:
        return fail(
            "webhook", f"{name}: {error.reason}", "correct its Url, or allow its host in [events] allowed_targets"
        )
    except TryLater as error:
        return warn("webhook", f"{name}: {error.reason}", "events wait for it; see whether its server is up")
    return ok("webhook", f"{name} answers (with {answer.status}, which is all the same)")


async def _api(settings: Settings) -> Finding:
    host, port = reachable(settings.api.host), settings.api.port
    where = f"http://{address(settings.api.host, port)}/healthz"
    try:
        async with asyncio.timeout(5):
            is_well = await answers_http(host, port, "/healthz")()
    except TimeoutError:
        is_well = False
    if is_well:
        return ok("health", f"{where} says that mail is accepted and moving")
    return warn("health", f"{where} does not answer with 200", "look at what it says, or start `mailsluice up`")
