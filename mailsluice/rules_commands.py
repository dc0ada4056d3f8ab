"""`mailsluice rules`: what its commands take. The work is in rules_checking.py and rules_testing.py."""

# ruff: noqa: PLC0415 - imports inside the commands, as in command.py
from pathlib import Path
from typing import Annotated

import typer

from mailsluice.options import AsJson, ConfigFile, DataDir, load

rules_app = typer.Typer(help="Rules: what becomes of mail.", no_args_is_help=True)

RulesFile = Annotated[
    Path | None, typer.Option("--rules", metavar="FILE", help="Rules to test; default: [rules] file of the settings.")
]


@rules_app.command("check")
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Default: [rules] file of the settings.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Read the rules and print every mistake."""
    settings = load(config, data_dir)
    from mailsluice.rules_checking import run

    raise typer.Exit(run(settings, file))


@rules_app.command("test")
def try_message(
    *,
    message: Annotated[Path, typer.Argument(metavar="MESSAGE.eml", help="A message as a file.")],
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Envelope sender; <> = the null sender.")],
    recipients: Annotated[list[str], typer.Option("--to", metavar="ADDRESS", help="Recipient; may be repeated.")],
    user: Annotated[str, typer.Option(metavar="NAME", help="SMTP user that hands it in.")] = "",
    source_ip: Annotated[str, typer.Option(metavar="ADDRESS", help="Where it is handed in from.")] = "",
    invoke: Annotated[bool, typer.Option("--invoke", help="Really call the functions; what they do is done.")] = False,
    as_json: AsJson = False,
    rules: RulesFile = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Print what the rules would make of a message, and why. Nothing is sent and nothing is written."""
    settings = load(config, data_dir)
    from config.logs import set_up_logging
    from mailsluice.rules_testing import Trial, run

    set_up_logging(settings.log, "rules")  # what functions print goes to stderr
    trial = Trial(message, sender.strip("<>"), tuple(recipients), user, source_ip)
    raise typer.Exit(run(settings, trial, rules, is_invoking=invoke, as_json=as_json))
