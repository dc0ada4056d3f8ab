"""Whether the server that holds the spool keeps what it answers for; the doors ask before they say OK.

Theory of operation
1. Every few seconds one round trip fetches INFO and a few CONFIG values; the free disk space is read beside it.
2. CHECKS is a table of pure functions, each of which finds one fault and says what to do about it. Any fault means
   "not safe": the doors answer 4xx until it is gone. A server that does not answer is not safe either.
3. "Full" is a second, independent word: memory or disk above the high-water mark. New mail gets 452; claims and
   outcomes go on, because the mark lies well below the server's own limit. Full ends a little below the mark, so
   that a server at the mark does not change its mind with every message. The disk has its word about a server that
   does not answer too: a full one is why an embedded server ends. Of its memory what was known stays.
4. A server that forbids CONFIG (managed ones do) cannot prove its fsync policy. It is not safe until the operator
   has chosen a weaker `redis.durability` by name.

It does not probe by writing, and it does not watch the content store's own health: a failed put is refused there.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import asyncio as aioredis
from redis import exceptions

from config.logs import get_log
from config.settings import RedisSettings, Settings
from spool.disk_room import disk_sentence, least_free_disk_bytes, watched_folders

OLDEST_VERSION = (6, 2)
# Full ends this many points below the mark.
HYSTERESIS_POINTS = 5

#: How strong an append-only policy is; a larger number keeps more.
STRENGTH = {"none": 0, "everysec": 1, "always": 2}

NO_ANSWER = "The spool's server does not answer: start it, or correct redis.url."
#: The folder is not named: /healthz has no login.
NO_ANSWER_EMBEDDED = (
    "The spool's server does not answer: `mailsluice up` is not running, or redis/server.log in the data dir says why."
)


@dataclass(frozen=True, slots=True)
class SafetyReport:
    """What the doors, /healthz and the commands are told."""

    is_safe: bool
    is_full: bool
    #: One sentence each: what is wrong and what to do. With `durability` below always also what is risked.
    problems: tuple[str, ...]
    #: Share of the memory limit in use, and the least free disk space, where they are known.
    memory_percent: float | None = None
    free_disk_bytes: int | None = None


UNCHECKED = SafetyReport(is_safe=False, is_full=False, problems=("The spool's server was not checked yet.",))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server and the disk said. `config` None: the server forbids CONFIG."""

    info: Mapping[str, Any]
    config: Mapping[str, str] | None
    free_disk_bytes: int | None = None


def _version_is_old(facts: Facts, _: RedisSettings) -> str:
    text = str(facts.info.get("redis_version", "0"))
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if version >= OLDEST_VERSION:
        return ""
    return f"The server is version {text}: use Redis 6.2 or newer, or any Valkey."


def _is_loading(facts: Facts, _: RedisSettings) -> str:
    if not (facts.info.get("loading") or facts.info.get("async_loading")):
        return ""
    return "The server is still loading its data: wait until it is done."


def _is_replica(facts: Facts, _: RedisSettings) -> str:
    if facts.info.get("role", "master") == "master":
        return ""
    return "The server is a replica and takes no writes: let redis.url point to the primary."


def _evicts(facts: Facts, _: RedisSettings) -> str:
    policy = str(facts.info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return ""
    return f"The server may throw mail away (maxmemory-policy {policy}): set maxmemory-policy to noeviction."


def _append_log_fails(facts: Facts, _: RedisSettings) -> str:
    if facts.info.get("aof_last_write_status", "ok") == "ok":
        return ""
    return "The server could not write its append-only file: look at its disk and its log."


def _snapshot_stops_writes(facts: Facts, _: RedisSettings) -> str:
    config = facts.config or {}
    stops = config.get("stop-writes-on-bgsave-error") == "yes" and config.get("save")
    if facts.info.get("rdb_last_bgsave_status", "ok") == "ok" or not stops:
        return ""
    return "The server refuses writes because its last snapshot failed: look at its disk, or set save to nothing."


#: Each finds one fault that makes the store unsafe whatever durability was chosen; "" = no fault.
CHECKS: tuple[Callable[[Facts, RedisSettings], str], ...] = (
    _version_is_old,
    _is_loading,
    _is_replica,
    _evicts,
    _append_log_fails,
    _snapshot_stops_writes,
)


def durability_of(facts: Facts) -> str | None:
    """The policy the server keeps: always, everysec or none; None = the server does not tell."""
    if not facts.info.get("aof_enabled"):
        return "none"
    if facts.config is None or "appendfsync" not in facts.config:
        return None
    if facts.config.get("no-appendfsync-on-rewrite") == "yes":
        return "none"  # no fsync at all while a rewrite or a snapshot runs
    return {"always": "always", "everysec": "everysec"}.get(facts.config["appendfsync"], "none")


def _durability_problem(kept: str | None, wanted: str) -> tuple[str, bool]:
    """(sentence or "", whether it makes the store unsafe)."""
    if kept is None:
        is_unsafe = wanted != "none"
        advice = 'if you trust it, set redis.durability to "none"' if is_unsafe else 'redis.durability is "none"'
        return f"The server forbids CONFIG, so that its fsync policy is not proven: {advice}.", is_unsafe
    if STRENGTH[kept] < STRENGTH[wanted]:
        has = "keeps no append-only file that is synced" if kept == "none" else "syncs only once a second"
        advice = (
            f"CONFIG SET appendonly yes, CONFIG SET appendfsync {wanted}, CONFIG SET no-appendfsync-on-rewrite no "
            "(and in its configuration file)"
        )
        sentence = f"The server {has} and would lose accepted mail: {advice}, or choose redis.durability {kept}."
        return sentence, True
    if kept != "always":
        return f"The server keeps mail with durability {kept}: a crash can lose mail that was accepted.", False
    return "", False


def _memory_percent(info: Mapping[str, Any]) -> float | None:
    limit = int(info.get("maxmemory") or info.get("total_system_memory") or 0)
    return 100 * int(info.get("used_memory", 0)) / limit if limit else None


def _full_problems(
    percent: float | None, free_disk_bytes: int | None, policy: RedisSettings, *, was_full: bool
) -> list[str]:
    mark = policy.memory_high_water_percent - (HYSTERESIS_POINTS if was_full else 0)
    problems = []
    if percent is not None and percent >= mark:
        problems.append(
            f"The server uses {percent:.0f} % of its memory (mark: {policy.memory_high_water_percent} %): give it "
            "more maxmemory, or wait until waiting mail is sent."
        )
    if told := disk_sentence(free_disk_bytes, policy, was_full=was_full):
        problems.append(told)
    return problems


def judged(facts: Facts, policy: RedisSettings, *, was_full: bool) -> SafetyReport:
    """The report on these facts; `was_full` is what the report before said."""
    faults = [fault for check in CHECKS if (fault := check(facts, policy))]
    durability, is_too_weak = _durability_problem(durability_of(facts), policy.durability)
    percent = _memory_percent(facts.info)
    full = _full_problems(percent, facts.free_disk_bytes, policy, was_full=was_full)
    return SafetyReport(
        is_safe=not faults and not is_too_weak,
        is_full=bool(full),
        problems=(*faults, *([durability] if durability else []), *full),
        memory_percent=percent,
        free_disk_bytes=facts.free_disk_bytes,
    )


def no_answer(settings: Settings) -> str:
    """The sentence about a server that does not answer, with what to do."""
    return NO_ANSWER if settings.redis.url else NO_ANSWER_EMBEDDED


class SafetyWatch:
    """Keeps `report` current. One a process, built at its start, passed to whoever says OK."""

    def __init__(
        self, redis: aioredis.Redis, settings: Settings, *, every_seconds: float = 3.0, answer_seconds: float = 5.0
    ) -> None:
        self.report = UNCHECKED
        self._redis = redis
        self._policy = settings.redis
        self._no_answer = no_answer(settings)
        self._memory_percent: float | None = None
        self._folders = watched_folders(settings)
        self._every_seconds = every_seconds
        self._answer_seconds = answer_seconds

    async def check(self) -> SafetyReport:
        """Asks the server now and updates `report`; a server without an answer is a report, never an exception."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                facts = await self._facts()
        except (exceptions.RedisError, OSError) as error:
            self.report = self._silent(_silence(error) or self._no_answer, await self._free_disk_bytes())
        else:
            self.report = judged(facts, self._policy, was_full=self.report.is_full)
            self._memory_percent = self.report.memory_percent
        return self.report

    def _silent(self, why: str, free_disk_bytes: int | None) -> SafetyReport:
        full = _full_problems(self._memory_percent, free_disk_bytes, self._policy, was_full=self.report.is_full)
        return SafetyReport(is_safe=False, is_full=bool(full), problems=(why, *full), free_disk_bytes=free_disk_bytes)

    async def _free_disk_bytes(self) -> int | None:
        """None also when a network disk does not tell it in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._answer_seconds):
                return await asyncio.to_thread(least_free_disk_bytes, self._folders)
        return None

    async def run(self) -> None:
        """Checks until it is cancelled and logs every change of the two words."""
        told: tuple[bool, bool] | None = None
        while True:
            report = await self.check()
            if (report.is_safe, report.is_full) != told:
                told = (report.is_safe, report.is_full)
                _log_change(report)
            await asyncio.sleep(self._every_seconds)

    async def _facts(self) -> Facts:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.info()
        # One pattern each: CONFIG GET takes several only from version 7 on.
        for pattern in ("appendfsync", "no-appendfsync-on-rewrite", "save", "stop-writes-on-bgsave-error"):
            pipeline.config_get(pattern)
        info, *configs = await pipeline.execute(raise_on_error=False)
        if isinstance(info, Exception):
            raise info
        free = await asyncio.to_thread(least_free_disk_bytes, self._folders)
        return Facts(info, _config_of(configs), free)


def _config_of(answers: list[Any]) -> dict[str, str] | None:
    known: dict[str, str] = {}
    for answer in answers:
        if isinstance(answer, exceptions.ConnectionError | exceptions.TimeoutError):
            raise answer
        if not isinstance(answer, Exception):  # forbidden, renamed or unknown: each the same to us
            known.update({_text(name): _text(value) for name, value in answer.items()})
    return known or None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _silence(error: Exception) -> str:
    """Why a server refuses to answer; "" = it does not answer at all."""
    # A refused log-in comes wrapped in an ordinary connection error.
    if any(isinstance(one, _REFUSALS) for one in (error, error.__cause__)):
        return "The spool's server refuses our user: put a user who may write, run scripts and read INFO in redis.url."
    return ""


_REFUSALS = (exceptions.AuthenticationError, exceptions.NoPermissionError)


def _log_change(report: SafetyReport) -> None:
    log = get_log()
    if not report.is_safe:
        log.error("spool.unsafe", problems=report.problems)
    elif report.is_full:
        log.warning("spool.full", problems=report.problems)
    else:
        log.info("spool.safe", problems=report.problems)
