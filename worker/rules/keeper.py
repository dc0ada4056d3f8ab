"""Keeps the rule set of one worker process as the file says, without a restart.

Theory of operation
1. At the start the file must be right: `load` raises what is wrong with it, all of it.
2. From then on the file is looked at every `rules.reload_seconds`. When it is another one (written into, or put in the
   place of the old one) and the next look finds it the same, it is read: a file that is still being written is not,
   because the beginning of a file can be a right file with fewer rules. SIGHUP lets it be read at once.
   A file that changed a moment before it was read is read once more at the next look, because a later change within the
   same tick of the file's clock would not show; a wrong one is read again every 10 s, because a function that it names
   may have come.
3. A new set takes the place of the old one in one assignment. A message that is being judged goes on with the set that
   it began with.
Invariant: there is always a set. A file that is wrong, half written, gone or not readable leaves the old one at work,
and `trouble` says so until the file is right again.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from config.logs import get_log
from config.settings import Settings
from worker.rules.records import RuleSet
from worker.rules.rule_file import Known, RulesRefused, read_rules

#: What a heartbeat carries of the mistakes in a file; `mailsluice rules check` tells all of them.
SHOWN_MISTAKES = 5
SHOWN_CHARACTERS = 1000
#: A file that changed this long ago at most may change again without showing it.
_SETTLED_SECONDS = 2.0
_WRONG_AGAIN_SECONDS = 10.0

ReadRules = Callable[[Path], RuleSet]
#: Whether a file is another one: its inode, its size and when it changed (ns); None = it is not there.
_Stamp = tuple[int, int, int, int] | None


class RuleKeeper:
    """`current` is the set to judge by now, empty when there is no file; `trouble` why it is not what the file says."""

    def __init__(
        self, settings: Settings, *, read: ReadRules | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.current = RuleSet()
        #: Safe to show, bounded; "" = the set is what the file says.
        self.trouble = ""
        self._file = settings.rules.file
        self._every_seconds = settings.rules.reload_seconds
        self._read = read or _reader(settings)
        self._clock = clock
        self._log = get_log()
        self._stamp: _Stamp = None
        self._is_settled = False
        self._read_at = 0.0
        self._is_asked = False
        self._wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def has_file(self) -> bool:
        """Whether there are rules at all."""
        return self._file is not None

    def load(self) -> None:
        """The first set. Raises RulesRefused with everything that is wrong with the file."""
        if self._file is None:
            return
        self._stamp, self._is_settled = self._look(self._file)
        self._take(self._read(self._file))

    def reload(self) -> None:
        """Lets the file be read now, whether it seems another one or not; may be called from any thread."""
        self._is_asked = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the process leaves
                self._loop.call_soon_threadsafe(self._wanted.set)

    async def run(self) -> None:
        """Looks at the file for ever."""
        if self._file is None:
            return
        self._loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            is_asked, self._is_asked = self._is_asked, False
            await self.look(is_asked=is_asked)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._wanted.wait()

    async def look(self, *, is_asked: bool = False) -> None:
        """Reads the file if it is another one since the look before, or if somebody asked for that."""
        if self._file is None:
            return
        stamp, is_settled = await asyncio.to_thread(self._look, self._file)
        is_due = bool(self.trouble) and self._clock() - self._read_at > _WRONG_AGAIN_SECONDS
        if not is_asked and stamp != self._stamp:
            self._stamp, self._is_settled = stamp, False
            return
        if not is_asked and self._is_settled and not is_due:
            return
        self._stamp, self._is_settled, self._read_at = stamp, is_settled, self._clock()
        try:
            found = await asyncio.to_thread(self._read, self._file)
        except RulesRefused as refused:
            self._refuse(refused.mistakes)
        except OSError as error:
            self._refuse((f"{self._file}: {error.strerror or type(error).__name__}",))
        except Exception as error:  # noqa: BLE001 - whatever a file does to its reader, the set at work goes on
            self._refuse((f"{self._file} could not be read: {type(error).__name__}",))
        else:
            self._take(found)

    def _look(self, file: Path) -> tuple[_Stamp, bool]:
        try:
            found = file.stat()
        except OSError:
            return None, True
        age_seconds = self._clock() - found.st_mtime
        return (
            (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns),
            not 0 <= age_seconds < _SETTLED_SECONDS,
        )

    def _take(self, found: RuleSet) -> None:
        is_news = found.version != self.current.version or bool(self.trouble)
        self.current, self.trouble = found, ""
        if is_news:
            self._log.info("rules.loaded", version=found.version, rules=len(found.rules), file=found.source)

    def _refuse(self, mistakes: tuple[str, ...]) -> None:
        words = in_short(mistakes)
        if words != self.trouble:
            self._log.error("rules.refused", mistakes=len(mistakes), version_at_work=self.current.version, error=words)
        self.trouble = words


def check_file(settings: Settings) -> None:
    """Reads the file and keeps nothing. Raises RulesRefused with everything that is wrong with it."""
    if settings.rules.file is not None:
        _reader(settings)(settings.rules.file)


def in_short(mistakes: tuple[str, ...]) -> str:
    """The first of them in one line; says how many are left out."""
    shown = "; ".join(mistakes[:SHOWN_MISTAKES])
    if len(shown) > SHOWN_CHARACTERS:
        shown = f"{shown[:SHOWN_CHARACTERS]} …"
    left_out = len(mistakes) - SHOWN_MISTAKES
    return f"{shown}; and {left_out} more" if left_out > 0 else shown


def _reader(settings: Settings) -> ReadRules:
    def read(file: Path) -> RuleSet:
        return read_rules(file, Known.of(settings))

    return read
