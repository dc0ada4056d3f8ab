"""`mailsluice pause | resume | drain`: what may begin, and which worker takes mail.

The acts themselves are in aws_api/admin/pausing.py, where /admin/ finds them too.
"""

import getpass
import socket

import typer
from redis import asyncio as aioredis

from aws_api.admin import pausing
from aws_api.admin.pausing import Scope
from aws_api.admin.route_words import paused, resume_command, scope_words
from aws_api.admin.who import Who
from aws_api.admin.wording import escaped, instant, many
from config.settings import Settings
from mailsluice.looking import act
from spool.sending_quota import Pause
from spool.store import Spool

EXIT_NOT_PAUSED = 1


def who_is_here(why: str = "") -> Who:
    """The user of this terminal."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        name = "nobody"
    return Who(f"{name}@{socket.gethostname()}", why)


def pause(settings: Settings, scope: Scope, who: Who, for_seconds: float | None) -> int:
    """Begins a pause. Returns the exit code. Raises Refused."""
    pausing.scopes_of_pause(settings, scope, for_seconds)  # what is refused is refused before anything is asked

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        for one in await pausing.pause(spool, settings, scope, who, for_seconds=for_seconds):
            typer.echo(f"{_capital(escaped(scope_words(one.scope)))} is paused, {_end(one)}")
        return 0

    return act(settings, do)


def resume(settings: Settings, scope: Scope, who: Who) -> int:
    """Ends a pause. Returns 0 when something was paused or a route is probed, else 1. Raises Refused."""
    pausing.keys_of(scope)

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        done = await pausing.resume(spool, settings, scope, who)
        for one in done.ended:
            typer.echo(f"{_capital(escaped(scope_words(one)))} goes on.")
        if done.woken:
            typer.echo(f"{many(done.woken, 'message')} had waited for the recipient domain: tried again now.")
        if done.is_probed:
            typer.echo(f"Route {scope.route} is in trouble: the next message tries it now.")
        if not done.ended and not done.is_probed:
            typer.echo("There was no such pause.", err=True)
        for still in done.still_paused:
            typer.echo(f"Still paused: {escaped(paused(still, done.now_ms))}; {resume_command(still.scope)} ends it.")
        return 0 if done.ended or done.is_probed else EXIT_NOT_PAUSED

    return act(settings, do)


def drain(settings: Settings, worker: str, who: Who, *, is_undone: bool) -> int:
    """Drains a worker, or ends that. Returns the exit code. Raises Refused."""

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        if not is_undone:
            await pausing.drain(spool, worker, who)
            typer.echo(f"{worker} finishes what it has and takes no more; mailsluice queue shows when it has none.")
            return 0
        if await pausing.undrain(spool, worker, who):
            typer.echo(f"{worker} takes messages again.")
            return 0
        typer.echo(f"{escaped(worker)} was not being drained.", err=True)
        return EXIT_NOT_PAUSED

    return act(settings, do)


def _end(pause: Pause) -> str:
    return f"until {instant(pause.until_ms)}." if pause.until_ms else f"until {resume_command(pause.scope)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
