"""`mailsluice queue` and the commands that move messages, on a real spool."""

import json

import pytest

from aws_api.admin.filters import Filter, MessageAction
from aws_api.admin.who import Who
from config.errors import Refused
from config.settings import Settings
from mailsluice import moving, queue
from spool import keys
from spool.figures import SAMPLE
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.spooled import accept, beat, settings_of, settle, with_spool

WHO = Who("somebody@here")


def move(settings: Settings, action: MessageAction, *any_ids: str) -> int:
    return moving.run(settings, action, any_ids, Filter(), WHO)


@pytest.fixture
def settings(redis_url, tmp_path) -> Settings:
    return settings_of(redis_url, tmp_path)


def shown(settings: Settings, capsys: pytest.CaptureFixture[str]) -> dict:
    assert queue.run(settings, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


def test_an_empty_spool_says_that_nothing_waits_and_that_no_worker_lives(settings, capsys):
    assert queue.run(settings) == 0
    text = capsys.readouterr().out
    assert text.startswith("Nothing waits.")
    assert "No worker is alive" in text


def test_messages_are_counted_where_they_are_with_their_reasons(settings, capsys):
    async def fill(spool: Spool) -> dict[str, str]:
        ids = {name: await accept(spool) for name in ("due", "leased", "soon", "late", "other", "held")}
        await spool.claim([ids["leased"]], "worker-1")
        await settle(spool, ids["late"], to="parked", after_seconds=3600, reason="throttled")
        await settle(spool, ids["soon"], to="parked", after_seconds=60, reason="throttled")
        await settle(spool, ids["other"], to="parked", after_seconds=600, reason="SES unavailable")
        await settle(spool, ids["held"], to="held", reason="step relay failed: KeyError")
        await beat(spool, late_ms=-3_600_000)
        await beat(spool, name="gone", late_ms=60_000)
        return ids

    ids = with_spool(settings, fill)
    found = shown(settings, capsys)
    assert found["waiting"] == 6
    assert found["places"] == {"due": 1, "leased": 1, "parked": 3, "held": 1}
    held, throttled, unavailable = found["waits"]
    assert (held["reason"], held["messages"], held["example"]) == ("step relay failed: KeyError", 1, ids["held"])
    assert (throttled["reason"], throttled["messages"], throttled["example"]) == ("throttled", 2, ids["soon"])
    assert throttled["first_at"] < unavailable["first_at"] == unavailable["last_at"] < throttled["last_at"]
    assert [worker["name"] for worker in found["workers"]] == ["worker-1"]
    assert found["celery_queues"] == {"process": 0, "events": 0}
    assert found["store"]["is_safe"]
    assert any("held" in sentence for sentence in found["advice"])
    assert queue.run(settings) == 0
    assert " 1 step relay failed: KeyError; since" in capsys.readouterr().out


def test_more_messages_than_the_window_are_counted_exactly(settings, capsys):
    number = 5 * SAMPLE

    async def fill(spool: Spool) -> None:
        pipeline = spool.redis.pipeline(transaction=False)
        for n in range(number):
            message_id = f"message-{n}"
            pipeline.hset(keys.message_key(message_id), mapping={"why": "throttled", "p": "parked", "at": n})
            pipeline.zadd(keys.PARKED, {message_id: 1_800_000_000_000 + n})
        pipeline.hset(keys.REASONS, mapping={"parked:throttled": number, "parked:unseen": 2})
        await pipeline.execute()

    with_spool(settings, fill)
    throttled, unseen = shown(settings, capsys)["waits"]
    assert throttled["messages"] == number
    assert throttled["first_at"] == "2027-01-15T08:00:00.000Z"
    assert throttled["last_at"] == "2027-01-15T08:00:00.999Z"
    assert (unseen["messages"], unseen["first_at"], unseen["example"]) == (2, None, "")


def test_an_unsafe_store_is_told_in_both_forms(redis_server, settings, capsys):
    redis_server.call("CONFIG", "SET", "appendfsync", "everysec")
    assert not shown(settings, capsys)["store"]["is_safe"]
    queue.run(settings)
    assert "NOT SAFE" in capsys.readouterr().out


def test_tasks_in_the_queues_of_a_separate_broker_are_counted(settings, redis_url, tmp_path, capsys):
    async def nudge(spool: Spool) -> None:
        await spool.redis.lpush("{ms}:process", "a", "b")

    with_spool(settings, nudge)
    assert shown(settings, capsys)["celery_queues"]["process"] == 2
    apart = settings_of(redis_url, tmp_path, broker={"url": f"unix://{tmp_path}/none.sock"})
    found = shown(apart, capsys)
    assert found["celery_queues"] is None
    assert any("broker" in sentence for sentence in found["advice"])


def test_a_held_and_a_parked_message_are_released_by_any_of_their_ids(settings, capsys):
    async def fill(spool: Spool) -> tuple[str, str]:
        held = await accept(spool)
        parked = await accept(spool, header_message_id="<one@example.com>")
        await settle(spool, held, to="held", reason="x")
        await settle(spool, parked, to="parked", after_seconds=3600, reason="x")
        return held, parked

    ids = with_spool(settings, fill)
    assert move(settings, "release", ids[0], "<one@example.com>") == 0
    out = capsys.readouterr().out
    assert all(f"{one}: released" in out for one in ids)

    async def places(spool: Spool) -> set[Place]:
        return {message.place for message in (await spool.load_summaries(ids)).values()}

    assert with_spool(settings, places) == {Place.DUE}


def test_what_cannot_be_released_is_said_and_the_others_are_released(settings, capsys):
    async def fill(spool: Spool) -> tuple[str, str]:
        due, held = await accept(spool), await accept(spool)
        await settle(spool, held, to="held", reason="x")
        return due, held

    due, held = with_spool(settings, fill)
    assert move(settings, "release", due, "no\x1bsuch", held) == 1
    said = capsys.readouterr()
    assert f"{held}: released" in said.out
    assert f"{due}: is due, neither parked nor held" in said.err
    assert "no\\x1bsuch: no such message" in said.err


@pytest.mark.parametrize(
    "command",
    [queue.run, lambda settings: move(settings, "release", "x"), lambda settings: move(settings, "cancel", "x")],
)
def test_without_a_server_there_is_one_line_and_exit_code_2(command, tmp_path, capsys):
    assert command(settings_of(f"unix://user:secret@{tmp_path}/none.sock", tmp_path)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "secret" not in said.err
    assert command(Settings(data={"dir": tmp_path})) == 2
    said = capsys.readouterr()
    assert "`mailsluice up` does not run with the data dir" in said.err
    assert str(tmp_path) in said.err


def test_messages_are_cancelled_but_not_those_that_a_worker_has(settings, capsys):
    async def fill(spool: Spool) -> tuple[str, ...]:
        held, parked, due, leased = (
            await accept(spool, 3),
            await accept(spool),
            await accept(spool),
            await accept(spool),
        )
        await settle(spool, held, to="held", reason="x", states=tuple(map(RecipientState, "Suw")))
        await settle(spool, parked, to="parked", after_seconds=3600, reason="x")
        await spool.claim([leased], "worker-1")
        return held, parked, due, leased

    held, parked, due, leased = with_spool(settings, fill)
    assert move(settings, "cancel", held, "nosuch", parked, due, leased, held) == 1
    said = capsys.readouterr()
    assert f"{held}: dropped, 2 recipients given up, 1 of them may have been sent\n" in said.out
    assert f"{parked}: dropped, 1 recipient given up\n" in said.out
    assert f"{due}: dropped, 1 recipient given up\n" in said.out
    assert "nosuch: no such message\n" in said.err
    assert f"{leased}: is leased, its worker may be in a call" in said.err
    assert f"{held}: is done already\n" in said.err

    async def states(spool: Spool) -> list[str]:
        found = await spool.load_summaries([held, parked, due, leased])
        return ["".join(found[one].states) for one in (held, parked, due, leased)]

    assert with_spool(settings, states) == ["SDD", "D", "D", "w"]


def test_a_filter_only_counts_until_it_is_meant(settings, capsys):
    async def fill(spool: Spool) -> None:
        for _ in range(3):
            await settle(spool, await accept(spool, 2), to="parked", after_seconds=3600, reason="throttled")

    with_spool(settings, fill)
    chosen = Filter(recipient_domain="example.net")
    assert moving.run(settings, "hold", (), chosen, WHO) == 0
    said = capsys.readouterr().out
    assert "3 messages with 6 recipients would be put on hold, for instance " in said
    assert "Nothing was changed" in said
    assert shown(settings, capsys)["places"]["held"] == 0
    assert moving.run(settings, "hold", (), chosen, WHO, is_meant=True) == 0
    assert capsys.readouterr().out == "3 messages with 6 recipients put on hold.\n"
    assert shown(settings, capsys)["places"]["held"] == 3
    assert moving.run(settings, "hold", (), chosen, WHO, is_meant=True) == 1
    assert capsys.readouterr().out == "No message fits.\n"


def test_ids_and_a_filter_together_are_refused(settings):
    with pytest.raises(Refused, match="not both"):
        moving.run(settings, "hold", ["x"], Filter(sender="a@b"), WHO)
    with pytest.raises(Refused, match="retry does nothing about due"):
        moving.run(settings, "retry", (), Filter(states=("due",)), WHO)
