"""`mailsluice key`: makes, lists and removes keys of the AWS API. A secret is shown once, when its key is made."""

# ruff: noqa: PLC0415 - imports inside the commands: `mailsluice --help` answers at once
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from config.errors import Refused
from mailsluice.options import ConfigFile, DataDir, load

key_app = typer.Typer(help="Keys of the AWS API: whose requests are answered.", no_args_is_help=True)

KeyName = Annotated[str, typer.Argument(metavar="NAME")]


@key_app.command("add")
def key_add(
    name: KeyName,
    sender: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Sender it may use: user@domain, domain, *.domain; default: any. With one, the key may neither change "
            "configuration sets nor use the suppression list.",
        ),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print its secret, once; the API knows it at once."""
    typer.echo(add_key(load(config, data_dir).access_keys_file, name, sender or ()))


@key_app.command("list")
def key_list(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """List the keys and what they may send as; no secrets."""
    typer.echo(list_keys(load(config, data_dir).access_keys_file))


@key_app.command("remove")
def key_remove(name: KeyName, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Remove a key by its name or its id; the API refuses it at once."""
    typer.echo(remove_key(load(config, data_dir).access_keys_file, name))


def add_key(file: Path, name: str, senders: Sequence[str]) -> str:
    """Makes the key; the text is all that ever shows its secret. Raises Refused."""
    from aws_api.wire.access_keys import AccessKeyFile

    key = AccessKeyFile(file).add(name, tuple(senders) or ("*",))
    return (
        f"added {key.name} in {file}; may send as: {', '.join(key.senders)}\n"
        f"AWS_ACCESS_KEY_ID={key.access_key_id}\n"
        f"AWS_SECRET_ACCESS_KEY={key.secret}\n"
        "The secret is not shown again."
    )


def list_keys(file: Path) -> str:
    """One key a line: id, name, sender patterns. Raises Refused."""
    from aws_api.wire.access_keys import AccessKeyFile

    keys = AccessKeyFile(file).list()
    if not keys:
        return f"no access keys in {file}"
    return "\n".join(f"{key.access_key_id}  {key.name}  {', '.join(key.senders)}" for key in keys)


def remove_key(file: Path, name: str) -> str:
    """Removes the key. Raises Refused when there is none."""
    from aws_api.wire.access_keys import AccessKeyFile

    removed = AccessKeyFile(file).remove(name)
    if removed is None:
        raise Refused(f"there is no key {name} in {file}")
    return f"removed {removed.name} ({removed.access_key_id}) from {file}"
