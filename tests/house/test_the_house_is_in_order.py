"""Rules that no linter knows: lists in the code, the docs and the compose file say the same."""

import ast
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml
from pydantic.fields import FieldInfo

from config.failpoints import FAILPOINTS
from config.log_events import LOG_EVENTS
from config.queues import ALL_QUEUES
from config.settings import RouteSettings
from config.settings_source import sections, variable_of
from mailsluice.command import app
from worker.relay.refusals import CODES, TEXTS, Kind

HOUSE = Path(__file__).resolve().parents[2]
PACKAGES = ("config", "spool", "sending_events", "smtp_gateway", "aws_api", "worker", "mailsluice")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((HOUSE / package).rglob("*.py"))]


def logged_events() -> dict[str, list[str]]:
    """Event name → files in which something.log.<level>("name" …) or _log.<level>("name" …) is called."""
    found: dict[str, list[str]] = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            owner = ast.unparse(node.func.value)
            if "log" not in owner.rpartition(".")[2]:
                continue
            assert node.args, f"{path}: a log call without a name"
            assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: the event name must be a literal"
            found.setdefault(str(node.args[0].value), []).append(str(path.relative_to(HOUSE)))
    return found


def test_every_logged_event_is_in_the_closed_list():
    assert {name: files for name, files in logged_events().items() if name not in LOG_EVENTS} == {}


def test_every_event_of_the_closed_list_is_logged_somewhere():
    assert sorted(set(LOG_EVENTS) - set(logged_events())) == []


def test_every_log_event_has_its_row_in_the_operations_page():
    page = (HOUSE / "docs/operations.md").read_text("utf-8")
    assert [name for name in LOG_EVENTS if f"`{name}`" not in page] == []


def test_every_command_has_its_row_in_the_readme():
    _, _, after = (HOUSE / "README.md").read_text("utf-8").partition("\n## Commands\n")
    told = set(
        re.findall(r"[a-z]+", " ".join(re.findall(r"^\| (`.*?) \| ", after.partition("\n## ")[0], re.MULTILINE)))
    )
    commands = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    groups = {
        (group.name, one.name) for group in app.registered_groups for one in group.typer_instance.registered_commands
    }
    aliases = {"drop"}
    assert sorted(commands - told - aliases) == []
    assert sorted(str(name) for pair in groups for name in pair if name not in told) == []


def test_every_setting_has_its_row_in_the_operations_page():
    page = (HOUSE / "docs/operations.md").read_text("utf-8")
    variables = [variable_of(name, key) for name, model in sections().items() for key in model.model_fields]
    assert [variable for variable in variables if f"`{variable}`" not in page] == []


def expected_row(section: str, key: str, field: FieldInfo) -> str:
    """A row of the settings tables, as the settings themselves have it."""
    default = "the host's name" if field.default_factory else worded(field.default)
    limits = " \\| ".join(get_args(field.annotation)) if get_origin(field.annotation) is Literal else ""
    for limit in field.metadata:
        for name, sign in (("ge", "≥"), ("le", "≤"), ("gt", ">")):
            if (number := getattr(limit, name, None)) is not None:
                limits += f"{', ' if limits else ''}{sign} {number:,}"
    return f"| `{variable_of(section, key)}` | {default} | {limits} | {field.description} |"


def worded(value: object) -> str:
    match value:
        case None | "":
            return "empty"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if abs(value) < 10_000 else f"{value:,}"
        case tuple():
            return ", ".join(map(str, value)) or "empty"
        case dict():
            return ", ".join(f"{name}={one}" for name, one in value.items()) or "empty"
        case _:
            return str(value)


def test_the_settings_tables_say_what_the_settings_say():
    page = (HOUSE / "docs/operations.md").read_text("utf-8")
    rows = [
        expected_row(name, key, field)
        for name, model in sections().items()
        for key, field in model.model_fields.items()
    ]
    assert [row for row in rows if f"\n{row}\n" not in page] == []


def test_the_table_of_a_route_says_what_its_settings_say():
    page = (HOUSE / "docs/operations.md").read_text("utf-8")
    rows = [
        f"| `{key}` |{expected_row('routes', key, field).partition('` |')[2]}"
        for key, field in RouteSettings.model_fields.items()
    ]
    assert [row for row in rows if f"\n{row}\n" not in page] == []


def test_every_file_named_in_how_it_works_exists():
    page = (HOUSE / "docs/how-it-works.md").read_text("utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|lua|html|md|toml))`", page))
    assert named, "the page tells the program file by file"
    assert sorted(name for name in named if not (HOUSE / name).exists()) == []


def test_every_module_of_the_house_is_named_in_how_it_works():
    page = (HOUSE / "docs/how-it-works.md").read_text("utf-8")
    modules = [str(path.relative_to(HOUSE)) for path in sources() if path.name not in {"__init__.py", "__main__.py"}]
    assert [name for name in modules if f"`{name}`" not in page] == []


def test_no_two_files_of_tests_have_the_same_name():
    """They are modules of no package: pytest would refuse the second."""
    names = [path.name for path in (HOUSE / "tests").rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_every_script_is_named_in_how_it_works():
    page = (HOUSE / "docs/how-it-works.md").read_text("utf-8")
    scripts = [str(path.relative_to(HOUSE)) for path in sorted(HOUSE.glob("*/lua/*.lua"))]
    assert len(scripts) > 10
    assert [name for name in scripts if f"`{name}`" not in page] == []


def test_every_failpoint_is_reached_somewhere_and_no_other():
    reached = {name for path in sources() for name in re.findall(r'reached\(\s*"([a-z_.]+)"', path.read_text("utf-8"))}
    assert reached == set(FAILPOINTS)


def test_every_celery_queue_has_a_consumer_in_the_compose_file():
    services = yaml.safe_load((HOUSE / "docker-compose.yml").read_text("utf-8"))["services"]
    option = next(one for one in services["worker"]["command"] if one.startswith("--queues="))
    assert set(option.removeprefix("--queues=").split(",")) == set(ALL_QUEUES)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_have_hashes_and_no_addresses(name):
    text = (HOUSE / name).read_text("utf-8")
    assert "--hash=sha256:" in text
    assert "://" not in text
    pinned = re.findall(r"^[a-z0-9][^\s]*==[^\s]+", text, re.MULTILINE)
    assert len(pinned) > 20
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_no_key_of_the_spool_is_the_list_of_a_celery_queue():
    from spool import keys

    names = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}
    assert names.isdisjoint({keys.KEY_PREFIX + queue for queue in ALL_QUEUES})


def kinds_in_the_compatibility_page(mark: str) -> dict[str, str]:
    """Code (mark `) or beginning of a text (mark ") → what it is about, by the tables of outcomes."""
    page = (HOUSE / "docs/aws-compatibility.md").read_text("utf-8").partition("## Outcomes")[2]
    kinds = "|".join(get_args(Kind))
    found: dict[str, str] = {}
    for left, kind in re.findall(rf"(?m)^\| ([`\"].*?) \| ({kinds}) \|", page):
        told = re.findall(rf"{mark}([^{mark}]+){mark}", left)
        assert not set(told) & set(found), "a row of its own for each"
        found |= dict.fromkeys(told, kind)
    return found


def test_the_compatibility_page_tells_every_code_of_ses_and_what_it_means():
    assert kinds_in_the_compatibility_page("`") == {code: meaning.kind for code, meaning in CODES.items()}


def test_the_compatibility_page_tells_every_text_of_ses_and_what_it_means():
    assert kinds_in_the_compatibility_page('"') == {text: meaning.kind for text, meaning in TEXTS.items()}
