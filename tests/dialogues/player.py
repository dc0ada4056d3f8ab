r"""Plays an SMTP conversation that is written in a `.smtp` file. One line, one step:

# text              a comment
set max_errors = 3  a setting of [smtp]; `set certificate = yes` gives the gateway a certificate
user NAME PASSWORD PATTERN…
suppressed ADDRESS  is on the suppression list
store full|unsafe|safe     what the safety watch reports
connect tls         the connection begins with TLS (the implicit port)
C: text             the client sends a line (CRLF is added)
C| text             the client sends bytes: \r \n \xNN are escapes, nothing is added
C* 1000 text        the client sends the same line so many times
S: text             the next line of the server begins with this
S~ regex            the next line of the server matches this as a whole
S... code           lines of the server up to the last one of a reply with this code
S! text             lines of one whole reply, none of which contains this
starttls            the client begins the TLS handshake
half-close          the client closes its sending side
idle N              from now on so many seconds of silence are too many, for the open connections as well
closed              the server closes the connection and sends nothing more
others N            the other sessions hold so many bytes of unfinished mail
kept N              so many messages are in the spool
kept-sender ADDRESS | kept-recipients A B … | kept-content "escaped bytes": of the last message;
                    the content is what follows our Received line
"""

import codecs
import re
import shlex
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.dialogues.stand import FULL, SAFE, UNSAFE, Stand

ANSWER_SECONDS = 60.0
REPORTS = {"full": FULL, "unsafe": UNSAFE, "safe": SAFE}


@dataclass
class Script:
    settings: dict[str, str] = field(default_factory=dict)
    users: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    suppressed: list[str] = field(default_factory=list)
    steps: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def certificate(self) -> bool:
        return self.settings.get("certificate") == "yes"

    @property
    def smtp_settings(self) -> dict[str, str]:
        return {name: value for name, value in self.settings.items() if name != "certificate"}


def read_script(path: Path) -> Script:
    script = Script()
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        word, _, rest = line.partition(" ")
        if not line.strip() or word.startswith("#"):
            continue
        if word == "set":
            name, _, value = rest.partition("=")
            script.settings[name.strip()] = value.strip()
        elif word == "suppressed":
            script.suppressed.append(rest.strip())
        elif word == "user":
            name, password, *patterns = rest.split()
            script.users.append((name, password, tuple(patterns)))
        else:
            assert word in STEPS, f"{path.name}:{number}: no such step: {word}"
            script.steps.append((number, word, rest))
    return script


class Player:
    """The client's side, on a blocking socket: it runs in a thread beside the gateway's loop."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self._socket: socket.socket | None = None
        self._received = b""

    def play(self, script: Script, name: str) -> None:
        try:
            for number, word, rest in script.steps:
                try:
                    STEPS[word](self, rest)
                except (AssertionError, OSError) as error:
                    raise AssertionError(f"{name}:{number}: {word} {rest}\n{error}") from error
        finally:
            if self._socket:
                self._socket.close()

    @property
    def socket(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.stand.port), ANSWER_SECONDS)
        return self._socket

    def connect(self, _: str) -> None:
        plain = socket.create_connection(("127.0.0.1", self.stand.tls_port), ANSWER_SECONDS)
        self._socket = trusting().wrap_socket(plain)

    def starttls(self, _: str) -> None:
        assert not self._received, f"unread before the handshake: {self._received!r}"
        self._socket = trusting().wrap_socket(self.socket)

    def send_line(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\r\n")

    def send_bytes(self, text: str) -> None:
        self.socket.sendall(_unescaped(text))

    def send_often(self, text: str) -> None:
        times, _, line = text.partition(" ")
        self.socket.sendall((line.encode() + b"\r\n") * int(times))

    def read_line(self) -> str:
        while b"\n" not in self._received:
            more = self.socket.recv(65536)
            assert more, f"the server closed; unread: {self._received!r}"
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        assert line.endswith(b"\r"), f"a line without CRLF: {line!r}"
        return line[:-1].decode("ascii")

    def expect_prefix(self, text: str) -> None:
        line = self.read_line()
        assert line.startswith(text), f"the server said {line!r}"

    def expect_match(self, pattern: str) -> None:
        line = self.read_line()
        assert re.fullmatch(pattern, line), f"the server said {line!r}"

    def read_reply(self) -> list[str]:
        lines = [self.read_line()]
        while lines[-1][3:4] == "-":
            lines.append(self.read_line())
        return lines

    def expect_reply(self, code: str) -> None:
        lines = self.read_reply()
        assert all(line.startswith(code) for line in lines), f"the server said {lines}"

    def expect_without(self, text: str) -> None:
        lines = self.read_reply()
        assert not any(text in line for line in lines), f"the server said {lines}"

    def half_close(self, _: str) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def expect_close(self, _: str) -> None:
        try:
            more = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            more = b""
        assert not self._received + more, f"the server said {self._received + more!r}"

    def limit_silence(self, seconds: str) -> None:
        self.stand.limit_silence(float(seconds))

    def report(self, word: str) -> None:
        self.stand.watch.report = REPORTS[word]

    def others_hold(self, count: str) -> None:
        self.stand.door.budget.used_bytes = int(count)

    def expect_kept(self, count: str) -> None:
        assert len(self.stand.spool.kept) == int(count), f"{len(self.stand.spool.kept)} messages are kept"

    def expect_sender(self, address: str) -> None:
        assert self.stand.spool.messages[-1].sender == address, self.stand.spool.messages[-1].sender

    def expect_recipients(self, text: str) -> None:
        recipients = self.stand.spool.messages[-1].recipients
        assert recipients == tuple(text.split()), f"the recipients are {recipients}"

    def expect_content(self, text: str) -> None:
        content = self.stand.spool.messages[-1].content
        received, below = re.split(rb"(?<=\+0000\r\n)", content, maxsplit=1)
        assert received.startswith(b"Received: from ")
        assert below == _unescaped(shlex.split(text)[0]), f"the content is {below!r}"


def _unescaped(text: str) -> bytes:
    return codecs.escape_decode(text.encode())[0]


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


STEPS: dict[str, Callable[[Player, str], None]] = {
    "C:": Player.send_line,
    "C|": Player.send_bytes,
    "C*": Player.send_often,
    "S:": Player.expect_prefix,
    "S~": Player.expect_match,
    "S...": Player.expect_reply,
    "S!": Player.expect_without,
    "connect": Player.connect,
    "starttls": Player.starttls,
    "half-close": Player.half_close,
    "closed": Player.expect_close,
    "idle": Player.limit_silence,
    "store": Player.report,
    "others": Player.others_hold,
    "kept": Player.expect_kept,
    "kept-sender": Player.expect_sender,
    "kept-recipients": Player.expect_recipients,
    "kept-content": Player.expect_content,
}
