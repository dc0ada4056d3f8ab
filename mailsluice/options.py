"""Options that many commands share, and the settings that follow from them. Imports next to nothing."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from config.settings import Settings

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file; default: ./mailsluice.toml, if there.")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where everything is kept; default: ./var.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def load(config: Path | None = None, data_dir: Path | None = None) -> "Settings":
    """The settings; options become variables, so that processes started from here see the same."""
    from config.settings_source import load_settings  # noqa: PLC0415 - `mailsluice --help` answers at once

    if config is not None:
        os.environ["SLUICE_CONFIG"] = str(config.absolute())
    if data_dir is not None:
        os.environ["SLUICE_DATA_DIR"] = str(data_dir.absolute())
    return load_settings()
