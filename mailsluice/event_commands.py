"""`mailsluice events`: what its commands take. The work is in replaying.py."""

# ruff: noqa: PLC0415 - imports inside the commands, as in command.py
from typing import Annotated

import typer

from mailsluice.options import AsJson, ConfigFile, DataDir, load

events_app = typer.Typer(help="Events: who is told of them, dead letters, replays.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--destination", metavar="NAME", help="As `events list` shows it.")]
Since = Annotated[str, typer.Option(metavar="TIME", help="2h, 1d (ago), or 2026-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="The same; default: now.")]


@events_app.command("list")
def list_(as_json: AsJson = False, config: ConfigFile = None, data_dir: DataDir = None) -> None:  # noqa: FBT002 - a flag
    """Show the destinations and how far each is."""
    settings = load(config, data_dir)
    from mailsluice.replaying import show_destinations

    raise typer.Exit(show_destinations(settings, as_json=as_json))


@events_app.command("dead")
def dead(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `events list` shows it.")],
    *,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show the dead letters of a destination: what it can never take, or did not take in time."""
    settings = load(config, data_dir)
    from mailsluice.replaying import show_dead_letters

    raise typer.Exit(show_dead_letters(settings, name, as_json=as_json))


@events_app.command("replay")
def replay(
    *,
    destination: Name,
    since: Since,
    until: Until = None,
    dead_only: Annotated[bool, typer.Option("--dead", help="Dead letters instead of what was taken.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it is only counted.")] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="For the event of it.")] = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Let a destination be told again of what happened in a span of time, with the same event ids."""
    settings = load(config, data_dir)
    from mailsluice.pausing import who_is_here
    from mailsluice.replaying import Wish, replay_events

    wish = Wish(destination, since, until, is_of_dead=dead_only, is_meant=yes)
    raise typer.Exit(replay_events(settings, wish, who_is_here(why)))
