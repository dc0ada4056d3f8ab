"""A gateway inside the test's own loop, with a spool that remembers, and throw-away certificates."""

import asyncio
import datetime as dt
import functools
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config.settings import SmtpSettings
from smtp_gateway.certificates import Certificates
from smtp_gateway.credentials import Credentials
from smtp_gateway.door import Door
from smtp_gateway.session import SmtpSession
from smtp_gateway.suppressed import SuppressedRecipients
from smtp_gateway.users import UserFile
from spool.commit import Committer
from spool.records import NewMessage
from spool.safety import SafetyReport
from spool.scripts import StoreUnavailable
from spool.suppression import Entry
from spool.tally import Tally

SAFE = SafetyReport(is_safe=True, is_full=False, problems=())
UNSAFE = SafetyReport(is_safe=False, is_full=False, problems=("a test",))
FULL = SafetyReport(is_safe=True, is_full=True, problems=("a test",))


class RememberingSpool:
    """Keeps what it accepts, and knows what repeats it.

    `troubles` are raised first, one for each accept; `gate` holds every accept back.
    """

    def __init__(self) -> None:
        self.kept: dict[str, NewMessage] = {}
        self.offered: list[str] = []
        self.withdrawn: list[str] = []
        self.troubles: list[Exception] = []
        self.withdraw_troubles: list[Exception] = []
        self.keeps_in_trouble = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def accept(self, message: NewMessage) -> str:
        self.offered.append(message.message_id)
        await self.gate.wait()
        if message.message_id in self.withdrawn:
            raise StoreUnavailable("the message was withdrawn")
        if self.troubles:
            if self.keeps_in_trouble:
                self.kept[message.message_id] = message
            raise self.troubles.pop(0)
        earlier = [one for one in self.kept.values() if message.once and one.once == message.once]
        kept = earlier[0] if earlier else message
        self.kept[kept.message_id] = kept
        return kept.message_id

    async def withdraw(self, message_ids: Sequence[str]) -> list[bool]:
        if self.withdraw_troubles:
            raise self.withdraw_troubles.pop(0)
        self.withdrawn += message_ids
        return [self.kept.pop(one, None) is not None for one in message_ids]

    @property
    def messages(self) -> list[NewMessage]:
        return list(self.kept.values())


class ListInMemory:
    """A suppression list with these addresses."""

    is_known_empty = False

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def is_empty(self) -> bool:
        return not self._addresses

    async def among(self, addresses: Sequence[str]) -> dict[str, Entry]:
        return {one: Entry(one, "BOUNCE", "operator", 1) for one in addresses if one.lower() in self._addresses}


@dataclass
class RememberingNudger:
    nudged: list[str] = field(default_factory=list)

    def process(self, message_ids: Sequence[str]) -> None:
        self.nudged += message_ids


@dataclass
class Watch:
    report: SafetyReport = SAFE


async def until(condition: Callable[[], object]) -> None:
    """Returns when the condition holds; fails after a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class Stand:
    """A running gateway and what it did."""

    port: int
    tls_port: int
    door: Door
    spool: RememberingSpool
    nudger: RememberingNudger
    watch: Watch
    servers: list[asyncio.Server]
    loop: asyncio.AbstractEventLoop

    def counts(self) -> dict[str, int]:
        return dict(self.door.tally._counts)

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    def limit_silence(self, seconds: float) -> None:
        """Another idle limit, which the open sessions look at as well. From any thread."""

        def change() -> None:
            self.door.settings = self.door.settings.model_copy(update={"idle_timeout_seconds": seconds})
            for session in self.door._sessions:
                assert isinstance(session, SmtpSession)
                session._timeout_handle.cancel()
                session._look_for_silence()

        self.loop.call_soon_threadsafe(change)


@asynccontextmanager
async def standing(
    folder: Path,
    *,
    users: Sequence[tuple[str, str, tuple[str, ...]]] = (),
    certificate: bool = False,
    suppressed: Sequence[str] = (),
    commit_timeout_seconds: float | None = None,
    handshake_seconds: float = 60.0,
    **settings: object,
) -> AsyncIterator[Stand]:
    """Starts a gateway with these settings of [smtp] on free ports."""
    smtp = SmtpSettings.model_validate({"hostname": "mx.test", **settings})
    spool, nudger, watch = RememberingSpool(), RememberingNudger(), Watch()
    file = UserFile(folder / "users.json")
    for name, password, senders in users:
        file.add(name, password, senders)
    certificates = Certificates(*write_certificate(folder)) if certificate else None
    credentials = Credentials(file)
    committer = Committer(spool, watch, timeout_seconds=commit_timeout_seconds or smtp.commit_timeout_seconds)
    door = Door(
        smtp,
        committer=committer,
        credentials=credentials,
        nudger=nudger,
        tally=Tally(),
        certificates=certificates,
        wrong_login_pause_seconds=0.0,
        handshake_seconds=handshake_seconds,
        suppressed=SuppressedRecipients(ListInMemory(suppressed)),
    )
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: SmtpSession(door, loop), "127.0.0.1", 0)]
    if certificates:
        secured = functools.partial(SmtpSession, door, loop, begins_with_tls=True)
        servers.append(await loop.create_server(secured, "127.0.0.1", 0))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    stand = Stand(ports[0], ports[-1] if certificate else 0, door, spool, nudger, watch, servers, loop)
    try:
        yield stand
    finally:
        for server in servers:
            server.close()
        await door.drain(0.05)
        await committer.drain(0.0)
        credentials.close()


def write_certificate(folder: Path, name: str = "mx.test") -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files; overwrites what is there."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
