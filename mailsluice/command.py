"""The command line: which commands there are and what they take. Every command's work is in a file of its own.

Imports inside the commands: `mailsluice --help` answers at once, and a process loads only what it needs.
Exit codes: 0 done, 1 it did not work this time, 2 the caller must change something.
"""

# ruff: noqa: PLC0415 - imports inside the commands are the point, see above
import sys
from enum import StrEnum
from typing import Annotated

import typer

from config.errors import Refused, SluiceError
from mailsluice.doctor_command import add_doctor_command
from mailsluice.event_commands import events_app
from mailsluice.key_commands import key_app
from mailsluice.operator_commands import add_operator_commands
from mailsluice.options import AsJson, ConfigFile, DataDir
from mailsluice.options import load as _load
from mailsluice.rules_commands import rules_app
from mailsluice.set_commands import sets
from mailsluice.suppression_commands import suppression_app

app = typer.Typer(
    name="mailsluice",
    help="A durable queue in front of Amazon SES.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
user_app = typer.Typer(help="SMTP users: who may submit from outside the allowed networks.", no_args_is_help=True)
app.add_typer(user_app, name="user")
app.add_typer(key_app, name="key")
app.add_typer(suppression_app, name="suppression")
app.add_typer(events_app, name="events")
app.add_typer(rules_app, name="rules")


class Upstream(StrEnum):
    """Where the workers send."""

    SIMULATOR = "simulator"
    AWS = "aws"


UserName = Annotated[str, typer.Argument(metavar="NAME")]


def main() -> None:
    """Runs the command line; what the operator can mend is a message, never a traceback."""
    try:
        app()
    except Refused as error:
        _stop(error, 2)
    except SluiceError as error:
        _stop(error, 1)


def _stop(error: SluiceError, exit_code: int) -> None:
    sys.stderr.write(f"{error.reason}\n")
    sys.exit(exit_code)


@app.command()
def up(
    data_dir: DataDir = None,
    upstream: Annotated[Upstream, typer.Option(help="Where mail goes: the local simulator, or SES.")] = (
        Upstream.SIMULATOR
    ),
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Worker processes; default: [worker] processes.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Start everything on this machine: Redis, simulator, gateway, API, workers and Flower."""
    settings = _load(config, data_dir)
    from mailsluice.children import UpOptions
    from mailsluice.up import run_up

    run_up(settings, UpOptions(has_simulator=upstream is Upstream.SIMULATOR, workers=workers))


@app.command()
def gateway(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run the SMTP door."""
    settings = _load(config, data_dir)
    if settings.smtp.processes > 1:
        from mailsluice.up import run_gateways

        run_gateways(settings)
        return
    from smtp_gateway.certificates import certificates_of
    from smtp_gateway.process import run

    certificates_of(settings.smtp)  # refuses what cannot be used as it does wrong settings
    raise typer.Exit(run(settings))


@app.command()
def api(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run the HTTP door: /healthz, /metrics, /admin/ and the AWS API."""
    settings = _load(config, data_dir)
    from aws_api.process import run

    raise typer.Exit(run(settings))


@app.command()
def worker(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run one worker: `celery -A worker.app worker` with our options."""
    settings = _load(config, data_dir)
    from worker.start import run

    raise typer.Exit(run(settings))


@app.command()
def feedback(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Read what SES tells of sent mail, from a queue, POST /feedback/sns or the simulator, and apply it.

    Deliveries, bounces and complaints become recipients' states, events, figures, entries of the suppression list and
    bounces, and settle calls that ended without an answer. [feedback] says where they come from.
    """
    settings = _load(config, data_dir)
    from worker.feedback.process import run

    raise typer.Exit(run(settings))


@app.command()
def simulator(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run the local stand-in for SES alone."""
    settings = _load(config, data_dir)
    from config.logs import set_up_logging
    from simulator.server import run
    from simulator.settings import SimulatorSettings

    set_up_logging(settings.log, "simulator")
    run(SimulatorSettings(**settings.simulator.model_dump(), data_dir=settings.data.dir))


@app.command()
def redis(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run the embedded Redis-compatible server alone, in the data dir."""
    settings = _load(config, data_dir)
    from mailsluice.up import become_redis

    become_redis(settings)


@app.command()
def flower(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run Flower, the web view on the workers."""
    settings = _load(config, data_dir)
    from mailsluice.flower import run_flower

    run_flower(settings)


@app.command()
def show(
    any_id: Annotated[str, typer.Argument(metavar="ID", help="Ours, an SES id, or the header Message-ID.")],
    as_json: AsJson = False,  # noqa: FBT002 - typer makes it a flag
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show what became of a message: its recipients, batches and attempts."""
    settings = _load(config, data_dir)
    from mailsluice.show import run

    raise typer.Exit(run(settings, any_id, as_json=as_json))


@app.command()
def queue(
    as_json: AsJson = False,  # noqa: FBT002 - typer makes it a flag
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show what waits: where, why, and until when."""
    settings = _load(config, data_dir)
    from mailsluice.queue import run

    raise typer.Exit(run(settings, as_json=as_json))


add_operator_commands(app)
add_doctor_command(app)
app.command()(sets)


@app.command()
def environment(
    rename: Annotated[
        str | None, typer.Option(metavar="NAME", help="Give the spool this name; stop its processes first.")
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show which installation the spool belongs to."""
    settings = _load(config, data_dir)
    from mailsluice.environment import run

    raise typer.Exit(run(settings, rename))


@app.command("settings")
def settings_(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Print every setting: value (* = not the default), variable and meaning."""
    settings = _load(config, data_dir)
    from mailsluice.settings_list import settings_text

    typer.echo(settings_text(settings), nl=False)


@user_app.command("add")
def user_add(
    name: UserName,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Sender it may use: user@domain, domain, *.domain; default: any, or as before for one that is there.",
        ),
    ] = None,
    password_stdin: Annotated[  # noqa: FBT002 - typer makes it a flag
        bool, typer.Option("--password-stdin", help="Read the password from stdin instead of asking.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Add a user or give it a new password; the gateway sees it at once."""
    settings = _load(config, data_dir)
    from mailsluice.users import add_user, read_password

    typer.echo(add_user(settings.users_file, name, allow or (), read_password(is_piped=password_stdin)))


@user_app.command("remove")
def user_remove(name: UserName, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Remove a user."""
    settings = _load(config, data_dir)
    from mailsluice.users import remove_user

    typer.echo(remove_user(settings.users_file, name))


@user_app.command("list")
def user_list(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """List the users and what they may send as."""
    settings = _load(config, data_dir)
    from mailsluice.users import list_users

    typer.echo(list_users(settings.users_file))
