"""What `mailsluice doctor` takes; its work is in doctor.py."""

# ruff: noqa: PLC0415 - imports inside the command: `mailsluice --help` answers at once
from typing import Annotated

import typer

from mailsluice.options import AsJson, ConfigFile, DataDir, load


def add_doctor_command(app: typer.Typer) -> None:
    """Adds it to the command line."""
    app.command()(doctor)


def doctor(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Make what is missing at AWS.")] = False,
    no_send: Annotated[bool, typer.Option("--no-send", help="Only look: send no mail.")] = False,
    sender: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="Sender of the three mails; default: one SES has verified.")
    ] = "",
    smtp: Annotated[str, typer.Option(metavar="HOST:PORT", help="The gateway; default: as [smtp] says.")] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="SMTP user, where one is needed.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read its password from stdin instead of asking.")
    ] = False,
    wait: Annotated[float, typer.Option(min=1, max=3600, metavar="SECONDS", help="Longest wait for the events.")] = 60,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Check settings, store, SES and the way of its events; mend it; prove it with three mails."""
    settings = load(config, data_dir)
    from mailsluice.doctor import DoctorOptions, run
    from mailsluice.users import ask_password

    options = DoctorOptions(
        repairs=fix,
        sends=not no_send,
        is_json=as_json,
        sender=sender,
        smtp=smtp,
        user=user,
        password=ask_password(is_piped=password_stdin) if user else "",
        wait_seconds=wait,
    )
    raise typer.Exit(run(settings, options))
