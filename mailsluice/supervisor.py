"""Starts children in order, keeps them running, stops them in order; the only supervisor of the program.

Theory of operation
1. Every child has a keeper task. It waits until what the child needs was ready once, starts the process, waits until
   it is ready (told over a pipe, or a probe says so), then waits for its end and starts it again after a pause. The
   pause doubles from failure to failure and begins anew once the child was healthy for a while.
2. A child whose *first* start fails (it ends, or is not ready in time) is a mistake of the set-up, which no restart
   repairs: everything is stopped and `run` raises ChildFailed, which says which, why and its last lines. The same
   when what a child's `check` looks at is wrong: `run` raises what the check raised. A later failure is a crash:
   logged with what explains it (the end of the child's own log file, a full disk) and repaired, whatever it is.
3. SIGTERM or SIGINT stops the children wave by wave: doors, workers, …, the store. The keepers of later waves
   keep working meanwhile, so that a store that crashes while the workers drain comes back. SIGTERM first, SIGKILL
   when the child's time is over. A second signal kills everything at once.
4. SIGHUP is passed on to the children that read files again on it (rules, certificates), once they are ready: before
   that they read them anyway. When the terminal that this process was started from is gone, it stops everything
   instead (config/hangup.py). Ignored at the start, as nohup does it, it stays ignored.
5. If this process itself is killed, the kernel kills the children (launcher.py).

It does not restart a child that runs but does nothing: the worker watches itself and exits, then 1 applies.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import TryLater
from config.hangup import Terminal
from config.logs import get_log
from mailsluice.child import Child, ChildState, Probe, failures_after, how_it_ended, pause_seconds
from mailsluice.child_process import TAIL_LINES, ChildProcess
from mailsluice.output import PassOn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: So much of a child's log file is looked at, and so many lines are told of each end after the first start.
TAIL_BYTES = 8192
EXIT_LINES = 4
PROBE_EVERY_SECONDS = 0.05
PROBE_ANSWER_SECONDS = 2.0

#: A log that cannot be written (full disk, reader gone) must not end what it tells about.
_unheard = contextlib.suppress(OSError)

OnChange = Callable[[Mapping[str, ChildState]], None]


class ChildFailed(TryLater):
    """A child did not get ready at its first start; everything is stopped."""


@dataclass(slots=True)
class _Kept:
    """A child and what became of it so far."""

    child: Child
    was_ready: asyncio.Event = field(default_factory=asyncio.Event)
    state: str = "waiting"
    process: ChildProcess | None = None
    restarts: int = 0
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Keeps a table of children running until a signal comes. `sleep` and `clock` are the time of the restarts."""

    def __init__(
        self,
        children: Sequence[Child],
        pass_on: PassOn,
        *,
        on_change: OnChange = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept = {child.name: _Kept(child) for child in children}
        self._pass_on = pass_on
        self._on_change = on_change
        self._sleep = sleep
        self._clock = clock
        self._terminal = Terminal()
        self._log = get_log()
        self._stop_asked = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, announce: Callable[[], None]) -> None:
        """Starts everything, calls `announce` when all is ready, returns after the signal when all is stopped.

        Raises ChildFailed when a first start failed, or what a check raised (after stopping what ran).
        """
        with self._signals():
            for kept in self._kept.values():
                kept.keeper = asyncio.create_task(self._keep(kept))
                kept.keeper.add_done_callback(self._on_keeper_end)
            try:
                if await self._comes_first(self._all_ready()):
                    announce()
                    await self._comes_first(self._stop_asked.wait())
            finally:
                await self._stop_in_order()
        if self._failed.done():
            self._failed.result()

    @property
    def is_stopping(self) -> bool:
        """Whether the end has begun."""
        return self._stop_asked.is_set()

    def ask_to_stop(self) -> None:
        """What a signal does: the first stops in order, the second kills."""
        if self._stop_asked.is_set():
            for kept in self._kept.values():
                if kept.keeper is not None:
                    kept.keeper.cancel()
                if kept.process is not None:
                    kept.process.send_signal(signal.SIGKILL)
        self._stop_asked.set()

    def hang_up(self) -> None:
        """What SIGHUP does: files are read again, or, when the terminal is gone, everything stops."""
        if self._terminal.is_gone:
            if not self.is_stopping:  # the shell and the kernel may both tell it: no second signal of point 3
                self.ask_to_stop()
            return
        heard = [kept for kept in self._kept.values() if kept.child.hears_hangup and kept.state == "ready"]
        for kept in heard:
            if kept.process is not None:
                kept.process.send_signal(signal.SIGHUP)
        with _unheard:
            self._log.info("up.reread", children=[kept.child.name for kept in heard])

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        # A signal that is ignored on purpose stays so: nohup does it with SIGHUP.
        wanted = {**dict.fromkeys(STOP_SIGNALS, self.ask_to_stop), signal.SIGHUP: self.hang_up}
        handled = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
        for number in handled:
            loop.add_signal_handler(number, wanted[number])
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            yield
        finally:
            for number in (*handled, signal.SIGCHLD):
                loop.remove_signal_handler(number)

    def _reap(self) -> None:
        for kept in self._kept.values():
            if kept.process is not None:
                kept.process.reap()

    async def _all_ready(self) -> None:
        for kept in self._kept.values():
            await kept.was_ready.wait()

    async def _comes_first(self, awaited: Awaitable[object]) -> bool:
        """Whether this happens before a failure and before a signal."""
        happening = asyncio.ensure_future(awaited)
        stopped = asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait((happening, stopped, self._failed), return_when=asyncio.FIRST_COMPLETED)
            return happening.done() and not self._failed.done()
        finally:
            happening.cancel()
            stopped.cancel()

    async def _keep(self, kept: _Kept) -> None:
        for name in kept.child.needs:
            await self._kept[name].was_ready.wait()
        failures = 0
        while True:
            healthy_seconds, reason = await self._live(kept)
            if not kept.was_ready.is_set():
                raise ChildFailed(_failure(kept, reason))
            failures = failures_after(failures, healthy_seconds)
            pause = pause_seconds(failures)
            with _unheard:
                self._log.warning("up.restarting", child=kept.child.name, pause_seconds=pause, failures=failures)
            await self._sleep(pause)
            kept.restarts += 1

    def _on_keeper_end(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (error := keeper.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _live(self, kept: _Kept) -> tuple[float, str]:
        """One life of a child: how long it was ready, and why it ended."""
        name = kept.child.name
        try:
            kept.process = process = ChildProcess(kept.child, self._pass_on)
        except OSError as error:
            return 0.0, f"it could not be started: {error.strerror}"
        self._change(kept, "starting")
        with _unheard:
            self._log.debug("up.starting", child=name, pid=process.pid)
        started_at = self._clock()
        reason = await _why_not_ready(kept.child, process)
        ready_at = self._clock()
        if reason:
            process.send_signal(signal.SIGKILL)
        else:
            if kept.child.check is not None and not kept.was_ready.is_set():
                await kept.child.check()
            kept.was_ready.set()
            self._change(kept, "ready")
            with _unheard:
                self._log.info("up.ready", child=name, pid=process.pid, after_seconds=round(ready_at - started_at, 2))
        await asyncio.wait((process.exited,))
        reason = reason or how_it_ended(process.exited.result())
        with _unheard:
            self._log.warning("up.child_exited", child=name, pid=process.pid, reason=reason, **_explained(kept.child))
        self._change(kept, "waiting")
        return (self._clock() - ready_at if kept.was_ready.is_set() else 0.0), reason

    async def _stop_in_order(self) -> None:
        self._stop_asked.set()
        with _unheard:
            self._log.info("up.stopping")
        for wave in sorted({kept.child.stop_wave for kept in self._kept.values()}):
            await asyncio.gather(*(self._end(kept) for kept in self._kept.values() if kept.child.stop_wave == wave))

    async def _end(self, kept: _Kept) -> None:
        if kept.keeper is not None:
            kept.keeper.cancel()
            await asyncio.wait((kept.keeper,))
        process = kept.process
        if process is None or process.exited.done():
            return
        process.send_signal(signal.SIGTERM)
        _, late = await asyncio.wait((process.exited,), timeout=kept.child.stop_seconds)
        if late:
            process.send_signal(signal.SIGKILL)
            await asyncio.wait((process.exited,))
        reason = f"was still running after {kept.child.stop_seconds:g} s" if late else ""
        reason = reason or how_it_ended(process.exited.result())
        with _unheard:
            self._log.info("up.child_exited", child=kept.child.name, pid=process.pid, reason=reason)
        self._change(kept, "stopped")

    def _change(self, kept: _Kept, state: str) -> None:
        kept.state = state
        self._on_change({name: _state(kept) for name, kept in self._kept.items()})


def _state(kept: _Kept) -> ChildState:
    is_running = kept.process is not None and not kept.process.exited.done()
    return ChildState(kept.state, kept.process.pid if kept.process and is_running else None, kept.restarts)


def _failure(kept: _Kept, reason: str) -> str:
    child = kept.child
    lines = [*(kept.process.last_lines if kept.process else ()), *_end_of(child.log_file)]
    told = "".join(f"\n  | {line}" for line in lines)
    suspect = f" {found}" if child.suspect is not None and (found := child.suspect()) else ""
    return f"{child.name} did not start: {reason}.{suspect}" + (f" Its last lines:{told}" if told else "")


def _explained(child: Child) -> dict[str, object]:
    """What its stderr does not say: what this machine suspects, where its own log is, and that log's last lines.

    On a full disk the log's end may be missing: the suspicion is not.
    """
    found: dict[str, object] = {}
    if child.suspect is not None and (suspect := child.suspect()):
        found["problem"] = suspect
    if child.log_file is not None:
        found |= {"log_file": str(child.log_file), "last_lines": _end_of(child.log_file)[-EXIT_LINES:]}
    return found


def _end_of(log_file: Path | None) -> list[str]:
    if log_file is None:
        return []
    try:
        with log_file.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            return file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return []


async def _why_not_ready(child: Child, process: ChildProcess) -> str:
    """Waits until the child is ready and returns nothing, or the reason why it never will be."""
    is_ready = asyncio.ensure_future(_answers(child.probe) if child.probe else process.told_ready.wait())
    try:
        await asyncio.wait((is_ready, process.exited), timeout=child.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
        if process.exited.done():
            return how_it_ended(process.exited.result())
        return "" if is_ready.done() else f"it was not ready after {child.ready_seconds:g} s"
    finally:
        is_ready.cancel()


async def _answers(probe: Probe) -> bool:
    """Returns when the probe says yes."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_ANSWER_SECONDS):
                if await probe():
                    return True
        await asyncio.sleep(PROBE_EVERY_SECONDS)
