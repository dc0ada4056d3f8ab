"""One message is partly dropped, bounced, relayed as it is and relayed as a function changed it; workers die between.

Whatever is killed and when: each bounced recipient is told of once, nobody dropped is sent to, everybody else gets
the mail once. SES's own events settle calls whose answer died with a worker.
"""

import random
import signal
import textwrap
import time
from pathlib import Path

import pytest

from config.failpoints import FAILPOINTS
from spool.content import owner_of
from spool.states import Place, RecipientState
from tests.line import Line, wait_until
from tests.ruled import PUTS, calls_of, noting, ruled_line, sent_to

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

STEPS = [name for name in FAILPOINTS if name.startswith(("worker.", "judge.", "relay.", "tell.", "finish."))]
RULES = """
    [[rule]]
    name = "drop"
    recipients = ["dropped.example"]
    action = { type = "DROP" }

    [[rule]]
    name = "bounce"
    recipients = "bounced.example"
    action = { type = "BOUNCE", message = "not here" }

    [[rule]]
    name = "lane"
    recipients = "bulk.example"
    actions = [ { type = "LANE", lane = "bulk" }, { type = "TEE", address = "copy@added.example" } ]

    [[rule]]
    name = "ask"
    recipients = "asked.example"
    action = { type = "RUN_LAMBDA", mode = "sync", function = "file:f.py:handler", timeout_minutes = 5, ENVIRONMENT }

    [[rule]]
    name = "note"
    recipients = "asked.example"
    action = { type = "RUN_LAMBDA", mode = "async", function = "file:g.py:handler" }
"""
ANSWER = """
    assert put(event["messageId"], lambda old: old.replace(b"Subject: test", b"Subject: changed")) == "counts"
    return {"actions": [
        {"action": {"type": "BOUNCE", "parameters": {"bounceMessage": "no"}}, "recipients": ["bad@asked.example"]},
        {"action": {"type": "DROP"}, "recipients": ["drop@asked.example"]},
        {"action": {"type": "DEFAULT"}, "allRecipients": True}]}
"""
DROPPED = ["a@dropped.example", "b@dropped.example", "drop@asked.example"]
BOUNCED = ["a@bounced.example", "b@bounced.example", "bad@asked.example"]
CHANGED = ["x@asked.example", "y@asked.example"]
PLAIN = ["a@example.net", "b@bulk.example"]
EVERYBODY = [*DROPPED, *BOUNCED, *CHANGED, *PLAIN]


def line_with_fates(folder: Path, **settings: str) -> Line:
    code = PUTS + noting(folder, ANSWER)
    (folder / "aside").mkdir()
    line = ruled_line(
        folder,
        RULES,
        functions={"f": code, "g": noting(folder / "aside", "return None")},
        SLUICE_RELAY_CONFIRM_SECONDS="2",
        SLUICE_WORKER_LEASE_SECONDS="1",
        SLUICE_WORKER_MAX_CRASHES="100",
        **settings,
    )
    line.environment["SLUICE_FEEDBACK_SIMULATOR_URL"] = line.simulator_url
    table = ", ".join(f'{name} = "{value}"' for name, value in line.environment.items() if name.startswith("SLUICE_"))
    rules = textwrap.dedent(RULES).replace("ENVIRONMENT", f"environment = {{ {table} }}")
    (folder / "rules.toml").write_text(rules, "utf-8")
    return line


def assert_fates(line: Line, ids: list[str], folder: Path) -> None:
    """Everybody has had exactly what was decided, in the books and in what SES was given; functions were asked."""
    for asked in (calls_of(folder), calls_of(folder / "aside")):
        assert {one["messageId"] for one in asked} == set(ids)
        assert len({one["invocationId"] for one in asked}) == len(ids)
    account = line.account(ids)
    account.assert_clean()
    assert account.duplicates == 0
    count = len(ids)
    assert account.by_state == {"sent": 5 * count, "dropped": 3 * count, "rejected": 3 * count}
    wait_until(lambda: len(_told(line, ids)) >= 3 * count, "every bounce is sent")
    # Whom a function bounced later than the rules bounced others is told later.
    assert sorted(_told(line, ids)) == sorted((one, address) for one in ids for address in BOUNCED)
    sent = sent_to(line)
    bounces = sent.pop("app@example.com")
    assert bounces == count if count == 1 else count <= bounces <= 2 * count
    assert sent == dict.fromkeys([*CHANGED, *PLAIN, "copy@added.example"], count)
    for message in line.load_all(ids).values():
        assert message.verdict is not None
        assert message.verdict.undecided == frozenset()
    for entry in line.ledger():
        is_changed = b"\r\nSubject: changed\r\n" in line.raw(entry)
        assert is_changed == bool(set(entry["destinations"]) & set(CHANGED))


def _told(line: Line, ids: list[str]) -> list[tuple[str, str]]:
    """The message and the recipient of each notice that a sender got."""
    told = []
    for raw in map(line.raw, line.ledger()):
        rows = raw.split(b"\r\n")
        about = [row.split(b": ")[1].decode() for row in rows if row.startswith(b"X-Mailsluice-Message-Id")]
        failed = [row.split(b"; ")[1].decode() for row in rows if row.startswith(b"Final-Recipient")]
        told += [(message_id, address) for message_id in about if message_id in ids for address in failed]
    return told


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_between_two_fates_of_a_message_changes_none(step, tmp_path):
    with line_with_fates(tmp_path) as line:
        line.start("feedback")
        ids = line.submit(1, recipients=EVERYBODY)
        doomed = line.worker(failpoints=f"{step}=kill")
        line.wait_for_death(doomed, step)
        assert doomed.process.returncode == -signal.SIGKILL
        line.worker()
        line.wait_for(ids)
        assert_fates(line, ids, tmp_path)


def test_one_message_survives_a_kill_at_every_step_in_turn(tmp_path):
    with line_with_fates(tmp_path) as line:
        line.start("feedback")
        ids = line.submit(1, recipients=EVERYBODY)
        for step in STEPS:
            if line.load(ids[0]).place is Place.DONE and not step.startswith("finish."):
                continue
            doomed = line.worker(failpoints=f"{step}=kill")
            wait_until(
                lambda doomed=doomed: not doomed.is_running() or line.load(ids[0]).place is Place.DONE,
                f"the worker dies at {step}",
            )
            doomed.kill()
            line.wait_for_death(doomed, step)
        line.worker()
        line.wait_for(ids)
        assert_fates(line, ids, tmp_path)


def test_many_messages_survive_kills_at_any_moment(tmp_path):
    chance = random.Random(4)
    with line_with_fates(tmp_path) as line:
        line.start("feedback")
        ids = line.submit(15, recipients=EVERYBODY)
        left: set[Path] = set()  # of messages that were finished, when the kill came before their contents were removed
        for _ in range(6):
            worker = line.worker()
            time.sleep(chance.uniform(0.1, 1.2))  # the moment of the kill is what is tried out
            worker.kill()
            line.wait_for_death(worker, "any moment")
            done = {one.message_id for one in line.load_all(ids).values() if one.place is Place.DONE}
            left |= {path for path in _updates(line) if owner_of(path.name) in done}
        line.worker()
        line.wait_for(ids, seconds=120)
        assert_fates(line, ids, tmp_path)
        wait_until(lambda: _updates(line) <= left, "updated contents are removed with their messages")
        assert {state for one in line.load_all(ids).values() for state in one.states} == {
            RecipientState.SENT,
            RecipientState.DROPPED,
            RecipientState.REJECTED,
        }


def _updates(line: Line) -> set[Path]:
    return {path for path in (line.folder / "content").rglob("*-u" + 32 * "?") if path.is_file()}


@pytest.mark.parametrize("step", ["judge.before_call", "judge.after_call", "judge.after_update"])
def test_a_frozen_worker_that_comes_back_with_an_answer_after_its_lease_decides_nothing(step, tmp_path):
    with line_with_fates(tmp_path) as line:
        line.start("feedback")
        ids = line.submit(1, recipients=EVERYBODY)
        frozen = line.worker(failpoints=f"{step}=stop*1")
        wait_until(lambda: _is_stopped(frozen.pid), f"the worker stops at {step}")
        line.worker()
        line.wait_for(ids)
        frozen.send(signal.SIGCONT)
        wait_until(
            lambda: any(one["event"] in {"message.lease_lost", "message.failed"} for one in frozen.events()),
            "it notices that it came late",
        )
        assert_fates(line, ids, tmp_path)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "T"
