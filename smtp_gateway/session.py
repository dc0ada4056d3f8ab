"""One SMTP connection: its life from the banner to the close. What each command does is in commands.py.

The ground is aiosmtpd's SMTP class (exactly 1.4.6, the private names used here are pinned by tests): its place in
asyncio's streams, its Session and its Envelope. Replaced, because they decide over speed or safety:
- the constructor (it inspects the class for every connection) and the command loop (limits, one table of replies);
- eof_received and connection_lost, which cancel the handler: a client that half-closes after the final dot must get
  its answer, and a commit under way must not be torn;
- STARTTLS, by the loop's own start_tls, which works under uvloop. What came in plain text behind it is thrown away.
  The port with implicit TLS is accepted plainly and goes the same way at once: a connection counts before it has
  shaken hands.
"""

import asyncio
import ssl
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from config.logs import get_log
from smtp_gateway import commands
from smtp_gateway.door import Door
from smtp_gateway.replies import Reply
from smtp_gateway.users import User

# The reader holds at most twice this much for a session; a message is taken from it in pieces of this size.
READ_BYTES = 64 * 1024
# A client that does not read its last reply, or does not end TLS, is cut off after this.
LAST_REPLY_SECONDS = 5.0


class Transaction(Envelope):
    """From MAIL to the reply after the final dot. `mail_from` None = there is none, "" = the null sender."""

    def __init__(self) -> None:
        super().__init__()
        #: identity_of() each recipient: one that comes twice is kept once.
        self.identities: set[str] = set()
        #: Commands of the session before MAIL: what an accepted message gives back.
        self.commands_before = 0


class SmtpSession(SMTP):
    """A connection. Everything shared is in the Door."""

    # What methods of the base class read, once for all sessions.
    enable_SMTPUTF8 = True  # noqa: N815 - the base's name
    transport: asyncio.Transport | None = None
    session: Session
    envelope: Transaction
    _original_transport = None
    _tls_protocol = None
    _timeout_handle: asyncio.TimerHandle | None = None

    def __init__(  # the base's is not called on purpose
        self, door: Door, loop: asyncio.AbstractEventLoop, *, begins_with_tls: bool = False
    ) -> None:
        self.loop = loop
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=READ_BYTES, loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.door = door
        self.client_address = ""
        self.has_tls = False
        self.user: User | None = None
        self.failed_logins = 0
        self.commands = 0
        self.errors = 0
        self._heard_at = loop.time()
        #: While the spool or scrypt is waited for, silence is ours, not the client's.
        self.is_busy = False
        self._is_leaving = False
        self._begins_with_tls = begins_with_tls
        #: No word of ours may go out in plain text now.
        self._is_shaking_hands = begins_with_tls

    # -- the place in asyncio's streams

    def _set_rset_state(self) -> None:
        self.envelope = Transaction()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.client_address = peer[0] if isinstance(peer, tuple) else "unknown"
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._timeout_handle:
            self._timeout_handle.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self.transport = None

    def eof_received(self) -> bool | None:
        return asyncio.StreamReaderProtocol.eof_received(self)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Called once by the base; the timer looks at `_heard_at` instead of being set anew for every command."""
        after = duration or self.door.settings.idle_timeout_seconds
        self._timeout_handle = self.loop.call_later(after, self._look_for_silence)

    def _look_for_silence(self) -> None:
        limit = self.door.settings.idle_timeout_seconds
        silent_for = 0.0 if self.is_busy else self.loop.time() - self._heard_at
        if silent_for < limit:
            self._reset_timeout(limit - silent_for)
        else:
            self._dismiss(Reply.IDLE_TOO_LONG)

    # -- the life of the session

    async def _handle_client(self) -> None:
        refusal = self.door.enter(self, self.client_address)
        if refusal:
            self._dismiss(refusal)
            return
        self.door.tally.count("smtp_connections")
        try:
            if self._begins_with_tls:
                await self._shake_hands()
            await self.send(self.door.banner)
            await self._converse()
        except ConnectionError:
            pass  # the client left; what it had not finished is gone, as it must expect
        except Exception as error:  # noqa: BLE001 - the edge: a bug ends this session and no other
            self._dismiss(self._reply_to_bug(error))
        finally:
            self.door.leave(self, self.client_address)
            if self.transport:
                self.transport.close()

    async def _converse(self) -> None:
        while self.transport and not self.transport.is_closing():
            line = await self.next_line()
            if line is None:
                return
            self.commands += 1
            if self.commands > self.door.settings.max_commands:
                reply: Reply | None = Reply.TOO_MANY_COMMANDS
            else:
                reply = await self._obeyed(line)
            if reply:
                await self.answer(reply)
            if self._is_leaving and not self.is_in_transaction:
                self.leave_now()

    async def _obeyed(self, line: bytes) -> Reply | None:
        try:
            return await commands.obey(self, line)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug in one command must not say 5xx, nor end the process
            self._set_rset_state()
            return self._reply_to_bug(error)

    def _reply_to_bug(self, error: Exception) -> Reply:
        get_log().error("gateway.session_failed", client=self.client_address, exc_info=error)
        return Reply.FAILED

    @property
    def is_in_transaction(self) -> bool:
        """Between MAIL and the reply after the final dot."""
        return self.envelope.mail_from is not None

    def start_afresh(self) -> None:
        """Forgets a transaction that is under way (RSET, EHLO, the end of a message)."""
        self._set_rset_state()

    def leave_soon(self) -> None:
        self._is_leaving = True
        if not self.is_in_transaction:
            self.leave_now()

    def leave_now(self) -> None:
        self._dismiss(Reply.SHUTTING_DOWN)

    def _dismiss(self, reply: Reply) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self._note(reply)
        if self._is_shaking_hands:
            transport.abort()
            return
        transport.write(reply.line)
        transport.close()
        if transport.get_write_buffer_size():
            self.loop.call_later(LAST_REPLY_SECONDS, transport.abort)

    # -- reading and writing

    async def next_line(self) -> bytes | None:
        """The next line with its end; None when the client has left. Lines over the limit are read and refused."""
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return None
            except asyncio.LimitOverrunError as overrun:
                await self._skip_line(overrun.consumed)
                await self.answer(Reply.COMMAND_TOO_LONG)
                continue
            self._heard_at = self.loop.time()
            return line

    async def _skip_line(self, buffered_bytes: int) -> None:
        while True:
            await self._reader.readexactly(buffered_bytes)
            self._heard_at = self.loop.time()
            try:
                await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as overrun:
                buffered_bytes = overrun.consumed
            except asyncio.IncompleteReadError as cut:
                raise ConnectionAbortedError("the client left inside a line") from cut
            else:
                return

    async def next_chunk(self) -> bytes:
        """What has come of a message. Raises ConnectionError when the client has left."""
        chunk = await self._reader.read(READ_BYTES)
        if not chunk:
            raise ConnectionAbortedError("the client left before the final dot")
        self._heard_at = self.loop.time()
        return chunk

    def put_back(self, rest: bytes) -> None:
        """What followed the final dot in its chunk: the next commands."""
        if rest:
            self._reader._buffer[:0] = rest  # type: ignore[attr-defined]  # noqa: SLF001 - StreamReader has no unread

    async def send(self, line: bytes) -> None:
        """Writes a reply; waits only when the client does not read."""
        self._writer.write(line)
        await self._writer.drain()

    async def until_written(self) -> None:
        """Lets the loop hand to the kernel what was sent: uvloop writes at the end of a round. For failpoints."""
        for _ in range(2):
            await asyncio.sleep(0)

    async def answer(self, reply: Reply, *, is_error: bool = True) -> None:
        """Sends a reply, counts a refusal (against `max_errors` when it is an error), and closes after the last one."""
        if reply.is_clients_fault and is_error:
            self.errors += 1
            if self.errors >= self.door.settings.max_errors:
                self._note(reply)
                reply = Reply.TOO_MANY_ERRORS
        self._note(reply)
        if not reply.closes:
            await self.send(reply.line)
        elif self.transport:
            self.transport.write(reply.line)
            self.transport.close()

    def _note(self, reply: Reply) -> None:
        if reply.is_refusal:
            self.door.tally.count(reply.counter)

    # -- TLS

    async def upgrade_to_tls(self) -> None:
        """Says 220 and does the handshake; the session starts afresh. Raises ConnectionError when it fails."""
        cast("asyncio.Transport", self.transport).write(Reply.START_TLS.line)
        await self._shake_hands()

    async def _shake_hands(self) -> None:
        transport, certificates = self.transport, self.door.certificates
        if transport is None or transport.is_closing() or certificates is None:
            raise ConnectionAbortedError("the client left before the TLS handshake")
        transport.pause_reading()
        reader = cast("Any", self._reader)
        early = bytes(reader._buffer) if self._begins_with_tls else b""  # noqa: SLF001 - the handshake's first bytes
        # No command that came in plain text may be obeyed as if it had come under TLS (RFC 3207, CVE-2011-0411).
        reader._buffer.clear()  # noqa: SLF001 - see above: StreamReader has no "forget"
        reader._paused = False  # noqa: SLF001 - start_tls resumes the transport itself
        self.is_busy = self._is_shaking_hands = True  # the handshake has a time limit of its own
        try:
            upgrade = self.loop.create_task(self._start_tls(transport, certificates.context))
            if early:
                await asyncio.sleep(0)  # now start_tls has planned its first steps; this one comes right behind them
                self.loop.call_soon(_hand_over, transport, early)
            upgraded = await upgrade
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ConnectionAbortedError("TLS handshake failed") from error
        if upgraded is None:
            raise ConnectionAbortedError("the client left during the TLS handshake")
        self.is_busy = self._is_shaking_hands = False
        self._heard_at = self.loop.time()
        self._take_transport(upgraded)

    async def _start_tls(self, transport: asyncio.Transport, context: ssl.SSLContext) -> asyncio.Transport | None:
        return await self.loop.start_tls(
            transport,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=self.door.handshake_seconds,
            ssl_shutdown_timeout=LAST_REPLY_SECONDS,
        )

    def _take_transport(self, transport: asyncio.Transport) -> None:
        for holder in (cast("Any", self._reader), cast("Any", self._writer), cast("Any", self)):
            holder._transport = transport  # noqa: SLF001 - asyncio's own StreamWriter.start_tls does the same
        self._over_ssl = True
        self.transport = transport
        self.has_tls = True
        self.user = None
        peer = self.session.peer
        self.session = self._create_session()
        self.session.peer = peer
        self.start_afresh()


def _hand_over(transport: asyncio.Transport, early: bytes) -> None:
    """Gives TLS what came before it took over. uvloop starts to read whatever connection_made says about pausing."""
    tls = cast("Any", transport.get_protocol())  # a BufferedProtocol in both loops
    while early and not transport.is_closing():
        buffer = tls.get_buffer(len(early))
        taken = min(len(buffer), len(early))
        buffer[:taken] = early[:taken]
        tls.buffer_updated(taken)
        early = early[taken:]
