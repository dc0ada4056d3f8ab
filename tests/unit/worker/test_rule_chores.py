"""What a worker does beside its tasks for rules and functions: the heartbeat names them, contents are tidied hourly."""

import dataclasses

import orjson
import pytest

from spool import keys
from tests.unit.worker.stand import RememberingSpool, stand
from tests.unit.worker.test_drain import SmallRedis
from worker.chores import Tidier
from worker.drain import Intake
from worker.heartbeat import Heartbeat, Progress
from worker.rules.records import RuleSet


class Flow:
    """Counts how often it is tidied; `errors` come first."""

    def __init__(self, *errors: Exception):
        self.errors = list(errors)
        self.tidied: list[float] = []

    async def tidy(self, now: float) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.tidied.append(now)
        return 3


class Publisher:
    async def trim(self) -> None: ...


async def line_of(tools) -> dict:
    heartbeat = Heartbeat(tools, Intake(), Progress)
    await heartbeat.beat()
    (raw,) = tools.spool.redis.hashes[keys.WORKERS].values()
    return orjson.loads(raw)


def tools_with(**settings):
    spool = RememberingSpool()
    spool.redis = SmallRedis()
    return stand(spool=spool, **settings)


async def test_a_worker_without_rules_names_none():
    line = await line_of(tools_with())
    assert not [name for name in line if name.startswith("rules")]


async def test_a_heartbeat_names_the_rules_and_their_trouble(tmp_path):
    tools = tools_with(rules={"file": str(tmp_path / "rules.toml")})
    tools.rules.current = RuleSet("a1b2", ())
    line = await line_of(tools)
    assert (line["rules_version"], line["rules"]) == ("a1b2", 0)
    assert "rules_trouble" not in line
    tools.rules.trouble = "not readable"
    assert (await line_of(tools))["rules_trouble"] == "not readable"


async def test_contents_of_functions_are_tidied_once_an_hour_and_again_soon_after_a_failure():
    flow = Flow(OSError("away"))
    tools = dataclasses.replace(tools_with(), flow=flow)
    tidier = Tidier(tools, Publisher(), Heartbeat(tools, Intake(), Progress))
    with pytest.raises(OSError, match="away"):
        await tidier._tidy_flow()
    assert flow.tidied == []
    await tidier._tidy_flow()
    await tidier._tidy_flow()
    assert len(flow.tidied) == 1
