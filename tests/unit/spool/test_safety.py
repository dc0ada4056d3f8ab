import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from config.redis_clients import redis_client
from config.settings import Settings
from spool.disk_room import disk_problem, least_free_disk_bytes, watched_folders
from spool.safety import NO_ANSWER, NO_ANSWER_EMBEDDED, Facts, SafetyReport, SafetyWatch, durability_of, judged

GOOD_INFO = {
    "redis_version": "7.2.4",
    "loading": 0,
    "role": "master",
    "maxmemory_policy": "noeviction",
    "maxmemory": 1000,
    "used_memory": 100,
    "total_system_memory": 10_000,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
}
GOOD = Facts(GOOD_INFO, {"appendfsync": "always", "save": "", "stop-writes-on-bgsave-error": "yes"}, 10**12)


def report(
    facts: Facts = GOOD, *, was_full: bool = False, durability: str = "always", config: object = "", **info: object
) -> SafetyReport:
    facts = dataclasses.replace(facts, info={**facts.info, **info})
    if config != "":
        facts = dataclasses.replace(facts, config=config)
    return judged(facts, Settings(redis={"durability": durability}).redis, was_full=was_full)


def test_a_server_that_syncs_every_write_is_safe_and_needs_no_word():
    assert report() == SafetyReport(True, False, (), memory_percent=10.0, free_disk_bytes=10**12)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"redis_version": "6.0.16"}, "use Redis 6.2"),
        ({"redis_version": "garbage"}, "use Redis 6.2"),
        ({"loading": 1}, "still loading"),
        ({"role": "slave"}, "point to the primary"),
        ({"maxmemory_policy": "allkeys-lru"}, "noeviction"),
        ({"aof_last_write_status": "err"}, "could not write its append-only file"),
        ({"aof_enabled": 0}, "CONFIG SET appendonly yes"),
    ],
)
def test_each_fault_of_the_server_makes_it_unsafe_and_says_what_to_do(info, said):
    found = report(**info)
    assert not found.is_safe
    [problem] = found.problems
    assert said in problem


def test_versions_from_6_2_on_will_do():
    assert report(redis_version="6.2.0").is_safe
    assert report(redis_version="10.0.1").is_safe


def test_a_fault_counts_whatever_durability_was_chosen():
    assert not report(durability="none", maxmemory_policy="volatile-ttl").is_safe
    assert not report(durability="none", role="slave").is_safe


def test_a_failed_snapshot_matters_only_where_it_stops_writes():
    stops = {"appendfsync": "always", "save": "3600 1", "stop-writes-on-bgsave-error": "yes"}
    assert not report(config=stops, rdb_last_bgsave_status="err").is_safe
    assert report(config={**stops, "save": ""}, rdb_last_bgsave_status="err").is_safe
    assert report(config={**stops, "stop-writes-on-bgsave-error": "no"}, rdb_last_bgsave_status="err").is_safe
    assert report(config=stops).is_safe


@pytest.mark.parametrize(
    ("kept", "info", "config"),
    [
        ("always", {}, {"appendfsync": "always"}),
        ("everysec", {}, {"appendfsync": "everysec"}),
        ("none", {}, {"appendfsync": "no"}),
        ("none", {}, {"appendfsync": "always", "no-appendfsync-on-rewrite": "yes"}),
        ("always", {}, {"appendfsync": "always", "no-appendfsync-on-rewrite": "no"}),
        ("none", {"aof_enabled": 0}, {"appendfsync": "always"}),
        (None, {}, None),
        (None, {}, {"save": ""}),
        ("none", {"aof_enabled": 0}, None),
    ],
)
def test_the_durability_of_a_server_is_what_its_append_log_does(kept, info, config):
    assert durability_of(Facts({**GOOD_INFO, **info}, config)) == kept


@pytest.mark.parametrize(
    ("wanted", "fsync", "is_safe", "has_word"),
    [
        ("always", "always", True, False),
        ("always", "everysec", False, True),
        ("always", "no", False, True),
        ("everysec", "always", True, False),
        ("everysec", "everysec", True, True),
        ("everysec", "no", False, True),
        ("none", "always", True, False),
        ("none", "everysec", True, True),
        ("none", "no", True, True),
    ],
)
def test_a_weaker_policy_is_accepted_only_by_name_and_is_always_told(wanted, fsync, is_safe, has_word):
    found = report(durability=wanted, config={"appendfsync": fsync})
    assert found.is_safe == is_safe
    assert bool(found.problems) == has_word


def test_the_advice_for_a_weak_policy_names_the_setting_that_would_accept_it():
    [problem] = report(config={"appendfsync": "everysec"}).problems
    assert "CONFIG SET appendfsync always" in problem
    assert "redis.durability everysec" in problem


@pytest.mark.parametrize(("wanted", "is_safe"), [("always", False), ("everysec", False), ("none", True)])
def test_a_server_that_forbids_config_is_safe_only_by_the_operators_word(wanted, is_safe):
    found = report(durability=wanted, config=None)
    assert found.is_safe == is_safe
    [problem] = found.problems
    assert "forbids CONFIG" in problem
    assert "redis.durability" in problem


@pytest.mark.parametrize(("used", "was_full", "is_full"), [(799, 0, 0), (800, 0, 1), (751, 1, 1), (749, 1, 0)])
def test_full_begins_at_the_mark_and_ends_five_points_below(used, was_full, is_full):
    found = report(used_memory=used, was_full=bool(was_full))
    assert found.is_safe
    assert found.is_full == bool(is_full)
    assert bool(found.problems) == bool(is_full)


def test_without_a_limit_of_its_own_the_machines_memory_is_the_limit():
    assert not report(maxmemory=0, used_memory=7_999).is_full
    assert report(maxmemory=0, used_memory=8_000).is_full


def test_a_server_that_tells_no_limit_is_not_called_full():
    found = report(maxmemory=0, total_system_memory=0)
    assert found.memory_percent is None
    assert not found.is_full


@pytest.mark.parametrize(("free_mib", "was_full", "is_full"), [(257, 0, 0), (255, 0, 1), (260, 1, 1), (270, 1, 0)])
def test_little_free_disk_is_full_too(free_mib, was_full, is_full):
    found = report(dataclasses.replace(GOOD, free_disk_bytes=free_mib * 2**20), was_full=bool(was_full))
    assert found.is_full == bool(is_full)


def test_the_disk_counts_where_the_embedded_server_or_the_contents_are(tmp_path: Path):
    data, contents = tmp_path / "data", tmp_path / "contents"

    def folders(url: str, store: str) -> tuple[Path, ...]:
        return watched_folders(Settings(data={"dir": data}, redis={"url": url}, spool={"content_store": store}))

    assert folders("", "") == (data,)
    assert folders("", str(contents)) == (data, contents)
    assert folders("redis://elsewhere", str(contents)) == (contents,)
    assert folders("redis://elsewhere", "") == (data,)
    assert folders("redis://elsewhere", "s3://bucket/prefix") == ()


def test_a_folder_that_is_not_there_yet_counts_as_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = least_free_disk_bytes((tmp_path,))
    assert real is not None
    assert real > 0
    # The disk's own figure changes while other programs write.
    asked = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=7)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert least_free_disk_bytes((tmp_path / "not" / "yet",)) == 7
    assert asked == [tmp_path]
    assert least_free_disk_bytes(()) is None


#: More than any disk has: so it is full whenever a test wants it.
MORE_THAN_THERE_IS = 10**19


async def asked_in_vain(settings: Settings) -> SafetyReport:
    async with redis_client(f"unix://{settings.data.dir}/none.sock", connections=1) as redis:
        return await SafetyWatch(redis, settings).check()


async def test_a_full_disk_is_told_of_a_server_that_does_not_answer_too(tmp_path: Path):
    full = Settings(data={"dir": tmp_path}, redis={"min_free_disk_bytes": MORE_THAN_THERE_IS})
    found = await asked_in_vain(full)
    assert (found.is_safe, found.is_full) == (False, True)
    assert found.problems == (NO_ANSWER_EMBEDDED, disk_problem(full))
    assert "make room in the data dir" in found.problems[1]
    assert found.free_disk_bytes is not None


async def test_a_server_that_does_not_answer_is_not_full_while_the_disk_has_room(tmp_path: Path):
    roomy = Settings(data={"dir": tmp_path}, redis={"min_free_disk_bytes": 0})
    found = await asked_in_vain(roomy)
    assert (found.is_safe, found.is_full, found.problems) == (False, False, (NO_ANSWER_EMBEDDED,))
    assert disk_problem(roomy) == ""


async def test_only_a_server_of_our_own_is_started_by_us(tmp_path: Path):
    found = await asked_in_vain(
        Settings(data={"dir": tmp_path}, redis={"url": "redis://elsewhere", "min_free_disk_bytes": 0})
    )
    assert found.problems == (NO_ANSWER,)
