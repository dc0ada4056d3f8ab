"""The fence around installations that must not mail real people: a staging copy, a test, a developer's machine.

With `relay.fence` on, recipients that match nothing of `relay.fence_allowed` get no mail: they are captured as files
or replaced by one address. Patterns: `user@domain`, `domain` (that one alone), `*.domain` (all below it), without
regard to upper and lower case. SES's mailbox simulator and the address of the redirection itself always pass.
Each captured message is one file `<data dir>/captured/<message_id>.eml` of mode 0600, and one more, `<message_id>-…`,
for each other content that rules or functions made for some of its recipients: complete or not there, on the disk
before the recipients are settled, and safe to write twice.
"""

import asyncio
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from config.errors import TryLater
from config.settings import RelaySettings, Settings
from spool.keys import is_message_id
from spool.mailbox_simulator import is_simulated

_ORIGINAL = b"X-Original-To: "
_UNSAFE = re.compile(r"[^\x20-\x7e]")


class CaptureFailed(TryLater):
    """The folder of captured mail cannot be written."""


def is_allowed(address: str, settings: RelaySettings) -> bool:
    """Whether the fence lets mail for this address go where it was sent."""
    if settings.fence == "off":
        return True
    whole = address.lower()
    _, has_domain, domain = whole.rpartition("@")
    if not has_domain:
        return False
    labels = domain.split(".")
    passing = {whole, domain, *("*." + ".".join(labels[n:]) for n in range(1, len(labels)))}
    return (
        is_simulated(whole)
        or whole == settings.fence_redirect_to.lower()
        or any(pattern.lower() in passing for pattern in settings.fence_allowed)
    )


def redirected(content: bytes, originals: Iterable[str]) -> bytes:
    """The content with a line `X-Original-To` on top for everybody who would have got it."""
    first_end = content.find(b"\n")
    line_end = b"\n" if first_end >= 0 and content[first_end - 1 : first_end] != b"\r" else b"\r\n"
    return b"".join(_ORIGINAL + _in_header(address) + line_end for address in originals) + content


def capture_folder(settings: Settings) -> Path:
    """Where captured mail lies."""
    return settings.data.dir / "captured"


async def capture(
    folder: Path, message_id: str, content: bytes, recipients: Sequence[str], *, content_name: str = ""
) -> Path:
    """Keeps the message with its captured recipients on top, together with those captured before. Raises TryLater.

    `content_name` tells contents of one message apart; "" = the content as accepted.
    """
    if not is_message_id(message_id):
        raise ValueError("not a message id")
    path = folder / f"{message_id}{content_name and '-'}{content_name}.eml"
    try:
        await asyncio.to_thread(_write, path, content, recipients)
    except OSError as error:
        reason = f"captured mail cannot be written: {error.strerror or type(error).__name__}"
        raise CaptureFailed(reason, detail=str(error)) from error
    return path


def _in_header(address: str) -> bytes:
    return _UNSAFE.sub("?", address)[:900].encode("ascii")


def _write(path: Path, content: bytes, recipients: Sequence[str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    everybody = dict.fromkeys([*_captured_before(path), *recipients])
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(redirected(content, everybody))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        _sync(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _captured_before(path: Path) -> list[str]:
    """The recipients of a first capture: a message may come here in several rounds."""
    found: list[str] = []
    try:
        with path.open("rb") as file:
            while (line := file.readline(1000)).startswith(_ORIGINAL):
                found.append(line.removeprefix(_ORIGINAL).rstrip(b"\r\n").decode("ascii", "replace"))
    except FileNotFoundError:
        return []
    return found


def _sync(folder: Path) -> None:
    """A new name is on the disk only after its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
