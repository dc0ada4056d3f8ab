"""Functions of rules on the way of the mail: what they decide, change and add, how they fail, who waits for them."""

import itertools
import textwrap

import pytest

from aws_api.admin.giving_up import give_up
from spool import operator
from spool.keys import message_key
from spool.states import Place, RecipientState, awaits_function
from tests.line import wait_until
from tests.ruled import PUTS, calls_of, noting, ruled_line, sent_to

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

ASK = """
    [[rule]]
    name = "ask"
    recipients = "asked.example"
    action = { type = "RUN_LAMBDA", mode = "sync", function = "file:f.py:handler", fallback = "DROP", timeout_minutes=5}
"""
ASK_ONCE = ASK.replace("timeout_minutes=5", "timeout_minutes=0").replace(
    'fallback = "DROP"', 'fallback = "BOUNCE", fallback_message = "Nobody could decide."'
)
NOTE = """
    [[rule]]
    name = "note"
    recipients = "asked.example"
    action = { type = "RUN_LAMBDA", mode = "async", function = "file:f.py:handler" }
"""
LET_PASS = 'return {"actions": [{"allRecipients": True, "action": {"type": "DEFAULT"}}]}'


def until(folder, then=LET_PASS):
    """A function that raises until a file `works` lies beside it."""
    return noting(
        folder,
        f'import os\nif not os.path.exists({str(folder / "works")!r}):\n    raise RuntimeError("not yet")\n{then}',
    )


def blocking(folder, then=LET_PASS):
    """A function that runs until a file `works` lies beside it."""
    return noting(
        folder, f"import os\nwhile not os.path.exists({str(folder / 'works')!r}):\n    time.sleep(0.02)\n{then}"
    )


def assert_on_schedule(calls):
    """Each message was asked about as late as the schedule says, or later: 5 s, 10 s, ..., a tenth less by chance."""
    tries: dict[str, list[float]] = {}
    for one in calls:
        tries.setdefault(one["messageId"], []).append(one["at"])
    for times in tries.values():
        for number, (earlier, later) in enumerate(itertools.pairwise(times)):
            assert later - earlier >= 4.4 * 2**number, "earlier than the schedule says"


def test_a_function_decides_about_each_of_its_recipients(tmp_path):
    then = """
        return {"actions": [
            {"action": {"type": "DROP"}, "recipients": ["a@asked.example"]},
            {"recipients": ["b@asked.example"], "action": {"type": "BOUNCE", "parameters": {"bounceMessage": "shut"}}},
            {"action": {"type": "DEFAULT"}, "recipients": ["new@added.example"]},
            {"action": {"type": "DEFAULT"}, "allRecipients": "true"}]}
    """
    with ruled_line(tmp_path, ASK, functions={"f": noting(tmp_path, then)}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=[f"{name}@asked.example" for name in "abc"] + ["x@example.net"])
        line.wait_for([message_id])
        wait_until(lambda: sent_to(line)["app@example.com"], "the bounce is sent")
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 3, "dropped": 1, "rejected": 1}
        assert sent_to(line) == {
            "c@asked.example": 1, "x@example.net": 1, "new@added.example": 1, "app@example.com": 1,
        }  # fmt: skip
        (event,) = calls_of(tmp_path)
        assert [one["address"] for one in event["envelope"]["recipients"]] == [f"{n}@asked.example" for n in "abc"]
        assert (event["messageId"], event["flowDirection"]) == (message_id, "OUTBOUND")


def test_while_a_function_fails_its_recipients_wait_and_the_others_of_the_message_are_sent(tmp_path):
    with ruled_line(tmp_path, ASK, functions={"f": until(tmp_path)}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example", "x@example.net"])
        line.wait_for([message_id], Place.PARKED)
        message = line.load(message_id)
        assert message.reason == awaits_function("ask")
        assert message.states == (RecipientState.WAITING, RecipientState.SENT)
        (call,) = message.verdict.calls
        assert call.state == "waits"
        assert "not yet" in call.error
        (tmp_path / "works").touch()
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        calls = calls_of(tmp_path)
        assert len(calls) >= 2
        assert len({one["invocationId"] for one in calls}) == 1
        assert_on_schedule(calls)
        assert sent_to(line) == {"a@asked.example": 1, "x@example.net": 1}


def test_a_function_that_fails_with_no_time_for_another_try_leaves_it_to_the_fallback(tmp_path):
    with ruled_line(tmp_path, ASK_ONCE, functions={"f": until(tmp_path)}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example"])
        line.wait_for([message_id])
        wait_until(lambda: sent_to(line)["app@example.com"], "the bounce is sent")
        assert b"Nobody could decide." in line.raw(line.ledger()[0])
        line.account([message_id]).assert_clean()
        assert len(calls_of(tmp_path)) == 1


def test_what_a_function_puts_is_sent_to_its_recipients_and_to_no_others(tmp_path):
    code = PUTS + textwrap.dedent("""
        def handler(event, context):
            assert put(event["messageId"], lambda old: old.replace(b"Subject: test", b"Subject: changed")) == "counts"
            return {"actions": [{"allRecipients": True, "action": {"type": "DEFAULT"}}]}
        def broken(event, context):
            put(event["messageId"], lambda old: old.replace(b"Subject: test", b"Subject: broken"))
            raise RuntimeError("after the put")
    """)
    with ruled_line(tmp_path, ASK, functions={"f": code}) as line:
        environment = {name: value for name, value in line.environment.items() if name.startswith("SLUICE_")}
        table = ", ".join(f'{name} = "{value}"' for name, value in environment.items())
        rules = ASK.replace("mode =", f"timeout_seconds = 15, environment = {{ {table} }}, mode =")
        rules += (
            rules.replace('"ask"', '"break"')
            .replace("asked.", "broken.")
            .replace(":handler", ":broken")
            .replace("timeout_minutes=5", "timeout_minutes=0")
            .replace('"DROP"', '"DEFAULT"')
        )
        (tmp_path / "rules.toml").write_text(rules)
        line.worker()
        everybody = ["a@asked.example", "b@broken.example", "x@example.net"]
        ids = [
            one for size in (500, 300_000, 2_500_000) for one in line.submit(1, recipients=everybody, size_bytes=size)
        ]
        line.wait_for(ids)
        line.account(ids).assert_clean()
        for entry in line.ledger():
            assert (b"\r\nSubject: changed\r\n" in line.raw(entry)) == (entry["destinations"] == ["a@asked.example"])
            assert b"broken" not in line.raw(entry)
        assert sum(sent_to(line).values()) == 9
        contents = [path for path in (line.folder / "content").rglob("*-u*") if path.is_file()]
        assert contents == [], "updated contents go with their message"


def test_an_async_function_is_asked_once_and_delays_nobody(tmp_path):
    with ruled_line(tmp_path, NOTE, functions={"f": blocking(tmp_path, "return None")}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example"])
        wait_until(lambda: sent_to(line)["a@asked.example"], "the mail is sent")
        wait_until(lambda: calls_of(tmp_path), "the function runs")
        assert line.load(message_id).place is not Place.DONE
        (tmp_path / "works").touch()
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        assert len(calls_of(tmp_path)) == 1


def test_a_failed_async_function_is_asked_again_while_its_message_waits_for_nothing_else(tmp_path):
    with ruled_line(tmp_path, NOTE, functions={"f": until(tmp_path, "return None")}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example"])
        line.wait_for([message_id], Place.PARKED)
        message = line.load(message_id)
        assert (message.reason, message.states) == (awaits_function("note"), (RecipientState.SENT,))
        (tmp_path / "works").touch()
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        calls = calls_of(tmp_path)
        assert len({one["invocationId"] for one in calls}) == 1
        assert len(calls) >= 2
        assert_on_schedule(calls)


def test_messages_parked_on_a_failing_function_cost_no_calls_beyond_the_schedule_and_stop_nobody(tmp_path):
    with ruled_line(tmp_path, ASK, functions={"f": until(tmp_path)}) as line:
        worker = line.worker()
        stuck = line.submit(300, recipients=["a@asked.example"])
        wait_until(lambda: len({one["messageId"] for one in calls_of(tmp_path)}) == 300, "each was tried once")
        others = line.submit(30)
        line.wait_for(others)  # no function has answered yet
        line.wait_for(stuck, Place.PARKED, Place.LEASED, Place.DUE)
        messages = line.load_all(stuck)
        assert {one.place for one in messages.values()} <= {Place.PARKED, Place.LEASED, Place.DUE}
        claims = [one for one in worker.events() if one["event"] == "message.parked"]
        calls = calls_of(tmp_path)  # of each claim that is counted the call is, too
        assert_on_schedule(calls)
        assert len(claims) <= len(calls) + 600, "messages come back for their tries, and few for a place"
        (tmp_path / "works").touch()
        line.wait_for(stuck, seconds=90)
        account = line.account([*stuck, *others])
        account.assert_clean()
        assert account.duplicates == 0


def test_a_slow_function_stops_no_other_mail(tmp_path):
    with ruled_line(tmp_path, ASK, functions={"f": blocking(tmp_path)}) as line:
        line.worker()
        slow = line.submit(12, recipients=["a@asked.example"])
        wait_until(lambda: calls_of(tmp_path), "the function runs")
        for _ in range(3):
            line.wait_for(line.submit(20))  # while not one function has come to its end
        (tmp_path / "works").touch()
        line.wait_for(slow, seconds=120)
        line.account(slow).assert_clean()
        assert sent_to(line)["a@asked.example"] == 12
        # One that was released too late, after its 15 seconds, was asked again.
        assert {one["messageId"] for one in calls_of(tmp_path)} == set(slow)


def test_what_waits_for_a_function_can_be_held_retried_and_dropped(tmp_path):
    with ruled_line(tmp_path, ASK, functions={"f": until(tmp_path)}) as line:
        line.worker()
        held, dropped = line.submit(2, recipients=["a@asked.example", "x@example.net"])
        line.wait_for([held, dropped], Place.PARKED)
        line.run(lambda spool: operator.touch(spool.redis, "hold", [held]))
        line.wait_for([held], Place.HELD)  # at once, or when the try that has just begun has ended
        end = wait_until(lambda: line.run(lambda spool: _given_up(spool, dropped)), "it is not leased")
        assert end.dropped == 1
        message = line.load(dropped)
        assert (message.place, message.states) == (Place.DONE, (RecipientState.DROPPED, RecipientState.SENT))
        line.run(lambda spool: operator.touch(spool.redis, "retry", [dropped]))
        (tmp_path / "works").touch()
        line.run(lambda spool: operator.touch(spool.redis, "free", [held]))
        line.wait_for([held])
        account = line.account([held, dropped])
        account.assert_clean()
        assert account.by_state == {"sent": 3, "dropped": 1}


def test_a_retry_asks_at_once_and_nothing_else_that_wakes_the_message_does(tmp_path):
    with ruled_line(tmp_path, ASK, functions={"f": until(tmp_path)}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example", "x@example.net"])
        line.wait_for([message_id], Place.PARKED)
        while (tries := len(calls_of(tmp_path))) < 3:
            line.run(lambda spool: operator.touch(spool.redis, "retry", [message_id]))
            wait_until(lambda tries=tries: len(calls_of(tmp_path)) > tries, "it is asked again")
            line.wait_for([message_id], Place.PARKED)
        (call,) = line.load(message_id).verdict.calls
        assert call.next_at_ms - calls_of(tmp_path)[-1]["at"] * 1000 > 17_000, "the third distance, or a later one"
        fence = _claims_of(line, message_id)
        assert line.run(lambda spool: operator.touch(spool.redis, "wake", [message_id])) == ["done"]
        wait_until(lambda: _claims_of(line, message_id) > fence, "a worker has looked at it")
        line.wait_for([message_id], Place.PARKED)
        assert line.load(message_id).verdict.calls == (call,)
        (tmp_path / "works").touch()
        line.run(lambda spool: operator.touch(spool.redis, "retry", [message_id]))
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        calls = calls_of(tmp_path)
        assert len(calls) == call.tries + 1
        assert calls[-1]["at"] * 1000 < call.next_at_ms, "it was the operator's hand"
        assert sent_to(line) == {"a@asked.example": 1, "x@example.net": 1}


def _claims_of(line, message_id):
    return int(line.run(lambda spool: spool.redis.hget(message_key(message_id), "f")))


def test_whom_no_function_decides_about_has_the_mail_while_the_function_runs_for_the_first_time(tmp_path):
    with ruled_line(tmp_path, ASK, functions={"f": blocking(tmp_path)}) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example", "x@example.net"])
        wait_until(lambda: sent_to(line)["x@example.net"], "the other has the mail")
        wait_until(lambda: calls_of(tmp_path), "the function runs")
        assert sent_to(line) == {"x@example.net": 1}
        assert len(calls_of(tmp_path)) == 1
        (tmp_path / "works").touch()
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        assert sent_to(line) == {"a@asked.example": 1, "x@example.net": 1}


async def _given_up(spool, message_id):
    return await give_up(spool, await spool.load(message_id))


def test_when_the_message_is_too_old_the_fallback_decides(tmp_path):
    rules = ASK.replace('"DROP"', '"DEFAULT"')
    with ruled_line(tmp_path, rules, functions={"f": until(tmp_path)}, SLUICE_RELAY_MAX_AGE_SECONDS="3") as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=["a@asked.example"])
        line.wait_for([message_id])
        message = line.load(message_id)
        assert message.verdict.decision_of(0).because.startswith("fallback")
        assert message.states in {(RecipientState.SENT,), (RecipientState.EXPIRED,)}
        assert message.states == (RecipientState.SENT,)
        line.account([message_id]).assert_clean()


def test_a_worker_that_is_stopped_lets_a_function_answer_and_leaves_the_rest_to_the_next(tmp_path):
    slow = noting(tmp_path, f"time.sleep(2)\n{LET_PASS}")
    with ruled_line(tmp_path, ASK + NOTE, functions={"f": slow}) as line:
        worker = line.worker()
        ids = line.submit(6, recipients=["a@asked.example", "x@example.net"])
        wait_until(lambda: calls_of(tmp_path), "the function runs")
        assert worker.stop() == 0
        assert "Traceback" not in worker.log()
        assert {one.place for one in line.load_all(ids).values()} <= {Place.DUE, Place.PARKED, Place.DONE}
        line.worker()
        line.wait_for(ids, seconds=90)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0


def test_a_restart_of_the_server_while_a_function_runs_loses_no_answer(tmp_path):
    slow = noting(tmp_path, f"time.sleep(2)\n{LET_PASS}")
    with ruled_line(tmp_path, ASK, functions={"f": slow}, SLUICE_WORKER_LEASE_SECONDS="10") as line:
        line.worker()
        ids = line.submit(2, recipients=["a@asked.example", "x@example.net"])
        wait_until(lambda: calls_of(tmp_path), "the function runs")
        line.redis.kill()
        line.redis.start()
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0
        assert len(calls_of(tmp_path)) == 2
