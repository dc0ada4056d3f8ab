"""`mailsluice environment`: whose spool this is, and its new name when the operator gives it one."""

import re

import typer
from redis import asyncio as aioredis

from config.errors import Refused
from config.setting_kinds import NAME_PATTERN
from config.settings import Settings
from mailsluice.looking import look
from spool.environment import Environment, read_environment, rename_environment
from spool.store import Spool


def run(settings: Settings, new_name: str | None) -> int:
    """Prints it, after the change when there is one. Raises Refused for what cannot be a name."""
    if new_name and not re.fullmatch(NAME_PATTERN, new_name):
        raise Refused(f"{new_name} is no name of an environment; allowed: {NAME_PATTERN}")

    async def show(spool: Spool, _: aioredis.Redis) -> int:
        before = None
        if new_name is not None:
            before = await rename_environment(spool.redis, new_name)
        typer.echo(environment_text(await read_environment(spool.redis), before))
        return 0

    return look(settings, show)


def environment_text(found: Environment | None, before: Environment | None = None) -> str:
    """One line for people."""
    if found is None:
        return "The spool belongs to nobody yet: the first process that uses it gives it its name."
    was = f" (it was {_named(before)})" if before is not None and before.name != found.name else ""
    return f"The spool belongs to {_named(found)}{was}; its id is {found.id}."


def _named(environment: Environment) -> str:
    return f"the environment {environment.name}" if environment.name else "no environment"
