"""The signature of a webhook's body, and where its secrets come from.

`t=<epoch seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`, one `v1` for each secret: with two secrets in a file both
sign, so that receivers can change theirs in between. docs/events.md has the other side, in Python and in Node.
Secrets are read anew for each request, so that a changed file counts at once; they stand in no log and no repr.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from config.errors import TryLater

_MOST_SECRETS = 2
_SHORTEST_SECRET = 16
_MOST_FILE_BYTES = 4096


class Secrets:
    """The secrets of one webhook, wherever they are kept."""

    def __init__(self, target: Mapping[str, Any], folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._target = target
        self._folder = folder
        self._environ = environ

    async def read(self) -> Sequence[bytes]:
        """One or two. Raises TryLater when there is none now."""
        if path := self._target.get("SecretFile"):
            return await asyncio.to_thread(_of_file, self._folder / str(path))
        if name := self._target.get("SecretEnvironment"):
            text = self._environ.get(str(name), "")
            return [_checked(text, f"the variable {name} of the webhook's secret")]
        return [_checked(str(self._target.get("Secret", "")), "the webhook's secret")]


def signature(secrets: Sequence[bytes], at_s: int, body: bytes) -> str:
    """The value of X-Sluice-Signature."""
    signed = b"%d." % at_s + body
    return ",".join((f"t={at_s}", *(f"v1={hmac.new(one, signed, hashlib.sha256).hexdigest()}" for one in secrets)))


def _of_file(path: Path) -> Sequence[bytes]:
    try:
        with path.open("rb") as opened:
            text = opened.read(_MOST_FILE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise TryLater("the file with the webhook's secret cannot be read", detail=str(error)) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= _MOST_SECRETS:
        raise TryLater("the file with the webhook's secret must have one or two lines")
    return [_checked(line, "a line of the file with the webhook's secret") for line in lines]


def _checked(text: str, where: str) -> bytes:
    if len(text) < _SHORTEST_SECRET:
        raise TryLater(f"{where} is missing or shorter than {_SHORTEST_SECRET} characters")
    return text.encode()
