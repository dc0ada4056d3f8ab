from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import pytest

from config.settings import Section, Settings
from config.settings_source import WrongSettings, load_settings, sections, variable_of

EVERY = [(section, key) for section, model in sections().items() for key in model.model_fields]

# Where the type alone does not tell what is allowed: (as the environment says it, as the program sees it).
PARTICULAR: dict[tuple[str, str], tuple[str, Any]] = {
    ("redis", "url"): ("rediss://:secret@redis.example.com:6380/1",) * 2,
    ("broker", "url"): ("unix:///run/redis.sock",) * 2,
    ("relay", "bounce_sender"): ("postmaster@example.com",) * 2,
    ("spool", "content_store"): ("s3://bucket/prefix",) * 2,
    ("smtp", "allowed_networks"): (
        "192.0.2.0/24, 2001:db8::/32",
        [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")],
    ),
    ("events", "destinations"): (" log ,file,", ["log", "file"]),
    ("api", "admin_token"): ("0123456789abcdef",) * 2,
    ("simulator", "verified_identities"): ("a@example.com, example.org", ["a@example.com", "example.org"]),
    ("feedback", "simulator_url"): ("http://127.0.0.1:2581",) * 2,
    ("feedback", "queue_url"): ("https://sqs.us-east-1.amazonaws.com/123456789012/events",) * 2,
    ("feedback", "topics"): ("arn:aws:sns:us-east-1:1:events", ["arn:aws:sns:us-east-1:1:events"]),
    ("events", "allowed_targets"): ("hooks.internal, 10.0.0.0/8", ["hooks.internal", "10.0.0.0/8"]),
    ("suppression", "reasons"): ("bounce", ["bounce"]),
    ("relay", "configuration_sets"): ("news=ses-news, shop=ses-shop", {"news": "ses-news", "shop": "ses-shop"}),
    ("relay", "from_aliases"): (
        "app@example.com = app@verified.example, b@x=c@y",
        {"app@example.com": "app@verified.example", "b@x": "c@y"},
    ),
    ("relay", "fence_allowed"): (
        "me@example.com, example.org, *.example.net",
        ["me@example.com", "example.org", "*.example.net"],
    ),
    ("relay", "fence_redirect_to"): ("tester@example.com",) * 2,
    ("smtp", "local_domains"): ("example.com, *.example.net", ["example.com", "*.example.net"]),
    ("functions", "pass_environment"): ("PATH, PROXY", ["PATH", "PROXY"]),
    ("message_flow", "immutable_headers"): ("From, Date", ["From", "Date"]),
    # The order of the lanes is the order of writing.
    ("lanes", "shares"): ("express = 100, news=30, bulk=60", {"express": 100, "news": 30, "bulk": 60}),
    ("lanes", "default"): ("bulk", "bulk"),
    ("lanes", "by_user"): ("newsletter=bulk, shop=express", {"newsletter": "bulk", "shop": "express"}),
    ("lanes", "weights"): ("shop=2, app@example.com=0.5", {"shop": 2.0, "app@example.com": 0.5}),
    # A pair that belongs together.
    ("smtp", "tls_certificate_file"): ("/x/c.pem", Path("/x/c.pem")),
    ("smtp", "tls_key_file"): ("/x/k.pem", Path("/x/k.pem")),
    ("smtp", "tls_port"): ("465", 465),
    # Enough for one message to max_recipients.
    ("smtp", "max_commands"): ("600", 600),
    # No smaller than a message.
    ("smtp", "memory_budget_bytes"): ("31457280", 31457280),
}
TLS_PAIR = {"SLUICE_SMTP_TLS_CERTIFICATE_FILE": "/x/c.pem", "SLUICE_SMTP_TLS_KEY_FILE": "/x/k.pem"}


def another_value(section: str, key: str) -> tuple[str, Any]:
    """A value that is not the default, as text and as the program sees it."""
    if (section, key) in PARTICULAR:
        return PARTICULAR[section, key]
    field = sections()[section].model_fields[key]
    kind, default = field.annotation, field.default
    if kind is bool:
        return ("false", False) if default else ("true", True)
    if kind in {int, float}:
        lower = next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), 1)
        value = kind(lower if lower != default else lower + 1)
        return str(value), value
    if kind is str:
        return "other", "other"
    if Path in (kind, *get_args(kind)):
        return "/some/where", Path("/some/where")
    value = next(value for value in get_args(kind) if value != default)
    return value, value


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mistakes(file: Path | None = None, **environ: str) -> list[str]:
    with pytest.raises(WrongSettings) as caught:
        load_settings(file, environ)
    first, *lines = caught.value.reason.split("\n  ")
    assert first == "Settings that cannot be used:"
    return lines


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mail.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_file_and_variables_everything_has_its_default():
    assert load_settings(environ={}) == Settings()


@pytest.mark.parametrize(("section", "key"), EVERY, ids=lambda one: one)
def test_every_setting_can_be_given_by_its_variable(section: str, key: str):
    text, value = another_value(section, key)
    others = TLS_PAIR if section == "smtp" and key.startswith("tls_") else {}
    found = getattr(getattr(load_settings(environ={**others, variable_of(section, key): text}), section), key)
    assert found == value
    if not others:
        assert found != getattr(getattr(Settings(), section), key)


@pytest.mark.parametrize(("section", "key"), EVERY, ids=lambda one: one)
def test_every_setting_has_a_sentence(section: str, key: str):
    field = sections()[section].model_fields[key]
    assert field.description
    assert field.description.endswith(".")


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path):
    path = written(tmp_path, '[smtp]\nport = 1025\nmax_recipients = 7\nallowed_networks = ["192.0.2.0/24"]\n')
    settings = load_settings(path, {"SLUICE_SMTP_PORT": "2026", "SLUICE_API_PORT": "2027", "HOME": "/x"})
    assert (settings.smtp.port, settings.smtp.max_recipients, settings.api.port) == (2026, 7, 2027)
    assert list(settings.smtp.allowed_networks) == [ip_network("192.0.2.0/24")]


def test_the_file_is_found_by_its_variable_and_by_its_name(tmp_path: Path):
    path = written(tmp_path, "[smtp]\nport = 1025\n")
    assert load_settings(environ={"SLUICE_CONFIG": str(path)}).smtp.port == 1025
    path.rename(tmp_path / "mailsluice.toml")
    assert load_settings(environ={}).smtp.port == 1025


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path):
    path = written(
        tmp_path,
        "[smtp]\nport = 99999\nmax_recipient = 3\ntls_key_file = '/k'\n"
        "[smpt]\nx = 1\n[worker]\nthreads = 'many'\n[events]\ndestinations = ['kafka']\nmax_backlog = 1\n",
    )
    lines = mistakes(path, SLUICE_LOG_LEVEL="loud", SLUICE_SMTP_PROT="1", SLUICE_RELAY_UNKNOWN="")
    text = "\n".join(lines)
    assert len(lines) == 9, text
    for expected in (
        f"{path}: [smtp] port: Input should be less than or equal to 65535, not 99999",
        f"{path}: [smtp] max_recipient: no such setting; did you mean max_recipients?",
        f"{path}: [smpt]: no such section; did you mean smtp?",
        f"{path}: [worker] threads: ",
        f"{path}: [events] max_backlog: ",
        f"{path}: [events]: unknown destination kafka; allowed: file, log",
        "[smtp] tls_certificate_file and tls_key_file must be given together",
        "SLUICE_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error', not 'loud'",
        "SLUICE_SMTP_PROT: no such setting; did you mean SLUICE_SMTP_PORT?",
    ):
        assert expected in text, text


def test_the_pair_is_not_blamed_for_a_half_that_is_wrong_by_itself(tmp_path: Path):
    path = written(tmp_path, "[smtp]\ntls_key_file = 5\ntls_certificate_file = '/c'\nport = 0\n")
    lines = mistakes(path)
    assert len(lines) == 2, lines
    assert not any("together" in line for line in lines)


def test_a_wrong_port_does_not_hide_what_is_wrong_with_another():
    assert len(mistakes(SLUICE_SMTP_TLS_PORT="465", SLUICE_SMTP_PORT="0")) == 2


def test_a_budget_smaller_than_a_message_is_a_mistake():
    lines = mistakes(
        SLUICE_SMTP_MEMORY_BUDGET_BYTES="2000000", SLUICE_SMTP_MAX_MESSAGE_BYTES="2000001", SLUICE_SMTP_TLS_PORT="465"
    )
    assert lines == [
        "SLUICE_SMTP_MEMORY_BUDGET_BYTES: must be at least max_message_bytes (2000001), not '2000000'",
        "[smtp] tls_port needs tls_certificate_file and tls_key_file",
    ]


def test_the_budget_is_not_blamed_for_a_message_size_that_is_wrong_by_itself():
    (line,) = mistakes(SLUICE_SMTP_MEMORY_BUDGET_BYTES="2000000", SLUICE_SMTP_MAX_MESSAGE_BYTES="many")
    assert line.startswith("SLUICE_SMTP_MAX_MESSAGE_BYTES: ")


def test_a_tls_port_without_a_certificate_is_a_mistake():
    assert mistakes(SLUICE_SMTP_TLS_PORT="465") == ["[smtp] tls_port needs tls_certificate_file and tls_key_file"]


@pytest.mark.parametrize("variable", ["SLUICE_REDIS_URL", "SLUICE_BROKER_URL"])
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://app:hunter2@redis.example.com:6379/0", "http://***@redis.example.com:6379/0"),
        ("http://:hunter2@redis.example.com", "http://***@redis.example.com"),
        ("http://app:hun@ter2@redis.example.com", "http://***@redis.example.com"),
        ("http://redis.example.com/?password=hunter2", "http://redis.example.com/?***"),
        ("app:hunter2@redis.example.com", "…"),
        ("redis:/:hunter2@redis.example.com", "…"),
    ],
)
def test_a_password_in_a_wrong_url_is_not_shown(variable: str, url: str, shown: str):
    assert mistakes(**{variable: url}) == [f"{variable}: must begin with redis://, rediss:// or unix://, not {shown!r}"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("foo=1", "the option 'foo' cannot be used here"),
        ("socket_timeout=long", "Invalid value for 'socket_timeout' in connection URL"),
    ],
)
def test_an_option_in_the_url_of_redis_that_cannot_be_used_is_named(query: str, problem: str):
    found = mistakes(SLUICE_REDIS_URL=f"redis://:hunter2@h/0?{query}")
    assert found == [f"SLUICE_REDIS_URL: must have options that can be used ({problem}), not 'redis://***@h/0?***'"]


def test_a_password_is_not_shown_when_settings_are_printed():
    settings = load_settings(
        environ={"SLUICE_REDIS_URL": "redis://:hunter2@h", "SLUICE_BROKER_URL": "redis://:hunter2@h"}
    )
    assert "hunter2" not in repr(settings) + str(settings)


def test_a_secret_under_a_wrong_name_is_not_shown(tmp_path: Path):
    path = written(tmp_path, "[redis]\npassword = 'hunter2'\n[secret]\nkey = 'hunter2'\n")
    assert "hunter2" not in "\n".join(mistakes(path, SLUICE_REDIS_PASSWORD="hunter2"))


def test_a_network_that_is_none_is_one_mistake():
    [line] = mistakes(SLUICE_SMTP_ALLOWED_NETWORKS="192.0.2.0/24, everybody")
    assert line.startswith("SLUICE_SMTP_ALLOWED_NETWORKS: ")
    assert line.endswith("not 'everybody'")


def test_a_section_that_is_a_value_is_a_mistake_and_no_crash(tmp_path: Path):
    path = written(tmp_path, "smtp = 5\n[worker]\nthreads = 0\n")
    lines = mistakes(path, SLUICE_SMTP_PORT="2525")
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}: [smtp]: must be a section")


def test_a_long_wrong_value_is_shown_in_part():
    [line] = mistakes(SLUICE_LOG_LEVEL="x" * 10_000)
    assert len(line) < 300


@pytest.mark.parametrize("variable", ["SLUICE_SMTP_PORT", "SLUICE_SMTP_TLS_KEY_FILE", "SLUICE_LOG_FORMAT"])
def test_an_empty_variable_is_not_set(variable: str):
    assert load_settings(environ={variable: ""}) == Settings()


def test_a_connection_has_commands_enough_for_one_message_to_all_recipients_that_are_allowed():
    assert load_settings(environ={"SLUICE_SMTP_MAX_RECIPIENTS": "10000"}).smtp.max_commands == 25_000
    few = {"SLUICE_SMTP_MAX_RECIPIENTS": "10000", "SLUICE_SMTP_MAX_COMMANDS": "10099"}
    assert mistakes(**few) == [
        "[smtp] max_commands = 10099 is too few for one message to max_recipients = 10000; allowed: 10100 and more"
    ]
    assert load_settings(environ={**few, "SLUICE_SMTP_MAX_COMMANDS": "10100"}).smtp.max_commands == 10_100


def test_an_empty_variable_of_a_text_overrides_the_file(tmp_path: Path):
    path = written(tmp_path, "[relay]\nregion = 'eu-west-1'\n[redis]\nurl = 'redis://h'\n")
    settings = load_settings(path, {"SLUICE_RELAY_REGION": "", "SLUICE_REDIS_URL": ""})
    assert (settings.relay.region, settings.redis.url) == ("", "")


@pytest.mark.parametrize("content", [b"[smtp\n", b"\xff\xfe", b"[smtp]\nport = \n"])
def test_a_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(WrongSettings, match="not valid TOML"):
        load_settings(path, {})


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(WrongSettings, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.toml", {})


def test_the_files_own_variable_and_the_failpoints_are_no_settings():
    assert load_settings(environ={"SLUICE_CONFIG": "", "SLUICE_FAILPOINTS": "x=kill"}) == Settings()


def test_settings_do_not_change_after_the_start():
    with pytest.raises(ValueError, match="frozen"):
        Settings().smtp.port = 1  # type: ignore[misc]


def test_every_section_forbids_what_it_does_not_know():
    assert all(model.model_config["extra"] == "forbid" for model in sections().values())
    assert all(issubclass(model, Section) for model in sections().values())


def test_the_socket_of_the_embedded_server_fits_into_the_kernels_limit(tmp_path: Path):
    short = load_settings(environ={"SLUICE_DATA_DIR": "/tmp/d"})
    assert short.embedded_socket == Path("/tmp/d/redis.sock")
    deep = [load_settings(environ={"SLUICE_DATA_DIR": f"/{'x' * 120}/{one}"}).embedded_socket for one in "ab"]
    assert all(len(str(path)) < 100 for path in deep)
    assert deep[0] != deep[1]


def test_the_broker_is_the_spools_server_unless_it_is_named():
    settings = load_settings(environ={"SLUICE_REDIS_URL": "redis://a"})
    assert (settings.redis_url, settings.broker_url) == ("redis://a", "redis://a")
    assert load_settings(environ={"SLUICE_BROKER_URL": "redis://b"}).broker_url == "redis://b"
