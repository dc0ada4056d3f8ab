"""`mailsluice sets`: what it takes. The work is in sets.py."""

# ruff: noqa: PLC0415 - imports inside the command, as in command.py
from typing import Annotated

import typer

from mailsluice.options import AsJson, ConfigFile, DataDir, load

SetName = Annotated[str | None, typer.Argument(metavar="NAME", help="One set; default: all.", show_default=False)]


def sets(
    name: SetName = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer makes it a flag
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show the configuration sets, their event destinations and what waits for them."""
    settings = load(config, data_dir)
    from mailsluice.sets import run

    raise typer.Exit(run(settings, name, as_json=as_json))
