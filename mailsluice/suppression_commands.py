"""`mailsluice suppression`: what is on the suppression list, and the operator's hand in it.

What each command takes; the work is in suppressing.py.
"""

# ruff: noqa: PLC0415 - imports inside the commands: `mailsluice --help` answers at once
from enum import StrEnum
from typing import Annotated

import typer

from mailsluice.options import AsJson, ConfigFile, DataDir, load

suppression_app = typer.Typer(help="Addresses that are not mailed any more.", no_args_is_help=True)


class ReasonOption(StrEnum):
    """Why an address is on the list."""

    BOUNCE = "BOUNCE"
    COMPLAINT = "COMPLAINT"


def _seconds(text: str) -> float:
    from aws_api.admin.wording import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS …", show_default=False)]
Reason = Annotated[ReasonOption, typer.Option("--reason", case_sensitive=False)]
For = Annotated[
    float | None, typer.Option("--for", parser=_seconds, metavar="TIME", help="30m, 2h30m, 1d; default: no end.")
]


@suppression_app.command("list")
def list_(
    *,
    reason: Annotated[ReasonOption | None, typer.Option("--reason", case_sensitive=False)] = None,
    newer_than: Annotated[float | None, typer.Option(parser=_seconds, metavar="TIME", help="Entered since.")] = None,
    older_than: Annotated[float | None, typer.Option(parser=_seconds, metavar="TIME", help="Entered before.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Shown at most; the oldest come first.")] = 1000,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """List the addresses, with reason, source and since when."""
    settings = load(config, data_dir)
    from mailsluice.suppressing import Chosen, list_entries

    chosen = Chosen(reason.value if reason else None, newer_than, older_than)
    raise typer.Exit(list_entries(settings, chosen, limit, as_json=as_json))


@suppression_app.command("show")
def show(
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    *,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show what is known of an address; exit code 1 when it is not on the list."""
    settings = load(config, data_dir)
    from mailsluice.suppressing import show_entry

    raise typer.Exit(show_entry(settings, address, as_json=as_json))


@suppression_app.command("add")
def add(
    addresses: Addresses,
    *,
    reason: Reason = ReasonOption.BOUNCE,
    for_seconds: For = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Mail these addresses no more; what was known of them is replaced."""
    settings = load(config, data_dir)
    from mailsluice.suppressing import add_entries

    raise typer.Exit(add_entries(settings, addresses, reason.value, for_seconds))


@suppression_app.command("remove")
def remove(addresses: Addresses, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Mail these addresses again; exit code 1 when none of them was on the list."""
    settings = load(config, data_dir)
    from mailsluice.suppressing import remove_entries

    raise typer.Exit(remove_entries(settings, addresses))


@suppression_app.command("import")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="- = standard input.")],
    *,
    reason: Reason = ReasonOption.BOUNCE,
    for_seconds: For = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Enter the lines ADDRESS[,REASON[,INSTANT]] of a CSV file; when one is wrong, none."""
    settings = load(config, data_dir)
    from mailsluice.suppressing import import_entries

    raise typer.Exit(import_entries(settings, file, reason.value, for_seconds))


@suppression_app.command("export")
def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="- = standard output.")] = "-",
    *,
    for_ses: Annotated[bool, typer.Option("--for-ses", help="ADDRESS,REASON, as SES's bulk import has it.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Write the whole list as CSV, as import reads it."""
    settings = load(config, data_dir)
    from mailsluice.suppressing import export_entries

    raise typer.Exit(export_entries(settings, file, is_for_ses=for_ses))
