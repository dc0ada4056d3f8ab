"""The line as real processes, without the supervisor: Redis, simulator, gateways and workers that a test may kill.

`Line` starts them one by one, so that a test can give one of them a failpoint, freeze it or kill it; `accounting`
then compares the spool, the simulator's ledger and the published events: the invariant that every scenario ends with.
"""

import asyncio
import dataclasses
import itertools
import json
import os
import shutil
import signal
import smtplib
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from config.settings import Settings
from config.settings_source import load_settings
from sending_events.records import EventRecord
from spool import keys, operator
from spool.assembly import limits_of, open_spool
from spool.nudge import Nudger
from spool.records import Attempt, Message, NewMessage, new_message_id
from spool.routes import read_routes
from spool.sending_quota import RouteView
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.forking import Forked, Started
from tests.servers import RedisServer, free_port

HOUSE = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
PATIENCE_SECONDS = 90.0
#: Calls that one worker makes at once: so many may reach SES late and all together, when a process had stopped.
UNDER_WAY = 32

# Short distances, so that what takes minutes in production takes seconds here. Leases and calls are not among them: no
# process that stops for a few seconds, because the machine is busy, may lose its messages or take an answer for lost.
FAST = {
    "SLUICE_WORKER_LEASE_SECONDS": "15",
    "SLUICE_WORKER_SWEEP_SECONDS": "0.2",
    "SLUICE_RELAY_RETRY_FIRST_SECONDS": "0.2",
    "SLUICE_RELAY_RETRY_MAX_SECONDS": "1",
    "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "20",
    "SLUICE_RELAY_CONNECT_TIMEOUT_SECONDS": "20",
    "SLUICE_LOG_FORMAT": "json",
}


def wait_until(happened: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Polls a condition; its first true value. Fails with what was waited for."""
    limit = time.monotonic() + seconds
    while True:
        if value := happened():
            return value
        assert time.monotonic() < limit, f"waited {seconds:g} s for: {what}"
        time.sleep(0.03)


class Program:
    """One of our processes, ready when the constructor returns; its stderr is kept in a file."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        log: Path,
        *,
        wait: bool = True,
        start: Callable[..., Started] = Forked,
    ) -> None:
        self.log_path = log
        reading, writing = os.pipe()
        with log.open("ab") as file:
            self.process = start(
                command,
                environment={**environment, "MAILSLUICE_READY_FD": str(writing)},
                folder=HOUSE,
                output=file.fileno(),
                files=[writing],
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            if wait:
                ready = _read_line(pipe.fileno())
                assert ready == b"ready\n", f"{command} did not get ready:\n{self.log()}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")[-6000:]

    def events(self) -> list[dict[str, Any]]:
        """The JSON log lines (whole ones: it may be writing)."""
        whole, _, _ = self.log_path.read_text("utf-8", "replace").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def is_running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.is_running():
            self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait(30)

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return self.process.wait(seconds)


def _read_line(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    limit, text = time.monotonic() + START_SECONDS, b""
    while time.monotonic() < limit and not text.endswith(b"\n"):
        try:
            piece = os.read(descriptor, 100)
        except BlockingIOError:
            time.sleep(0.01)
            continue
        if not piece:
            break
        text += piece
    return text


class Line:
    """Redis and the simulator, and as many gateways and workers as a test wants."""

    #: How a process begins; a bench that measures memory starts it as a user does.
    start_process: Callable[..., Started] = staticmethod(Forked)

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))
        self.redis = RedisServer()
        self.simulator_port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "AWS_"))},
            **FAST,
            "SLUICE_DATA_DIR": str(self.folder),
            "SLUICE_REDIS_URL": self.redis.url,
            "SLUICE_SIMULATOR_PORT": str(self.simulator_port),
            "AWS_ENDPOINT_URL_SES": self.simulator_url,
            "AWS_ENDPOINT_URL_SESV2": self.simulator_url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **settings,
        }
        self.programs: list[Program] = []
        self.ledger_before: list[dict[str, Any]] = []
        self.simulator: Program | None = None

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"

    @property
    def settings(self) -> Settings:
        return load_settings(environ={k: v for k, v in self.environment.items() if k.startswith("SLUICE_")})

    def __enter__(self) -> Self:
        try:
            self.redis.start()
            self.start_simulator()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for program in self.programs:
                state = "runs" if program.is_running() else f"ended with {program.process.returncode}"
                print(f"--- {program.log_path.name} ({state})\n{program.log()}", file=sys.stderr)  # noqa: T201
        self.close()

    def close(self) -> None:
        for program in self.programs:
            program.send(signal.SIGCONT)
            program.kill()
        self.redis.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- processes

    def start(self, *command: str, name: str = "", wait: bool = True, **extra: str) -> Program:
        log = self.folder / f"{name or command[0]}-{len(self.programs)}.log"
        program = Program(command, {**self.environment, **extra}, log, wait=wait, start=self.start_process)
        self.programs.append(program)
        return program

    def worker(self, failpoints: str = "", **extra: str) -> Program:
        return self.start("worker", **({"SLUICE_FAILPOINTS": failpoints} if failpoints else {}), **extra)

    def gateway(self, failpoints: str = "", **extra: str) -> Program:
        port = self.environment.setdefault("SLUICE_SMTP_PORT", str(free_port()))
        assert port
        return self.start("gateway", **({"SLUICE_FAILPOINTS": failpoints} if failpoints else {}), **extra)

    def start_simulator(self, **extra: str) -> None:
        """A new simulator on the same port; what the old one accepted is kept for the accounting."""
        self.simulator = self.start("simulator", wait=False, **extra)
        wait_until(self._simulator_answers, "the simulator listens")

    def stop_simulator(self) -> None:
        assert self.simulator is not None
        self.ledger_before += self._ledger_now()
        self.simulator.kill()

    def _simulator_answers(self) -> bool:
        assert self.simulator is not None
        assert self.simulator.is_running(), self.simulator.log()
        try:
            is_well = bool(self.http("GET", "/healthz") == b"ok")
        except OSError:
            return False
        assert self.simulator.is_running(), self.simulator.log()  # else somebody else answered
        return is_well

    # -- the simulator

    def http(self, method: str, path: str, body: Any = None) -> bytes:
        return self._asked(method, path, body).strip()

    def _asked(self, method: str, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.simulator_url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: bytes = answer.read()
            return text

    def fault(self, kind: str, **fields: Any) -> None:
        self.http("PUT", "/faults", {"kind": kind, **fields})

    def no_faults(self) -> None:
        self.http("DELETE", "/faults")

    def faults(self) -> list[dict[str, Any]]:
        """The active faults with their counters."""
        active: list[dict[str, Any]] = json.loads(self.http("GET", "/faults"))
        return active

    def ledger(self) -> list[dict[str, Any]]:
        return self.ledger_before + self._ledger_now()

    def _ledger_now(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.http("GET", "/ledger").splitlines()]

    def change(self, **settings: Any) -> None:
        """Other settings of the simulated account."""
        self.http("PUT", "/settings", settings)

    def violations(self) -> dict[str, float]:
        """What the simulator counts: calls beyond a limit, calls refused for another reason, the largest burst."""
        figures: dict[str, float] = json.loads(self.http("GET", "/violations"))
        return figures

    def events_of_ses(self) -> list[dict[str, Any]]:
        """SES's own events of all calls, as the simulator tells them."""
        return [json.loads(line) for line in self.http("GET", "/events").splitlines()]

    def raw(self, entry: Mapping[str, Any]) -> bytes:
        """What SES took with a call of the ledger, to the byte."""
        return self._asked("GET", f"/messages/{entry['ses_message_id']}")

    def sent_messages(self) -> list[str]:
        """Our ids of the messages in the order in which SES took their calls."""
        return [entry["tags"]["sluice-batch"].rpartition(".")[0] for entry in self.ledger()]

    # -- the spool

    def route(self) -> RouteView:
        """The one route as the spool knows it now."""
        limits = list(limits_of(self.settings).values())
        view: RouteView
        (view,) = self.run(lambda spool: read_routes(spool, limits))
        return view

    def run(self, doing: Callable[[Spool], Any]) -> Any:
        """Runs a coroutine function with a spool of its own."""

        async def with_spool() -> Any:
            spool = open_spool(self.settings)
            try:
                return await doing(spool)
            finally:
                await spool.close()

        return asyncio.run(with_spool())

    def submit(
        self,
        messages: int = 1,
        *,
        recipients: int | Sequence[str] = 1,
        nudge: bool = True,
        size_bytes: int = 500,
        sender: str = "app@example.com",
        lane: str = "",
        **members: Any,
    ) -> list[str]:
        """Puts messages into the spool as a door does; their ids. `members` of NewMessage stand in place of ours."""
        ours = (_message(recipients, size_bytes, sender, lane) for _ in range(messages))
        new = [dataclasses.replace(message, **members) for message in ours]

        async def accept(spool: Spool) -> None:
            nudger = Nudger(spool.redis, self.settings)
            for start in range(0, len(new), 100):
                group = new[start : start + 100]
                await asyncio.gather(*(spool.accept(message) for message in group))
                if nudge:
                    nudger.process([message.message_id for message in group])
            await nudger.drain()

        self.run(accept)
        return [message.message_id for message in new]

    def nudge(self, message_ids: Sequence[str], times: int = 1) -> None:
        async def push(spool: Spool) -> None:
            await Nudger(spool.redis, self.settings).push([list(message_ids)] * times)

        self.run(push)

    def load(self, message_id: str) -> Message:
        message: Message | None = self.run(lambda spool: spool.load(message_id))
        assert message is not None, f"{message_id} is not in the spool"
        return message

    def load_all(self, message_ids: Sequence[str]) -> dict[str, Message]:
        async def load(spool: Spool) -> dict[str, Message]:
            found = {}
            for message_id in message_ids:
                if message := await spool.load(message_id):
                    found[message_id] = message
            return found

        messages: dict[str, Message] = self.run(load)
        return messages

    def wait_for(
        self, message_ids: Sequence[str], *places: Place, seconds: float = PATIENCE_SECONDS, probing: str = ""
    ) -> None:
        """Until all these messages are in one of the places.

        `probing`: a route in trouble that is well again; it is probed now and not after many seconds.
        """
        places = places or (Place.DONE,)

        async def poll(spool: Spool) -> None:
            limit = time.monotonic() + seconds
            missing = list(message_ids)
            while missing:
                if probing:
                    await operator.probe_now(spool.redis, probing)
                found = await spool.load_summaries(missing)
                missing = [one for one in missing if one not in found or found[one].place not in places]
                if missing and time.monotonic() > limit:
                    stuck = [f"{one}: {found[one].place}, {found[one].reason}" for one in missing if one in found]
                    calls = {
                        f"{call.outcome} {call.code} {call.reason}"
                        for one in missing[:20]
                        if (message := await spool.load(one))
                        for call in message.attempts
                    }
                    raise AssertionError(
                        f"{len(missing)} messages not in {places} after {seconds} s: {stuck[:3]}; calls: {calls}"
                    )
                await asyncio.sleep(0.3 if probing else 0.05)

        self.run(poll)

    def wait_for_death(self, doomed: Program, where: str) -> None:
        """Until it died; what it held is free at once and not when its leases end. No other worker may run."""
        wait_until(lambda: not doomed.is_running(), f"the worker dies at {where}")
        self.end_leases()

    def end_leases(self) -> None:
        """Whatever a process held that is no more is free now."""

        async def end(spool: Spool) -> None:
            for message_id in await spool.redis.zrange(keys.LEASED, 0, -1):
                await spool.redis.zadd(keys.LEASED, {message_id: 0}, xx=True)

        self.run(end)

    # -- SMTP

    def send_mail(self, recipients: Sequence[str], content: bytes = b"Subject: hello\r\n\r\nHello.\r\n") -> str:
        """One mail through the gateway; the id that it answered."""
        with smtplib.SMTP("127.0.0.1", int(self.environment["SLUICE_SMTP_PORT"]), timeout=60) as client:
            client.ehlo()
            assert client.mail("app@example.com")[0] == 250
            for address in recipients:
                assert client.rcpt(address)[0] == 250
            code, text = client.data(b"From: app@example.com\r\n" + content)
            assert code == 250, text
            return text.decode().rpartition(" ")[2]

    # -- the end

    def published(self) -> list[dict[str, Any]]:
        """The events in the NDJSON file (whole lines: a worker may be writing)."""
        path = self.folder / "events.ndjson"
        whole, _, _ = path.read_text("utf-8").rpartition("\n") if path.exists() else ("", "", "")
        return [json.loads(line) for line in whole.split("\n")] if whole else []

    def wait_for_events(self, message_ids: Sequence[str]) -> None:
        """Until the events of all recipients that were sent or rejected are in the file."""
        messages = self.load_all(message_ids).values()
        sent, rejected = (
            {(one.message_id, one.recipients[index]) for one in messages for index in one.indexes(state)}
            for state in (RecipientState.SENT, RecipientState.REJECTED)
        )

        def are_told() -> bool:
            told = _told(self.published())
            return told.get("Send", set()) >= sent and _refused(told) >= rejected

        wait_until(are_told, "events of all recipients that were sent or rejected")

    def account(self, message_ids: Sequence[str]) -> "Account":
        """The books of these messages, when the events that are still on their way have been published."""
        self.wait_for_events(message_ids)
        return accounting(list(self.load_all(message_ids).values()), set(message_ids), self.ledger(), self.published())


@dataclasses.dataclass
class Account:
    """What became of the accepted recipients, and every contradiction between the books."""

    accepted: int
    by_state: Counter[str]
    lost: int
    duplicates: int
    problems: list[str]

    def assert_clean(self) -> None:
        assert not self.problems, self.problems
        assert self.lost == 0


def accounting(
    messages: Sequence[Message],
    message_ids: set[str],
    ledger: Sequence[dict[str, Any]],
    events: Sequence[dict[str, Any]],
) -> Account:
    """The invariant: nothing lost; sent twice only where a call ended without an answer; the events agree."""
    calls: Counter[tuple[str, str]] = Counter()
    for entry in ledger:
        message_id = entry["tags"].get("sluice-batch", "").rpartition(".")[0]
        calls.update((message_id, address) for address in entry["destinations"])
    told = _told(events)
    account = Account(0, Counter(), 0, 0, [])
    account.problems += [f"{one} is unknown to the spool" for one in message_ids - {m.message_id for m in messages}]
    for message in messages:
        for index, address in enumerate(message.recipients):
            _count_one(account, message, index, calls[message.message_id, address], told)
    return account


def _count_one(
    account: Account, message: Message, index: int, times: int, told: dict[str, set[tuple[str, str]]]
) -> None:
    state, address = message.states[index], message.recipients[index]
    name = f"{message.message_id} recipient {index}"
    doubts = calls_in_doubt([one for one in message.attempts if index in one.recipients])
    account.accepted += 1
    account.by_state[state.name.lower()] += 1
    account.duplicates += max(0, times - 1)
    if state is RecipientState.SENT and times == 0:
        account.lost += 1
        account.problems.append(f"{name} is called sent, but SES has no such mail")
    if times > 1 + doubts:
        account.problems.append(f"{name} was sent {times} times with {doubts} calls in doubt")
    if times and not state.is_final and not doubts and state is not RecipientState.SENDING:
        account.problems.append(f"{name} was sent {times} times and is {state.name}")
    if message.place is Place.DONE and not state.is_final:
        account.lost += 1
        account.problems.append(f"{name} is {state.name} in a finished message")
    if state is RecipientState.SENT and told and (message.message_id, address) not in told.get("Send", set()):
        account.problems.append(f"{name} was sent without a Send event")
    if state is RecipientState.REJECTED and (message.message_id, address) not in _refused(told):
        account.problems.append(f"{name} was rejected without an event Reject, Bounced or Bounce")


def calls_in_doubt(attempts: Sequence[Attempt]) -> int:
    """Calls without an answer, and answers that came after another worker had taken over."""
    without = sum(1 for one in attempts if one.outcome in {None, "unknown"})
    late = sum(
        1
        for earlier, later in itertools.pairwise(sorted(attempts, key=lambda one: one.number))
        if earlier.outcome == "accepted" and earlier.worker != later.worker
    )
    return without + late


def _refused(told: dict[str, set[tuple[str, str]]]) -> set[tuple[str, str]]:
    """A recipient that SES never got has a Bounce only for the suppression list."""
    return told.get("Reject", set()) | told.get("sluice:Bounced", set()) | told.get("Bounce", set())


def _told(events: Sequence[dict[str, Any]]) -> dict[str, set[tuple[str, str]]]:
    told: dict[str, set[tuple[str, str]]] = {}
    for event in events:
        if "mail" not in event:  # an operator's act is about no message
            continue
        message_id = event["mail"]["tags"]["sluice:message-id"][0]
        told.setdefault(event["eventType"], set()).update((message_id, one) for one in event["mail"]["destination"])
    return told


def _message(recipients: int | Sequence[str], size_bytes: int, sender: str, lane: str) -> NewMessage:
    message_id = new_message_id()
    if isinstance(recipients, int):
        recipients = [f"r{number}.{message_id[17:25]}@example.net" for number in range(recipients)]
    header = f"X-Sluice-Lane: {lane}\r\n" if lane else ""
    return NewMessage(
        message_id=message_id,
        sender=sender,
        recipients=tuple(recipients),
        content=f"From: {sender}\r\nTo: list@example.net\r\n{header}Subject: test\r\n\r\n".encode()
        + (b"x" * 70 + b"\r\n") * (size_bytes // 72 + 1),
        header_message_id=f"{message_id}@example.com",
        event=EventRecord("accepted", message_id, time.time_ns() // 1_000_000).encode(),
    )
