"""Random calls of functions against a real server: what is read, what counts and what is stored, at every moment."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from config.redis_clients import redis_client
from spool import keys
from spool.content import FolderContents
from spool.message_flow import BegunPut, MessageFlow
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import accepted_and_claimed

CONTENTS = st.sampled_from([b"a", b"bb", b"ccc", b""])
CALLS = st.sampled_from(["0" * 32, "1" * 32])
WHO = st.integers(0, 1)


class FlowMachine(RuleBasedStateMachine):
    """A model of one message's contents beside two processes' view of them. `server` is set by the test."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.server.call("FLUSHALL", "SYNC")
        self.folder = Path(tempfile.mkdtemp(prefix="ms-"))
        self.spool = Spool(
            redis_client(self.server.url),
            FolderContents(self.folder / "content"),
            inline_content_bytes=1 << 20,
            keep_finished_seconds=3600,
            lease_seconds=600,
        )
        contents = FolderContents(self.folder / "content" / "flow")
        self.flows = [MessageFlow(self.spool, contents, 86400) for _ in range(2)]
        self.message = self.run(accepted_and_claimed(self.spool, content=b"accepted")).message
        self.base: bytes | None = None
        self.latest = b"accepted"
        self.put: bytes | None = None
        self.runs: list[str] = []
        self.puts: list[tuple[BegunPut, str]] = []
        self.is_open = self.has_record = False

    def teardown(self) -> None:
        self.run(self.spool.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def run(self, doing):
        return self.loop.run_until_complete(doing)

    @rule(who=WHO, call=CALLS, content=CONTENTS, is_sync=st.booleans())
    def begin(self, who: int, call: str, content: bytes, *, is_sync: bool):
        doing = self.flows[who].begin(self.message, content, invocation_id=call, seconds=3600, is_sync=is_sync)
        token = self.run(doing)
        assert bool(token) == is_sync
        if is_sync:
            assert token not in self.runs
            self.runs.append(token)
            self.is_open, self.put = True, None
        if is_sync or not self.has_record:
            self.base = self.latest = content
        self.has_record = True

    @rule(who=WHO, content=CONTENTS)
    def put_one(self, who: int, content: bytes):
        expected = "counts" if self.is_open else "kept"
        assert self.run(self.flows[who].put(self.message.message_id, content)) == expected
        self.latest, self.has_record = content, True
        if self.is_open:
            self.put = content

    @rule(who=WHO)
    def begin_a_slow_put(self, who: int):
        begun = self.run(self.flows[who].begin_put(self.message.message_id))
        assert begun.run == (self.runs[-1] if self.is_open else "")
        self.puts.append((begun, begun.run))

    @precondition(lambda self: self.puts)
    @rule(who=WHO, content=CONTENTS, which=st.integers(0, 99))
    def end_a_slow_put(self, who: int, content: bytes, which: int):
        begun, token = self.puts.pop(which % len(self.puts))
        counts = self.is_open and token == self.runs[-1]
        said = self.run(self.flows[who].put(self.message.message_id, content, begun))
        assert said == ("counts" if counts else "kept")
        self.latest, self.has_record = content, True
        if counts:
            self.put = content

    @precondition(lambda self: self.runs)
    @rule(who=WHO, back=st.integers(1, 3))
    def end(self, who: int, back: int):
        token = self.runs[-min(back, len(self.runs))]
        left = self.run(self.flows[who].end(self.message.message_id, token))
        if token == self.runs[-1]:
            assert left == self.put
            self.is_open = False
        else:
            assert left is None

    @rule()
    def time_is_over(self):
        if self.has_record:
            self.run(self.spool.redis.hset(keys.flow_key(self.message.message_id), "until", 0))
            self.is_open = False

    @rule()
    def tidy(self):
        self.run(self.spool.redis.delete(keys.lock_key("flow-contents")))
        assert self.run(self.flows[0].tidy(time.time() + 30 * 86400)) == 0

    @invariant()
    def the_latest_is_read(self):
        async def whole() -> bytes:
            reading = await self.flows[1].read(self.message.message_id)
            assert reading is not None
            return b"".join([piece async for piece in reading.chunks])

        assert self.run(whole()) == self.latest

    @invariant()
    def updates_are_compared_with_what_the_run_began_with(self):
        expected = b"accepted" if self.base is None else self.base
        begun = self.run(self.flows[0].begin_put(self.message.message_id))
        assert begun.size_bytes == len(expected)
        assert self.run(self.flows[0].original_of(begun)) == expected

    @invariant()
    def what_is_stored_is_what_the_record_names(self):
        key = keys.flow_key(self.message.message_id)
        row = self.run(self.spool.redis.hmget(key, ["base", "latest", "put"]))
        named = {f"{self.message.message_id}-f{one.decode().partition(':')[0]}" for one in row if one}
        assert {path.name for path in (self.folder / "content" / "flow").glob("??/*")} == named


@pytest.mark.timeout(300)
def test_no_sequence_of_calls_brings_contents_and_records_out_of_step(server: RedisServer):
    machine = type("Machine", (FlowMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
