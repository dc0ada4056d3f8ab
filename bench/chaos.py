"""`python -m bench.chaos`: mail flows while our processes and Redis are killed and SES misbehaves; then the books.

1. Two gateways, two workers, Redis and the simulator run, and feedback when calls without an answer are confirmed by
   SES's own events (`--unknown confirm`); clients send and repeat until they hear 250.
2. For `--seconds` processes get SIGKILL at random moments. SES hangs, fails and throttles calls; throttle storms, an
   ended daily quota and a paused account come and go.
3. Then peace: everything runs, SES behaves, the clients get their last 250, and what is in the spool is finished.
4. Clients, spool, SES's ledger and the published events are compared. Exit code 1 when a promise is broken.
The seed repeats the choices, not the moments they meet: two runs are alike, not equal.
"""

import argparse
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.chaos_books import Books, balance
from bench.chaos_clients import Clients
from bench.chaos_kills import Killer, shown
from bench.chaos_troubles import MAX_24_HOUR_SEND, MAX_SEND_RATE, TEMPO, Tempo
from bench.spooled import all_messages, places
from tests.line import Line
from tests.servers import free_port

PEACE_SECONDS = 180.0
SETTINGS = {
    "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "3",
    "SLUICE_RELAY_CONFIRM_SECONDS": "5",
    "SLUICE_RELAY_QUOTA_REFRESH_SECONDS": "1",
    "SLUICE_SIMULATOR_MAX_SEND_RATE": str(MAX_SEND_RATE),
    "SLUICE_SIMULATOR_MAX_24_HOUR_SEND": str(MAX_24_HOUR_SEND),
    "SLUICE_SMTP_COMMIT_TIMEOUT_SECONDS": "10",
    "SLUICE_SMTP_MAX_CONNECTIONS_PER_ADDRESS": "1000",
    # A worker that keeps dying is the point here; nothing may end up with the operator for it.
    "SLUICE_WORKER_MAX_CRASHES": "1000",
    # What a killed worker held is soon taken by others, and what one holds that is only slow is not.
    "SLUICE_WORKER_LEASE_SECONDS": "6",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much chaos."""

    seconds: float = 120.0
    clients: int = 10
    messages_per_second: float = 100.0
    gateways: int = 2
    workers: int = 2
    seed: int = 0
    #: Shortest and longest pause between two kills.
    kill_pause_seconds: tuple[float, float] = (0.3, 3.0)
    tempo: Tempo = TEMPO
    #: What follows a call without an answer. With confirm, none of them may double anything.
    unknown: Literal["confirm", "resend"] = "confirm"

    @property
    def processes(self) -> dict[str, int]:
        """Kind → how many."""
        feedback = {"feedback": 1} if self.unknown == "confirm" else {}
        return {"gateway": self.gateways, "worker": self.workers, **feedback}


@dataclass(frozen=True, slots=True)
class Report:
    """What happened and what the books say."""

    plan: Plan
    killer: Killer
    books: Books

    @property
    def is_clean(self) -> bool:
        """No promise was broken."""
        return not self.books.problems and not self.books.lost and not self.books.unexplained

    def text(self) -> str:
        """For people."""
        books, plan = self.books, self.plan
        explained = books.duplicates - books.unexplained
        lines = [
            f"chaos for {plan.seconds:g} s, seed {plan.seed}, {plan.unknown}: {shown(Counter(plan.processes))}, Redis",
            f"killed (-9)            {shown(self.killer.kills)}",
            f"ended by themselves    {shown(self.killer.ends)}",
            f"SES troubles           {shown(self.killer.troubles.counts)}",
            f"answered with 250      {books.answered_messages} messages, {books.answered_recipients} recipients",
            f"client tries without   {books.tries_without_ok}, of these {books.doubtful_tries} after the final dot",
            f"in the spool           {books.spooled_messages} messages, recipients: {shown(books.by_state)}",
            f"lost                   {books.lost}",
            f"duplicates             {books.duplicates}: {explained} by a lost answer, {books.unexplained} unexplained",
            *(f"BROKEN: {problem}" for problem in books.problems[:50]),
            f"verdict                {'every promise kept' if self.is_clean else 'BROKEN'}",
        ]
        return "\n".join(lines)


def run_chaos(plan: Plan, say: Callable[[str], None] = lambda _: None) -> Report:
    """The whole of it; ends everything that it started."""
    with Line(**SETTINGS, SLUICE_SMTP_PORT=str(free_port()), SLUICE_RELAY_UNKNOWN=plan.unknown) as line:
        if plan.unknown == "confirm":
            line.environment["SLUICE_FEEDBACK_SIMULATOR_URL"] = line.simulator_url
        killer = Killer(
            line,
            processes=plan.processes,
            seed=plan.seed,
            pause_seconds=plan.kill_pause_seconds,
            tempo=plan.tempo,
        )
        killer.start_all()
        clients = Clients(
            int(line.environment["SLUICE_SMTP_PORT"]),
            clients=plan.clients,
            per_second=plan.messages_per_second,
            seed=plan.seed,
        )
        sending = threading.Thread(target=clients.run, name="clients", daemon=True)
        sending.start()
        killer.run(plan.seconds, say)
        clients.stop()
        problems = _make_peace(line, killer, sending, say)
        messages = line.run(all_messages)
        try:
            line.wait_for_events([message.message_id for message in messages])
        except AssertionError as error:
            problems.append(str(error))
        may_resend = plan.unknown == "resend"
        books = balance(clients.sendings, messages, line.ledger(), line.published(), may_resend=may_resend)
        books.problems = problems + books.problems
        return Report(plan, killer, books)


def _make_peace(line: Line, killer: Killer, sending: threading.Thread, say: Callable[[str], None]) -> list[str]:
    """Waits until the clients have their answers and nothing is unfinished; what did not come to an end."""
    limit = time.monotonic() + PEACE_SECONDS
    say("peace: waiting for the last answers and for the spool to empty")
    while time.monotonic() < limit:
        killer.revive()
        if not sending.is_alive() and not (waiting := line.run(places)).total():
            return []
        time.sleep(0.2)
    if sending.is_alive():
        return [f"clients wait for an answer since {PEACE_SECONDS:g} s"]
    return [f"after {PEACE_SECONDS:g} s of peace there are unfinished messages: {shown(waiting)}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the chaos (120)")
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second (100)")
    parser.add_argument("--unknown", choices=("confirm", "resend"), default="confirm", help="policy (confirm)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here is ended
    plan = Plan(
        seconds=arguments.seconds,
        messages_per_second=arguments.rate,
        seed=arguments.seed,
        unknown=arguments.unknown,
    )
    report = run_chaos(plan, lambda text: print(text, flush=True))
    print(report.text())
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
