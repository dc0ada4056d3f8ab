"""The command line from outside: what it prints, where errors go, what it loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import Settings
from config.settings_source import sections, variable_of
from mailsluice.settings_list import settings_text
from mailsluice.welcome import welcome
from tests.servers import free_port

COMMANDS = (
    "up",
    "gateway",
    "api",
    "worker",
    "feedback",
    "simulator",
    "redis",
    "flower",
    "show",
    "queue",
    "doctor",
    "pause",
    "resume",
    "drain",
    "hold",
    "release",
    "retry",
    "cancel",
    "drop",
    "environment",
    "settings",
    "user",
    "key",
    "rules",
)


def mailsluice(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-P", "-m", "mailsluice", *arguments)
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command(tmp_path: Path) -> None:
    said = mailsluice("--help", cwd=tmp_path)
    assert said.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in said.stdout


def test_help_loads_next_to_nothing(tmp_path: Path) -> None:
    heavy = "{'pydantic', 'celery', 'redis', 'aiohttp', 'botocore', 'structlog', 'asyncio'}"
    code = f"import sys, mailsluice.command; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run((sys.executable, "-P", "-c", code), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


@pytest.mark.parametrize("command", ["up", "gateway", "api", "worker", "simulator", "redis", "flower", "settings"])
def test_wrong_settings_are_a_message_and_exit_code_2(command: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[smtp]\nport = 'x'\nprot = 1\n")
    said = mailsluice(command, "--config", "wrong.toml", cwd=tmp_path)
    assert said.returncode == 2
    assert said.stdout == ""
    assert "wrong.toml: [smtp] port" in said.stderr
    assert "did you mean port" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_a_gateway_without_its_certificate_does_not_start(processes: int, tmp_path: Path) -> None:
    (tmp_path / "mailsluice.toml").write_text(
        f"[smtp]\nport = {free_port()}\nprocesses = {processes}\n"
        'tls_certificate_file = "/nope.pem"\ntls_key_file = "/nope.key"\n'
    )
    said = mailsluice("gateway", cwd=tmp_path)
    assert said.returncode == 2
    assert said.stderr.splitlines() == [
        "[smtp] tls_certificate_file /nope.pem: No such file or directory; correct SLUICE_SMTP_TLS_CERTIFICATE_FILE",
        "[smtp] tls_key_file /nope.key: No such file or directory; correct SLUICE_SMTP_TLS_KEY_FILE",
    ]


@pytest.mark.parametrize(("least", "is_full"), [(10**18, True), (0, False)])
def test_without_the_embedded_server_queue_names_its_log_and_a_full_disk(
    *, least: int, is_full: bool, tmp_path: Path
) -> None:
    (tmp_path / "mailsluice.toml").write_text(f"[redis]\nmin_free_disk_bytes = {least}\n")
    said = mailsluice("queue", cwd=tmp_path)
    assert said.returncode == 2
    assert f"`mailsluice up` does not run with the data dir {tmp_path}/var" in said.stderr
    assert f"or {tmp_path}/var/redis/server.log says why" in said.stderr
    assert ("MiB of disk are free" in said.stderr) is is_full


def test_without_a_source_of_events_feedback_says_what_is_missing(tmp_path: Path) -> None:
    said = mailsluice("feedback", cwd=tmp_path)
    assert said.returncode == 2
    assert said.stdout == ""
    assert "set [feedback] queue_url (SLUICE_FEEDBACK_QUEUE_URL)" in said.stderr
    assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["Production", "a b", "x" * 33])
def test_what_cannot_be_an_environments_name_is_refused(name: str, tmp_path: Path) -> None:
    said = mailsluice("environment", "--rename", name, cwd=tmp_path)
    assert said.returncode == 2
    assert f"{name} is no name of an environment" in said.stderr


def test_a_user_is_added_listed_and_removed_without_a_password_in_sight(tmp_path: Path) -> None:
    added = mailsluice("user", "add", "shop", "--allow", "example.com", "--password-stdin", cwd=tmp_path, stdin="pw\n")
    assert added.returncode == 0, added.stderr
    assert added.stdout == "added shop in var/smtp-users.json; may send as: example.com\n"
    listed = mailsluice("user", "list", cwd=tmp_path)
    assert listed.stdout == "shop  example.com\n"
    assert '"pw"' not in (tmp_path / "var" / "smtp-users.json").read_text()
    assert mailsluice("user", "remove", "shop", cwd=tmp_path).returncode == 0
    again = mailsluice("user", "remove", "shop", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "there is no user shop in var/smtp-users.json\n"


def test_a_password_cannot_be_an_argument(tmp_path: Path) -> None:
    assert mailsluice("user", "add", "shop", "secret", cwd=tmp_path).returncode == 2


def test_every_setting_is_printed_with_its_variable() -> None:
    text = settings_text(Settings())
    for name, section in sections().items():
        assert f"[{name}]" in text
        for key in section.model_fields:
            assert f" {key} = " in text
            assert f"({variable_of(name, key)})" in text


def test_printed_settings_mark_changes_and_mask_passwords() -> None:
    settings = Settings.model_validate({"redis": {"url": "redis://:geheim@host"}, "smtp": {"port": 25}})
    lines = settings_text(settings).splitlines()
    assert '* url = "redis://:***@host"' in lines
    assert "* port = 25" in lines
    assert "  max_recipients = 500" in lines
    assert "geheim" not in "\n".join(lines)


def test_printed_settings_name_every_route_and_hide_its_secret() -> None:
    keys = {"access_key_id": "AKIA", "secret_access_key": "geheim-geheim-geheim"}
    settings = Settings.model_validate(
        {
            "api": {"admin_token": "geheim-geheim-geheim"},
            "relay": {"region": "eu-west-1"},
            "lanes": {"by_user": {"shop": "bulk", "a.b": "express"}},
            "routes": {"main": keys, "other": {"region": "us-east-1"}},
        }
    )
    text = settings_text(settings)
    assert "geheim" not in text
    assert '* admin_token = "***"' in text
    assert '* by_user = { shop = "bulk", "a.b" = "express" }' in text
    _, main, other = text.split("[routes.")
    assert '* region = "eu-west-1"' in main
    assert '* secret_access_key = "***"' in main
    assert '* region = "us-east-1"' in other
    assert '  secret_access_key = ""' in other


def test_printed_settings_name_the_one_route_that_is_always_there() -> None:
    assert "[routes.default]" in settings_text(Settings())


def test_the_welcome_says_where_everything_is() -> None:
    text = welcome(Settings.model_validate({"smtp": {"host": "0.0.0.0"}}), has_simulator=True, after_seconds=3.14)
    assert "ready after 3.1 s" in text
    for place in ("127.0.0.1:2525", "http://127.0.0.1:2580/", "http://127.0.0.1:2581/", "http://127.0.0.1:5555/"):
        assert place in text
    assert str(Path("var/events.ndjson").absolute()) in text


def test_the_welcome_of_the_real_ses_asks_for_a_verified_sender() -> None:
    settings = Settings.model_validate({"redis": {"url": "redis://:geheim@host"}, "events": {"destinations": ["log"]}})
    text = welcome(settings, has_simulator=False, after_seconds=3)
    assert "YOU@YOUR-VERIFIED-DOMAIN" in text
    assert "2581" not in text
    assert "events.ndjson" not in text
    assert "geheim" not in text


def test_the_welcome_names_the_port_with_tls_when_there_is_one() -> None:
    tls = {"tls_port": 4650, "tls_certificate_file": "c.pem", "tls_key_file": "k.pem"}
    assert "127.0.0.1:4650" in welcome(Settings.model_validate({"smtp": tls}), has_simulator=True, after_seconds=3)
    assert "TLS" not in welcome(Settings(), has_simulator=True, after_seconds=3)


@pytest.mark.parametrize(
    ("smtp", "is_open"),
    [
        ({}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "localhost"}, True),
        ({"host": "::"}, True),
        ({"host": "10.0.0.5"}, False),
        ({"host": "10.0.0.5", "allowed_networks": "10.0.0.0/8"}, True),
        ({"host": "0.0.0.0", "allowed_networks": "10.0.0.0/8"}, False),
        ({"allowed_networks": ""}, False),
    ],
)
def test_a_first_mail_that_would_be_refused_is_not_proposed(*, smtp: dict[str, str], is_open: bool) -> None:
    text = welcome(Settings.model_validate({"smtp": smtp}), has_simulator=True, after_seconds=3)
    assert ("python3 -c" in text) is is_open
    assert ("`mailsluice user add NAME`, and set SLUICE_SMTP_TLS_CERTIFICATE_FILE" in text) is not is_open


def test_who_has_tls_needs_only_a_user() -> None:
    smtp = {"allowed_networks": "", "auth_without_tls": True}
    text = welcome(Settings.model_validate({"smtp": smtp}), has_simulator=True, after_seconds=3)
    assert text.endswith("a first mail needs a user: make one with `mailsluice user add NAME`.\n\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hold",), "name messages by their ids, or choose them by options"),
        (("cancel", "id", "--sender", "a@b"), "not both"),
        (("retry", "--state", "held"), "retry does nothing about held; allowed: parked"),
        (("hold", "--older-than", "soon"), "must be a duration"),
        (("pause", "--for", "0"), "for: must be more than nothing"),
        (("pause", "--lane", "nosuch"), "there are: express, bulk"),
        (("pause", "--user", ""), "user: must not be empty"),
        (("resume", "--route", ""), "route: must not be empty"),
        (("cancel", "--reason", "", "--yes"), "reason: must not be empty"),
        (("pause", "--domain", "a b"), "must be a recipient domain"),
    ],
)
def test_what_an_operator_writes_wrong_is_told_before_anything_is_asked(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    said = mailsluice(*arguments, cwd=tmp_path)
    assert said.returncode == 2
    assert words in said.stderr
    assert "does not answer" not in said.stderr
    assert "Traceback" not in said.stderr
