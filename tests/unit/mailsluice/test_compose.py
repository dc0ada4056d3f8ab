"""docker-compose.yml and Dockerfile say what the program says: commands, queues, ports, settings, folders."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.queues import ALL_QUEUES
from config.settings import Settings
from config.settings_source import sections, variable_of
from mailsluice.embedded_redis import DIRECTIVES
from tests.unit.mailsluice.test_command import COMMANDS

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "mailsluice"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
VARIABLES = {variable_of(name, key) for name, section in sections().items() for key in section.model_fields}


def with_defaults(text: str) -> str:
    """As compose reads it when .env says nothing."""
    return re.sub(r"\$\{\w+-([^}]*)\}", r"\1", text)


def test_every_process_of_up_has_a_service() -> None:
    assert set(SERVICES) == {"redis", "gateway", "api", "worker", "feedback", "flower", "simulator"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_works_outside_a_container(name: str) -> None:
    program, *arguments = OURS[name]["command"]
    assert shutil.which(program, path=Path(sys.executable).parent)
    if program == "mailsluice":
        assert arguments[0] in COMMANDS
        return
    # Celery itself reads the options of the worker: an unknown one is exit code 2, --help after good ones 0.
    asked = subprocess.run(
        (sys.executable, "-m", program, *arguments, "--help"), cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert asked.returncode == 0, asked.stderr


def test_every_celery_queue_has_a_consumer() -> None:
    options = [word for word in SERVICES["worker"]["command"] if word.startswith("--queues=")]
    assert options == [f"--queues={','.join(ALL_QUEUES)}"]


def test_the_reader_of_events_is_there_exactly_where_the_workers_count_on_it() -> None:
    name = "SLUICE_FEEDBACK_QUEUE_URL"
    places = {SERVICES[one]["environment"][name] for one in ("worker", "api", "feedback")}
    assert places == {"${SLUICE_FEEDBACK_QUEUE_URL-http://simulator:2581/sqs/123456789012/ses-events}"}
    assert SERVICES["feedback"]["scale"] == "${FEEDBACK_PROCESSES-1}"


def test_the_heading_names_every_endpoint_that_has_to_be_emptied_for_the_real_ses() -> None:
    heading = (ROOT / "docker-compose.yml").read_text().partition("x-service")[0]
    endpoints = {name for name in COMPOSE["x-aws"] if name.startswith("AWS_ENDPOINT_URL")}
    assert endpoints == set(re.findall(r"^#   (AWS_ENDPOINT_URL_\w+)=$", heading, re.MULTILINE))


def test_workers_can_be_scaled() -> None:
    assert not {"ports", "container_name", "hostname"} & SERVICES["worker"].keys()
    assert "%h" in " ".join(SERVICES["worker"]["command"])


def test_ports_are_the_defaults_and_published_on_loopback_only() -> None:
    settings = Settings()
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        name: [f"127.0.0.1:{port}:{port}"]
        for name, port in (
            ("gateway", settings.smtp.port),
            ("api", settings.api.port),
            ("flower", settings.flower.port),
            ("simulator", settings.simulator.port),
        )
    }


def test_every_variable_is_a_setting() -> None:
    used = {name for service in OURS.values() for name in service["environment"] if name.startswith("SLUICE_")}
    used |= set(re.findall(r"\bSLUICE_[A-Z0-9_]+", DOCKERFILE))
    assert used <= VARIABLES, used - VARIABLES


def test_the_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from config.settings_source import load_settings

    environ = {name: value for service in OURS.values() for name, value in service["environment"].items()}
    in_image = dict(re.findall(r"\b(SLUICE_[A-Z0-9_]+)=(\S+)", DOCKERFILE))
    monkeypatch.chdir(os.devnull.rpartition("/")[0])
    settings = load_settings(
        environ={**in_image, **{name: with_defaults(str(value)) for name, value in environ.items()}}
    )
    assert settings.unknown_policy == "confirm"
    assert settings.redis.url == "redis://redis:6379/0"
    assert str(settings.data.dir) == "/var/lib/mailsluice"


def test_the_redis_of_compose_is_as_safe_as_the_embedded_one() -> None:
    words = shlex.split(SERVICES["redis"]["command"])
    options = dict(zip(words[1::2], words[2::2], strict=True))
    for name in ("appendonly", "appendfsync", "maxmemory-policy"):
        assert options[f"--{name}"] == DIRECTIVES[name]
    assert options["--save"] == ""
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]


def test_gateway_and_worker_share_the_content_store() -> None:
    folder = "data:/var/lib/mailsluice"
    assert SERVICES["gateway"]["volumes"] == SERVICES["api"]["volumes"] == [folder]
    assert folder in SERVICES["worker"]["volumes"]


def test_workers_find_rules_where_the_folder_of_rules_is_mounted() -> None:
    assert "./rules:/etc/mailsluice/rules:ro" in SERVICES["worker"]["volumes"]
    assert SERVICES["worker"]["environment"]["SLUICE_RULES_FILE"] == "${SLUICE_RULES_FILE-}"
    assert "SLUICE_RULES_FILE=/etc/mailsluice/rules/rules.toml" in (ROOT / "docker-compose.yml").read_text()


def test_functions_in_workers_find_the_api_of_the_other_container() -> None:
    url = with_defaults(SERVICES["worker"]["environment"]["SLUICE_FUNCTIONS_MESSAGE_FLOW_URL"])
    assert url == f"http://api:{Settings().api.port}"


def test_the_image_has_node_when_it_is_asked_for() -> None:
    assert OURS["worker"]["build"]["args"] == {"NODE": "${NODE-}"}
    assert 'ARG NODE=""' in DOCKERFILE


def test_the_image_runs_as_an_ordinary_user_with_a_pinned_lock() -> None:
    lines = DOCKERFILE.splitlines()
    assert lines.index("USER mailsluice") > max(n for n, line in enumerate(lines) if line.startswith("RUN"))
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    assert "HEALTHCHECK" in DOCKERFILE


def test_the_image_has_every_package() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"tests", "bench"}}
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    kept = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert packages == copied
    assert packages <= kept
