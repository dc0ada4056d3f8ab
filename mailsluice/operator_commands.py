"""The operator's commands: what they take. Each command's work is in moving.py or pausing.py."""

# ruff: noqa: PLC0415 - imports inside the commands, as in command.py
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from config.errors import Refused
from mailsluice.options import ConfigFile, DataDir, load

if TYPE_CHECKING:
    from aws_api.admin.filters import MessageAction


class StateOption(StrEnum):
    """Where a message is: parked = waits for a time, lane = waits for its turn."""

    DUE = "due"
    PARKED = "parked"
    LANE = "lane"
    HELD = "held"
    LEASED = "leased"


def _seconds(text: str) -> float:
    from aws_api.admin.wording import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Lane = Annotated[str | None, typer.Option(metavar="NAME", help="Lane.")]
User = Annotated[str | None, typer.Option(metavar="NAME", help="SMTP user; of mail without one the envelope sender.")]
Route = Annotated[str | None, typer.Option(metavar="NAME", help="Route.")]
Domain = Annotated[str | None, typer.Option(metavar="DOMAIN", help="Domain of recipients.")]
WhyText = Annotated[str, typer.Option("--why", metavar="TEXT", help="For the event of it.")]
For = Annotated[
    float | None, typer.Option("--for", parser=_seconds, metavar="TIME", help="30m, 2h30m, 1d; default: no end.")
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID …]", show_default=False)]
States = Annotated[list[StateOption] | None, typer.Option("--state", help="May be given several times.")]
Sender = Annotated[str | None, typer.Option(metavar="SENDER", help="Envelope sender: address, domain or <>.")]
RecipientDomain = Annotated[str | None, typer.Option(metavar="DOMAIN", help="A recipient still waits there.")]
OlderThan = Annotated[float | None, typer.Option(parser=_seconds, metavar="TIME", help="Accepted before: 2h, 1d.")]
NewerThan = Annotated[float | None, typer.Option(parser=_seconds, metavar="TIME", help="Accepted since.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Part of the reason that queue shows.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it a filter only counts.")]


def pause(
    *,
    lane: Lane = None,
    user: User = None,
    domain: Domain = None,
    route: Route = None,
    for_seconds: For = None,
    why: WhyText = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Let mail wait: of a lane, a user, a recipient domain, a route; without an option everything."""
    settings = load(config, data_dir)
    from aws_api.admin.pausing import Scope
    from mailsluice.pausing import pause as run
    from mailsluice.pausing import who_is_here

    raise typer.Exit(run(settings, Scope(lane, user, domain, route), who_is_here(why), for_seconds))


def resume(
    *,
    lane: Lane = None,
    user: User = None,
    domain: Domain = None,
    route: Route = None,
    why: WhyText = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """End a pause, named as it was begun; a route in trouble is tried at once."""
    settings = load(config, data_dir)
    from aws_api.admin.pausing import Scope
    from mailsluice.pausing import resume as run
    from mailsluice.pausing import who_is_here

    raise typer.Exit(run(settings, Scope(lane, user, domain, route), who_is_here(why)))


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER")],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take messages again.")] = False,
    why: WhyText = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Let a worker finish what it has and take no more."""
    settings = load(config, data_dir)
    from mailsluice.pausing import drain as run
    from mailsluice.pausing import who_is_here

    raise typer.Exit(run(settings, worker, who_is_here(why), is_undone=undo))


def _moves(action: "MessageAction") -> Callable[..., None]:
    """The command of one act on messages."""

    def command(
        any_ids: Ids = None,
        *,
        state: States = None,
        sender: Sender = None,
        recipient_domain: RecipientDomain = None,
        older_than: OlderThan = None,
        newer_than: NewerThan = None,
        reason: Reason = None,
        user: Annotated[str | None, typer.Option(metavar="NAME", help="SMTP user.")] = None,
        lane: Annotated[str | None, typer.Option(metavar="NAME", help="Waits in this lane.")] = None,
        route: Annotated[str | None, typer.Option(metavar="NAME", help="Waits for this route.")] = None,
        yes: Yes = False,
        why: WhyText = "",
        config: ConfigFile = None,
        data_dir: DataDir = None,
    ) -> None:
        settings = load(config, data_dir)
        from aws_api.admin.filters import Filter
        from mailsluice.moving import run
        from mailsluice.pausing import who_is_here

        chosen = Filter(
            states=tuple(one.value for one in state) if state else None,
            sender=sender,
            recipient_domain=recipient_domain,
            older_than_seconds=older_than,
            newer_than_seconds=newer_than,
            reason=reason,
            user=user,
            lane=lane,
            route=route,
        )
        if not any_ids and not chosen.given():
            raise Refused("name messages by their ids, or choose them by options: --help lists them")
        raise typer.Exit(run(settings, action, any_ids or (), chosen, who_is_here(why), is_meant=yes))

    return command


#: name → (what it does, the act)
_MOVES: dict[str, tuple[str, "MessageAction"]] = {
    "hold": ("Put messages on hold until they are released.", "hold"),
    "release": ("Let held messages go on.", "release"),
    "retry": ("Try parked messages again now.", "retry"),
    "cancel": ("Give messages up for good: not sent, not bounced.", "cancel"),
    "drop": ("The same as cancel.", "cancel"),
}


def add_operator_commands(app: typer.Typer) -> None:
    """Adds them to the command line."""
    for command in (pause, resume, drain):
        app.command()(command)
    for name, (text, action) in _MOVES.items():
        app.command(name, help=text)(_moves(action))
