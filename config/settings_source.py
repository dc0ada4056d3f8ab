"""Reads `mailsluice.toml` and the environment into Settings; every mistake is reported at once.

Order, the later wins: defaults, the file (`--config`, `SLUICE_CONFIG`, else ./mailsluice.toml when it is there),
`SLUICE_SECTION_KEY` variables. A mistake says where it stands, what is wrong and what is allowed. Unknown keys
and unknown SLUICE_ variables are mistakes: a misspelt limit must not be a silent default.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.errors import Refused
from config.settings import Section, Settings

DEFAULT_FILE = Path("mailsluice.toml")
# Not settings: where the file is, and the test hook of config/failpoints.py.
OTHER_VARIABLES = frozenset({"SLUICE_CONFIG", "SLUICE_FAILPOINTS"})


class WrongSettings(Refused):
    """One or more settings cannot be used; the reason lists each on its own line."""


def sections() -> dict[str, type[Section]]:
    """Section name → its model."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def load_settings(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads and checks everything. Raises WrongSettings with all mistakes."""
    path = file or (Path(environ["SLUICE_CONFIG"]) if environ.get("SLUICE_CONFIG") else None)
    values = _read_file(path)
    origins = {(section, key): f"{path or DEFAULT_FILE}: [{section}] {key}" for section, key in _keys(values)}
    mistakes: list[str] = []
    for name, value in sorted(environ.items()):
        if not name.startswith("SLUICE_") or name in OTHER_VARIABLES:
            continue
        place = _place_of(name)
        if place is None:
            mistakes.append(f"{name}: no such setting{_closest(name, _all_variables())}")
            continue
        section, key = place
        values.setdefault(section, {})[key] = value
        origins[place] = name
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        mistakes += [_mistake(dict(one), origins, path) for one in error.errors()]
    if mistakes:
        raise WrongSettings("Settings that cannot be used:\n  " + "\n  ".join(mistakes))
    return settings


def variable_of(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"SLUICE_{section}_{key}".upper()


def _all_variables() -> list[str]:
    return [variable_of(name, key) for name, model in sections().items() for key in model.model_fields]


def _place_of(variable: str) -> tuple[str, str] | None:
    for name, model in sections().items():
        for key in model.model_fields:
            if variable_of(name, key) == variable:
                return name, key
    return None


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None and not DEFAULT_FILE.exists():
        return {}
    source = path or DEFAULT_FILE
    try:
        return tomllib.loads(source.read_text("utf-8"))
    except OSError as error:
        raise WrongSettings(f"{source}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings(f"{source}: not valid TOML: {error}") from error


def _keys(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(section, key) for section, body in values.items() if isinstance(body, dict) for key in body]


def _mistake(error: dict[str, Any], origins: dict[tuple[str, str], str], path: Path | None) -> str:
    loc = tuple(str(part) for part in error["loc"])
    where = origins.get((loc[0], loc[1])) if len(loc) > 1 else None
    where = where or f"{path or DEFAULT_FILE}: [{loc[0]}]" if loc else ""
    if error["type"] == "extra_forbidden":
        known = sections()
        names = list(known[loc[0]].model_fields) if len(loc) > 1 and loc[0] in known else list(known)
        return f"{where}: no such {'setting' if len(loc) > 1 else 'section'}{_closest(loc[-1], names)}"
    text = error["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(error["input"], dict | Section) else f", not {error['input']!r}"
    return f"{where}: {text}{shown}" if where else text


def _closest(name: str, names: list[str]) -> str:
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]}?" if found else f"; allowed: {', '.join(names)}" if len(names) < 30 else ""
