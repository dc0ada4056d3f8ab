"""What all SMTP sessions of one process share, and the way out when the process is told to stop."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from config.failpoints import Failpoints
from config.settings import SmtpSettings
from smtp_gateway.admission import Connections, MemoryBudget, Networks
from smtp_gateway.certificates import Certificates
from smtp_gateway.credentials import Credentials
from smtp_gateway.replies import Reply, several_lines
from smtp_gateway.suppressed import SuppressedRecipients
from spool.commit import Committer
from spool.tally import Tally

SHORTEST_WRONG_LOGIN_PAUSE_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0


class Nudges(Protocol):
    """What the gateway asks of the nudger."""

    def process(self, message_ids: Sequence[str]) -> None:
        """Tells the workers; returns at once and never raises."""
        ...


class OpenSession(Protocol):
    """What the door asks of a session."""

    def leave_soon(self) -> None:
        """Says 421 now, or after the transaction that is under way."""
        ...

    def leave_now(self) -> None:
        """Says 421 and closes, whatever is under way."""
        ...


class Door:
    """Built once at the start of the process and passed to every session."""

    def __init__(
        self,
        settings: SmtpSettings,
        *,
        committer: Committer,
        credentials: Credentials,
        nudger: Nudges,
        tally: Tally,
        certificates: Certificates | None = None,
        failpoints: Failpoints | None = None,
        wrong_login_pause_seconds: float = SHORTEST_WRONG_LOGIN_PAUSE_SECONDS,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        suppressed: SuppressedRecipients | None = None,
    ) -> None:
        self.settings = settings
        self.committer = committer
        self.credentials = credentials
        self.certificates = certificates
        self.nudger = nudger
        self.tally = tally
        self.failpoints = failpoints or Failpoints("")
        self.wrong_login_pause_seconds = wrong_login_pause_seconds
        self.handshake_seconds = handshake_seconds
        self.suppressed = suppressed or SuppressedRecipients()
        self.networks = Networks(settings.allowed_networks)
        self.budget = MemoryBudget(settings.memory_budget_bytes)
        self.connections = Connections(
            most=settings.max_connections, most_per_address=settings.max_connections_per_address
        )
        self.banner = Reply.READY.line_with(hostname=settings.hostname)
        self._hellos = {
            (starttls, auth): self._hello(starttls=starttls, auth=auth)
            for starttls in (False, True)
            for auth in (False, True)
        }
        self._sessions: set[OpenSession] = set()
        self._is_empty = asyncio.Event()
        self._is_draining = False

    def enter(self, session: OpenSession, client_address: str) -> Reply | None:
        """Counts a session in; a Reply says why it may not stay."""
        if self._is_draining:
            return Reply.SHUTTING_DOWN
        refusal = self.connections.enter(client_address)
        if refusal is None:
            self._sessions.add(session)
        return refusal

    def leave(self, session: OpenSession, client_address: str) -> None:
        """Counts a session out that was counted in."""
        self._sessions.discard(session)
        self.connections.leave(client_address)
        if not self._sessions:
            self._is_empty.set()

    def may_authenticate(self, *, has_tls: bool) -> bool:
        """Whether a password may be sent over this connection."""
        return has_tls or self.settings.auth_without_tls

    def hello(self, *, has_tls: bool) -> bytes:
        """The reply to EHLO."""
        offers_auth = self.may_authenticate(has_tls=has_tls) and self.credentials.exist()
        return self._hellos[self.certificates is not None and not has_tls, offers_auth]

    def refusal_of_stranger(self, *, has_tls: bool) -> Reply:
        """What a client hears at MAIL that is neither in an allowed network nor authenticated."""
        if not self.credentials.exist():
            return Reply.RELAY_DENIED
        if self.may_authenticate(has_tls=has_tls):
            return Reply.AUTH_NEEDED
        return Reply.TLS_NEEDED if self.certificates else Reply.RELAY_DENIED

    async def drain(self, grace_seconds: float) -> None:
        """Idle sessions leave at once, running transactions may end; what is left after the grace is closed."""
        self._is_draining = True
        self._is_empty.clear()
        for session in list(self._sessions):
            session.leave_soon()
        await self._until_empty(grace_seconds)
        for session in list(self._sessions):
            session.leave_now()
        await self._until_empty(1.0)

    async def _until_empty(self, seconds: float) -> None:
        if self._sessions:
            try:
                async with asyncio.timeout(seconds):
                    await self._is_empty.wait()
            except TimeoutError:
                return

    def _hello(self, *, starttls: bool, auth: bool) -> bytes:
        texts = [self.settings.hostname, "PIPELINING", f"SIZE {self.settings.max_message_bytes}"]
        texts += ["STARTTLS"] * starttls + ["AUTH PLAIN LOGIN"] * auth
        return several_lines(250, [*texts, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"])
