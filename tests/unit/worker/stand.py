"""A stand for single steps: a message, a spool that only remembers what it was told, and SES answers from a list."""

import asyncio
import dataclasses
import time

from config.failpoints import Failpoints
from config.logs import get_log
from config.settings import Settings
from spool.records import Attempt, Lease, Message, Settlement
from spool.sending_quota import Denied, Gate, Granted, LaneView, Lost, Pause, RouteView, Seat, Take, Trouble
from spool.states import Place, RecipientState
from spool.tally import Tally
from worker.leases import LeaseKeeper
from worker.relay.outcomes import Outcome
from worker.relay.retry import Backoff
from worker.relay.routes import Routes
from worker.relay.wire import Call
from worker.room import Room
from worker.rules.keeper import RuleKeeper
from worker.rules.patterns import parse_pattern
from worker.rules.records import Change, Disposal, Function, Rule, RuleSet
from worker.tools import Tools
from worker.work import Work

NOW_MS = 1_800_000_000_000
SEAT = Seat("default", "express", "app@example.com", 1.0, "example.com")


class RememberingSpool:
    """Takes every settlement (or raises what is put into `errors`) and hands out one content."""

    lease_seconds = 30.0

    def __init__(self, content: bytes = b"Subject: x\r\n\r\nbody\r\n") -> None:
        self.settlements: list[Settlement] = []
        #: What was granted, and answers that are given before anything is.
        self.takes: list[Take] = []
        self.denials: list[Denied] = []
        self.pauses: tuple[Pause, ...] = ()
        self.feedback_read_at_ms = 0
        self.errors: list[Exception] = []
        self.has_lease = True
        self.forgotten: list[str] = []
        self.contents = Contents()
        self._content = content

    async def settle(self, settlement: Settlement) -> bool:
        if self.errors:
            raise self.errors.pop(0)
        self.settlements.append(settlement)
        return self.has_lease

    async def intend(self, settlement: Settlement, take: Take) -> Granted | Denied | Lost:
        if self.errors:
            raise self.errors.pop(0)
        if self.denials:
            return self.denials.pop(0)
        self.settlements.append(settlement)
        self.takes.append(take)
        return Granted() if self.has_lease else Lost()

    async def read_pauses(self) -> tuple[Pause, ...]:
        return self.pauses

    async def feedback_seen_at_ms(self) -> int:
        return self.feedback_read_at_ms

    async def content_of(self, message: Message) -> bytes:
        return self._content

    async def forget_content(self, message: Message) -> None:
        self.forgotten.append(message.message_id)

    async def update_content(self, message_id: str, content: bytes) -> str:
        reference = f"file:{message_id}-u{len(self.contents.kept):08x}"
        self.contents.kept[reference] = content
        return reference


class AnsweringSes:
    """Gives the outcomes of a list, in order, and remembers the calls."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[Call] = []
        self.slots = asyncio.Semaphore(4)

    async def send(self, call: Call, may_send) -> Outcome:
        self.calls.append(call)
        return self.outcomes.pop(0)


class AnsweringFunctions:
    """Gives the answers of a list, in order (an exception is raised), and remembers the calls."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, bytes, str]] = []

    async def invoke(self, function: Function, *, rule: str, payload: bytes, invocation_id: str) -> bytes:
        self.calls.append((rule, payload, invocation_id))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class RememberingFlow:
    """Remembers which runs were opened, and hands out the contents that functions are said to have put."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, bool]] = []
        self.ended: list[str] = []
        self.put: dict[str, bytes] = {}

    async def begin(
        self, message: Message, content: bytes, *, invocation_id: str, seconds: float, is_sync: bool
    ) -> str:
        self.begun.append((invocation_id, is_sync))
        return invocation_id  # a token that tests can foresee

    async def end(self, message_id: str, run: str) -> bytes | None:
        self.ended.append(run)
        return self.put.pop(run, None)


class Contents:
    """Updated contents by their reference."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, reference: str) -> bytes:
        return self.kept[reference]


class Rules:
    """A rule set that is given and not read."""

    def __init__(self, *rules: Rule, version: str = "0123456789ab") -> None:
        self.current = RuleSet(version, tuple(rules))


def rule(name: str, disposal: Disposal | None = None, *changes: Change, number: int = 0, **fields) -> Rule:
    recipients = tuple(parse_pattern(text) for text in fields.pop("recipients", ()))
    directions = fields.pop("directions", ())
    return Rule(number, name, directions, recipients=recipients, disposal=disposal, changes=changes, **fields)


def message(recipients: int = 3, **fields) -> Message:
    values = {
        "message_id": "0000000000000001-00000000-0000-4000-8000-000000000000-000000",
        "sender": "app@example.com",
        "recipients": tuple(f"r{number}@example.net" for number in range(recipients)),
        "states": (RecipientState.WAITING,) * recipients,
        "place": Place.LEASED,
        "accepted_at_ms": NOW_MS - 1000,
        "size_bytes": 20,
        "door": "smtp",
        "header_message_id": "x@example.com",
        "user": "",
        "client_address": "127.0.0.1",
        "helo": "client",
        "is_auto_submitted": False,
        "content_ref": "",
        "rounds": 0,
        "failures": 0,
        "crashes": 0,
        "reason": "",
        "until_ms": NOW_MS + 30_000,  # claimed a moment ago
    }
    return Message(**{**values, **fields})


def attempt(number: int, recipients: tuple[int, ...], **fields) -> Attempt:
    return Attempt(number, recipients, NOW_MS - 500, "other-worker", **fields)


def stand(ses: AnsweringSes | None = None, spool: RememberingSpool | None = None, **settings) -> Tools:
    """Tools around the fakes; `settings` are sections: relay={...}."""
    spool = spool or RememberingSpool()
    ses = ses or AnsweringSes()
    checked = Settings.model_validate(settings)
    return Tools(
        settings=checked,
        spool=spool,
        routes=Routes(checked, new_client=lambda _: ses),
        leases=LeaseKeeper(spool),
        nudger=None,
        tally=Tally(),
        failpoints=Failpoints(""),
        log=get_log(),
        worker="this-worker",
        backoff=Backoff(checked.relay.retry_first_seconds, checked.relay.retry_max_seconds),
        content_room=Room(1_000_000),
        rules=RuleKeeper(checked),
        functions=AnsweringFunctions(),
        flow=RememberingFlow(),
        now_ms=lambda: NOW_MS,
        chance=lambda: 0.5,
    )


def work(tools: Tools, of: Message | None = None) -> Work:
    """The message as claimed a moment ago."""
    of = of or message()
    lease = Lease(of.message_id, 1, time.monotonic() + 30)
    tools.leases.take(lease)
    return dataclasses.replace(Work(of, lease), content=b"Subject: x\r\n\r\nbody\r\n")


def in_trouble(tools: Tools, *, is_account: bool = True, **lanes: LaneView) -> None:
    """The default route does not work, as the gate saw it."""
    trouble = Trouble("AccessDenied", "words", NOW_MS - 60_000, NOW_MS + 60_000, is_account)
    tools.routes.saw(
        Gate((), 1000, {"default": RouteView("default", trouble=trouble, lanes=lanes, taken_at_ms=NOW_MS)})
    )
