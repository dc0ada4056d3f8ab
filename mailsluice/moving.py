"""`mailsluice hold | release | cancel | retry`: by ids, or by a filter that only counts until --yes is given.

What each does to a message is in aws_api/admin/by_id.py and by_filter.py, where /admin/ finds it too.
"""

from collections.abc import Sequence

import typer
from redis import asyncio as aioredis

from aws_api.admin.by_filter import Budget, Sum, act_on_filter, count_filter
from aws_api.admin.by_id import Said, act_on_ids
from aws_api.admin.filters import Filter, MessageAction, states_of
from aws_api.admin.pausing import check_names
from aws_api.admin.who import Who
from aws_api.admin.wording import escaped, many
from config.errors import Refused
from config.settings import Settings
from mailsluice.looking import act
from spool.store import Spool

EXIT_NOT_DONE = 1

_DONE: dict[MessageAction, str] = {
    "hold": "put on hold",
    "release": "released",
    "cancel": "cancelled",
    "retry": "tried again now",
}


def run(
    settings: Settings,
    action: MessageAction,
    any_ids: Sequence[str],
    chosen: Filter,
    who: Who,
    *,
    is_meant: bool = False,
) -> int:
    """Returns 0 when every named message, or any that fits, was acted on; else 1. Raises Refused."""
    if any_ids and chosen.given():
        raise Refused("name messages by their ids, or choose them by options: not both")
    if not any_ids:
        states_of(action, chosen)  # what is refused is refused before anything is asked

    async def do(spool: Spool, _: aioredis.Redis) -> int:
        if any_ids:
            return _tell(await act_on_ids(spool, action, any_ids, who))
        if is_meant:
            total = await act_on_filter(spool, action, chosen, Budget(), who)
        else:
            total = await count_filter(spool, action, chosen, Budget())
        if not total.messages:  # mail may still wait in a lane or for a route that has left the settings
            check_names(chosen.lane, chosen.route, settings)
        return _tell_sum(action, total) if is_meant else _tell_count(action, total)

    return act(settings, do)


def _tell(said: Sequence[Said]) -> int:
    for one in said:
        typer.echo(f"{one.message_id or escaped(one.any_id)}: {one.words}", err=not one.is_done)
    return 0 if all(one.is_done for one in said) else EXIT_NOT_DONE


def _tell_count(action: MessageAction, total: Sum) -> int:
    if not total.messages:
        typer.echo("No message fits.")
        return EXIT_NOT_DONE
    typer.echo(
        f"{_amount(total)} would be {_DONE[action]}, for instance {total.example}. "
        "Nothing was changed; the same with --yes does it."
    )
    return 0


def _tell_sum(action: MessageAction, total: Sum) -> int:
    if not total.messages:
        typer.echo("No message fits.")
        return EXIT_NOT_DONE
    later = f"; {total.later:,} of them as soon as their workers let them go" if total.later else ""
    doubt = f"; calls without an answer may have sent {many(total.in_doubt, 'recipient')}" if total.in_doubt else ""
    typer.echo(f"{_amount(total)} {_DONE[action]}{later}{doubt}.")
    return 0


def _amount(total: Sum) -> str:
    return f"{many(total.messages, 'message')} with {many(total.recipients, 'recipient')}"
