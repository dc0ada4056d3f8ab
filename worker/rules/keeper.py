"""Keeps the rule set of one worker process as the file says, without a restart.

Theory of operation
1. At the start the file must be right, or there is a copy of it from when it was (last_good.py): a worker that crashes
   or is added while somebody edits must not stop the mail. Without one, as at the very first start, `load` raises
   what is wrong with the file, all of it. A set that is taken is copied once its file has not changed for 2 s.
   Functions whose files are gone do not keep a copy from being used. Their calls fail and the fallbacks of their rules
   decide, as with workers that went on; other mail moves.
2. From then on the file is looked at every `rules.reload_seconds`. When it is another one (written into, or put in the
   place of the old one) and the next look finds it the same, it is read: a file that is still being written is not,
   because the beginning of a file can be a right file with fewer rules. SIGHUP lets it be read at once.
   A file that changed a moment before it was read is read once more at the next look, because a later change within the
   same tick of the file's clock would not show; a wrong one is read again every 10 s, because a function that it names
   may have come, and so is one of which no copy could be written.
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
from typing import Protocol, Self

from config.logs import get_log
from config.settings import Settings
from worker.rules.last_good import CopyRefused, LastGood
from worker.rules.records import RuleSet
from worker.rules.rule_file import Known, RulesRefused, parse_rules, read_bytes

#: What a heartbeat carries of the mistakes in a file; `mailsluice rules check` tells all of them.
SHOWN_MISTAKES = 5
SHOWN_CHARACTERS = 1000
#: What a line of the log carries.
LOGGED_MISTAKES = 1000
LOGGED_CHARACTERS = 50_000
#: A file that changed this long ago at most may change again without showing it.
_SETTLED_SECONDS = 2.0
_WRONG_AGAIN_SECONDS = 10.0


class ParseRules(Protocol):
    """What makes a set of a file's bytes. Raises RulesRefused."""

    def __call__(self, raw: bytes, file: Path, *, needs_files: bool = True) -> RuleSet: ...


#: Whether a file is another one: its inode, its size and when it changed (ns); None = it is not there.
_Stamp = tuple[int, int, int, int] | None


class RuleKeeper:
    """`current` is the set to judge by now, empty when there is no file; `trouble` why it is not what the file says."""

    def __init__(
        self, settings: Settings, *, parse: ParseRules | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.current = RuleSet()
        #: Safe to show, bounded; "" = the set is what the file says.
        self.trouble = ""
        self._every_seconds = settings.rules.reload_seconds
        self._sets = _Sets.of(settings, parse)
        self._clock = clock
        self._log = get_log()
        self._stamp: _Stamp = None
        self._is_settled = False
        #: The set at work is not in the copy.
        self._is_unkept = False
        self._read_at = 0.0
        self._is_asked = False
        self._wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def has_file(self) -> bool:
        """Whether there are rules at all."""
        return self._sets is not None

    def load(self) -> None:
        """The first set, of the copy when the file is wrong. Raises RulesRefused with everything that is wrong then."""
        if self._sets is None:
            return
        self._stamp, self._is_settled = self._look(self._sets.file)
        self._read_at = self._clock()
        try:
            found, raw = self._sets.read()
        except RulesRefused as refused:
            self.current = self._sets.read_copy(refused.mistakes)
            self._refuse(refused.mistakes)
            self._tell(self.current, self._sets.copy.path)
        else:
            self._take(found)
            if self._is_settled:
                self._keep(raw)

    def reload(self) -> None:
        """Lets the file be read now, whether it seems another one or not; may be called from any thread."""
        self._is_asked = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the process leaves
                self._loop.call_soon_threadsafe(self._wanted.set)

    async def run(self) -> None:
        """Looks at the file for ever."""
        if self._sets is None:
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
        if self._sets is None:
            return
        stamp, is_settled = await asyncio.to_thread(self._look, self._sets.file)
        is_wanting = bool(self.trouble) or self._is_unkept
        is_due = is_wanting and self._clock() - self._read_at > _WRONG_AGAIN_SECONDS
        if not is_asked and stamp != self._stamp:
            self._stamp, self._is_settled = stamp, False
            return
        if not is_asked and self._is_settled and not is_due:
            return
        self._stamp, self._is_settled, self._read_at = stamp, is_settled, self._clock()
        try:
            found, raw = await asyncio.to_thread(self._sets.read)
        except RulesRefused as refused:
            self._refuse(refused.mistakes)
        else:
            self._take(found)
            if is_settled:
                await asyncio.to_thread(self._keep, raw)

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
            self._tell(found, found.source)

    def _tell(self, found: RuleSet, file: Path | str) -> None:
        self._log.info("rules.loaded", version=found.version, rules=len(found.rules), file=str(file))

    def _refuse(self, mistakes: tuple[str, ...]) -> None:
        words = in_short(mistakes)
        if words != self.trouble:
            self._log.error(
                "rules.refused",
                mistakes=len(mistakes),
                version_at_work=self.current.version,
                error=in_short(mistakes, LOGGED_MISTAKES, LOGGED_CHARACTERS),
            )
        self.trouble = words

    def _keep(self, raw: bytes) -> None:
        """A copy that cannot be written stops nothing: only a start with a wrong file would need it."""
        if self._sets is None:
            return
        try:
            self._sets.copy.keep(raw)
        except OSError as error:
            if not self._is_unkept:
                reason = error.strerror or type(error).__name__
                self._log.warning("rules.not_kept", file=str(self._sets.copy.path), error=reason)
            self._is_unkept = True
        else:
            self._is_unkept = False


class _Sets:
    """Where sets come from: the file, and the copy of it."""

    def __init__(self, file: Path, data_dir: Path, parse: ParseRules) -> None:
        self.file = file
        self.copy = LastGood(data_dir, file)
        self._parse = parse

    @classmethod
    def of(cls, settings: Settings, parse: ParseRules | None = None) -> Self | None:
        """None without rules."""
        file = settings.rules.file
        return None if file is None else cls(file, settings.data.dir, parse or _parser(settings))

    def read(self) -> tuple[RuleSet, bytes]:
        """The set of the file, and its bytes. Raises RulesRefused, whatever the file does to its reader."""
        try:
            raw = read_bytes(self.file)
            return self._parse(raw, self.file), raw
        except RulesRefused:
            raise
        except Exception as error:
            raise RulesRefused((f"{self.file} could not be read: {type(error).__name__}",)) from error

    def read_copy(self, mistakes: tuple[str, ...]) -> RuleSet:
        """The set of the copy. Without one that can be used it raises RulesRefused with the file's mistakes."""
        why: tuple[str, ...] = ()
        try:
            if (raw := self.copy.read()) is not None:
                return self._parse(raw, self.file, needs_files=False)
        except CopyRefused as refused:
            why = (refused.reason,)
        except RulesRefused as refused:  # of an older version, or settings have changed
            why = tuple(f"{self.copy.path.name}, the last good copy: {mistake}" for mistake in refused.mistakes)
        except Exception as error:  # noqa: BLE001 - as with the file
            why = (f"{self.copy.path} could not be read: {type(error).__name__}",)
        raise RulesRefused((*mistakes, *why))


def check_file(settings: Settings) -> None:
    """Reads the file and keeps nothing. Raises RulesRefused with everything that is wrong with it."""
    if (sets := _Sets.of(settings)) is not None:
        sets.read()


def check_start(settings: Settings) -> None:
    """Whether a worker can start: as check_file, but a copy of the file that can be used will do."""
    if (sets := _Sets.of(settings)) is None:
        return
    try:
        sets.read()
    except RulesRefused as refused:
        sets.read_copy(refused.mistakes)


def in_short(mistakes: tuple[str, ...], most: int = SHOWN_MISTAKES, characters: int = SHOWN_CHARACTERS) -> str:
    """The first of them in one line; says how many are left out."""
    shown = "; ".join(mistakes[:most])
    if len(shown) > characters:
        shown = f"{shown[:characters]} …"
    left_out = len(mistakes) - most
    return f"{shown}; and {left_out} more" if left_out > 0 else shown


def _parser(settings: Settings) -> ParseRules:
    def parse(raw: bytes, file: Path, *, needs_files: bool = True) -> RuleSet:
        return parse_rules(raw, file, Known.of(settings), needs_files=needs_files)

    return parse
