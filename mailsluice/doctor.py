"""`mailsluice doctor`: looks at everything between an application and SES's events, mends, and proves that it works.

1. What is here: store, files, webhooks, health. 2. The SES account. 3. The way of its events: configuration set, topic,
queue, policies; `--fix` makes what is missing there. 4. Three mails to SES's mailbox simulator, whose events have to
come back. Beside `mailsluice up` with its simulator it looks at the simulated account, with the same code.

It changes nothing without `--fix`, but for the three mails of step 4, which `--no-send` leaves out.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import typer

from config.aws_clients import BotoErrors, SetUpService, aws_session, set_up_client
from config.redis_clients import redis_client
from config.settings import Settings
from mailsluice.doctor_account import AccountClients, Sender, check_account
from mailsluice.doctor_here import check_here
from mailsluice.doctor_proof import Door, by_smtp, prove
from mailsluice.doctor_report import Finding, as_json, exit_code_of, fail, line_of, summary_of, warn
from mailsluice.doctor_wiring import SetUpClients, Wiring, check_wiring
from mailsluice.run_file import RUN_FILE
from mailsluice.upstream import reachable, simulator_environ, simulator_queue_url
from spool.assembly import open_spool
from spool.scripts import StoreUnavailable

DEFAULT_REGION = "us-east-1"
_TO_WRITE = (
    "To be written into mailsluice.toml, and restart (`mailsluice up`, or workers, API and `mailsluice feedback`):"
)
SIMULATED_SENDER = "doctor@example.com"


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What the command line says."""

    repairs: bool = False
    sends: bool = True
    is_json: bool = False
    #: Envelope sender of the proof; "" = a verified identity.
    sender: str = ""
    #: Where the proof goes in; "" = as [smtp] says.
    smtp: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    wait_seconds: float = 60.0


class Examination:
    """One run: the findings so far, told as they are made."""

    def __init__(self, settings: Settings, options: DoctorOptions, *, is_simulated: bool) -> None:
        self._settings = settings
        self._options = options
        self._is_simulated = is_simulated
        self._sender = Sender(options.sender or (SIMULATED_SENDER if is_simulated else ""))
        queue_url = settings.feedback.queue_url or (simulator_queue_url(settings) if is_simulated else "")
        self._wiring = Wiring(settings.relay.ses_configuration_set, queue_url, is_simulated=is_simulated)
        self.findings: list[Finding] = []
        self.proven_seconds: float | None = None

    @property
    def to_write(self) -> list[str]:
        """Lines for mailsluice.toml that the repairs ask for."""
        return self._wiring.to_write

    @property
    def _hears_otherwise(self) -> bool:
        return bool(self._settings.feedback.topics or self._settings.feedback.simulator_url)

    async def run(self) -> None:
        """All four steps; a step that cannot be done tells why and the next is tried."""
        await self._note_all(check_here(self._settings))
        async with AsyncExitStack() as stack:
            try:
                clients = await _opened(stack, self._settings)
            except BotoErrors as error:
                self._note(fail("AWS", str(error), "set AWS_REGION, and look at the profile and the keys"))
            else:
                await self._note_all(self._account_and_wiring(clients))
        if self._options.sends:
            await self._prove()

    async def _account_and_wiring(self, clients: dict[SetUpService, object]) -> AsyncIterator[Finding]:
        account = AccountClients(clients["sts"], clients["ses"], clients["sesv2"])
        async for finding in check_account(account, self._sender):
            yield finding
        wires = SetUpClients(clients["ses"], clients["sns"], clients["sqs"])
        async for finding in check_wiring(wires, self._settings, self._wiring, repairs=self._options.repairs):
            yield finding
        if self._settings.feedback.topics:
            text = "notifications by POST /feedback/sns are taken too; this way is not looked at, only proven"
            yield warn("topics", text)

    async def _prove(self) -> None:
        if self.to_write and not self._is_simulated:
            self._note(
                warn("proof", "left out", "write the settings below, start anew, and run `mailsluice doctor` again")
            )
            return
        if any(one.level == "fail" and one.about == "queue" for one in self.findings) and not self._hears_otherwise:
            self._note(warn("proof", "left out: without the queue no event comes back", "mend the queue first"))
            return
        if not self._sender.address:
            self._note(fail("proof", "there is no sender that SES takes", "verify one, or name --from ADDRESS"))
            return
        redis = redis_client(self._settings.redis_url, connections=4)
        spool = open_spool(self._settings, redis=redis)
        try:
            submit = by_smtp(_door(self._settings, self._options))
            wait_seconds = self._options.wait_seconds
            proof, findings = await prove(spool, submit, self._sender.address, wait_seconds=wait_seconds)
        except StoreUnavailable as error:
            self._note(
                fail("proof", f"the spool does not answer: {error.reason}", "start `mailsluice up`, or the store")
            )
            return
        finally:
            await redis.aclose()
        for finding in findings:
            self._note(finding)
        if proof.is_complete:
            self.proven_seconds = max(proof.seen.values())

    async def _note_all(self, findings: AsyncIterator[Finding]) -> None:
        async for finding in findings:
            self._note(finding)

    def _note(self, finding: Finding) -> None:
        self.findings.append(finding)
        if not self._options.is_json:
            typer.echo(line_of(finding))


def run(settings: Settings, options: DoctorOptions) -> int:
    """The whole of it; 0 = nothing failed, 1 = something did."""
    is_simulated = runs_with_simulator(settings)
    if is_simulated:
        environ = simulator_environ(settings, os.environ)
        os.environ.clear()
        os.environ.update(environ)
    examination = Examination(settings, options, is_simulated=is_simulated)
    asyncio.run(examination.run())
    if options.is_json:
        typer.echo(as_json(examination.findings, examination.to_write, examination.proven_seconds))
    else:
        typer.echo(ending_of(examination))
    return exit_code_of(examination.findings)


def ending_of(examination: Examination) -> str:
    """What people read below the findings."""
    lines = ["", summary_of(examination.findings)]
    if examination.to_write:
        lines += ["", _TO_WRITE, *(f"  {line}" for line in examination.to_write)]
    if examination.proven_seconds is not None:
        lines.append(f"feedback loop proven in {examination.proven_seconds:.1f} s")
    return "\n".join(lines)


def runs_with_simulator(settings: Settings) -> bool:
    """Whether a `mailsluice up` of this data dir runs with the simulator."""
    try:
        running = json.loads((settings.data.dir.absolute() / RUN_FILE).read_bytes())
        return "simulator" in running["addresses"] and Path(f"/proc/{int(running['pid'])}").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


async def _opened(stack: AsyncExitStack, settings: Settings) -> dict[SetUpService, object]:
    session = aws_session(settings.relay.region)
    if session.region_name is None:  # as the relay does
        session = aws_session(DEFAULT_REGION)
    services: tuple[SetUpService, ...] = ("sts", "ses", "sesv2", "sns", "sqs")
    return {service: await stack.enter_async_context(set_up_client(session, service)) for service in services}


def _door(settings: Settings, options: DoctorOptions) -> Door:
    host, _, port = options.smtp.rpartition(":")
    return Door(
        host.strip("[]") or reachable(settings.smtp.host),
        int(port) if port.isdecimal() else settings.smtp.port,
        options.user,
        options.password,
    )
