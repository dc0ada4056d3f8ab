"""Reads `mailsluice.toml` and the environment into Settings; every mistake is reported at once.

Order, the later wins: defaults, the file (`--config`, `SLUICE_CONFIG`, else ./mailsluice.toml when it is there),
`SLUICE_SECTION_KEY` variables. An empty variable is not set, unless the setting is a text.
A mistake says where it stands, what is wrong and what is allowed; a URL is shown without its password. Unknown keys
and unknown SLUICE_ variables are mistakes: a misspelt limit must not be a silent default.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.errors import Refused
from config.settings import RouteSettings, Section, Settings

DEFAULT_FILE = Path("mailsluice.toml")
# Not settings: where the file is, and the test hook of config/failpoints.py.
OTHER_VARIABLES = frozenset({"SLUICE_CONFIG", "SLUICE_FAILPOINTS"})
# Tables of a table, in the file only: a variable could not tell the name of a route from that of a setting.
ROUTES = "routes"
# Their values are never repeated, neither in a message nor in a list.
SECRETS = frozenset({"admin_token", "secret_access_key"})
_LONGEST_SHOWN = 100


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
    mistakes = _add_variables(environ, values, origins)
    settings, errors = _validated(values)
    mistakes += _mistakes(errors, origins, path)
    if settings is None or mistakes:
        raise WrongSettings("Settings that cannot be used:\n  " + "\n  ".join(mistakes))
    return settings


def _add_variables(
    environ: Mapping[str, str], values: dict[str, Any], origins: dict[tuple[str, str], str]
) -> list[str]:
    """Puts the environment over the file's values; returns the variables that name no setting."""
    mistakes: list[str] = []
    for name, value in sorted(environ.items()):
        if not name.startswith("SLUICE_") or name in OTHER_VARIABLES:
            continue
        place = _place_of(name)
        if place is None:
            mistakes.append(f"{name}: {_no_such_variable(name)}")
            continue
        section, key = place
        body = values.setdefault(section, {})
        # An empty variable is how Compose and systemd write "not set"; only for a text it can be a value.
        if isinstance(body, dict) and (value or sections()[section].model_fields[key].annotation is str):
            body[key] = value
            origins[place] = name
    return mistakes


def _no_such_variable(name: str) -> str:
    if name.startswith(variable_of(ROUTES, "")):
        return f"routes stand in the file only, as [{ROUTES}.<name>]"
    return f"no such setting{_closest(name, _all_variables())}"


def _validated(values: dict[str, Any]) -> tuple[Settings | None, list[dict[str, Any]]]:
    """The settings, and every mistake.

    Pydantic checks what belongs together only when each value is right by itself, so what is wrong is taken out and
    the rest is checked again.
    """
    errors: list[dict[str, Any]] = []
    removed: set[str] = set()
    while True:
        try:
            return Settings.model_validate(values), errors
        except ValidationError as error:
            found: list[dict[str, Any]] = [
                {**one, "msg": line} for one in error.errors() for line in one["msg"].split("\n")
            ]
        # A check of a pair whose other half was taken out would be a mistake of ours.
        errors += [one for one in found if not any(re.search(rf"\b{re.escape(key)}\b", one["msg"]) for key in removed)]
        places = {_place(tuple(str(part) for part in one["loc"])) for one in found} - {()}
        if not places:
            return None, errors
        for place in places:
            removed.add(place[-1])
            values = _without(values, place)


def _place(loc: tuple[str, ...]) -> tuple[str, ...]:
    """Of a wrong value inside a list or a table: the setting, its section or route before it."""
    return loc[: 3 if loc[:1] == (ROUTES,) else 2]


def _without(values: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    first, *deeper = place
    body = values.get(first)
    if deeper and isinstance(body, dict):
        return {**values, first: _without(body, tuple(deeper))}
    return {name: value for name, value in values.items() if name != first}


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


def _mistakes(errors: list[dict[str, Any]], origins: dict[tuple[str, str], str], path: Path | None) -> list[str]:
    """One line for each wrong value; alternatives of one type (IPv4 or IPv6) share it."""
    lines: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        loc = tuple(str(part) for part in error["loc"])
        if loc:
            lines.setdefault((_where(loc, origins, path), _shown(error, loc)), []).append(_text_of(error, loc))
        else:  # about several settings, and names them itself
            lines.setdefault((_text_of(error, loc), ""), [])
    return [where + ", or ".join(dict.fromkeys(texts)) + shown for (where, shown), texts in lines.items()]


def _where(loc: tuple[str, ...], origins: dict[tuple[str, str], str], path: Path | None) -> str:
    """The place as the operator wrote it: variable, or file, table and key."""
    file = path or DEFAULT_FILE
    if loc[0] == ROUTES and len(loc) > 1:
        return f"{file}: [{ROUTES}.{loc[1]}]{''.join(f' {key}' for key in loc[2:3])}: "
    written = origins.get((loc[0], loc[1])) if len(loc) > 1 else None
    return f"{written or f'{file}: [{loc[0]}]'}: "


def _text_of(error: dict[str, Any], loc: tuple[str, ...]) -> str:
    if error["type"] == "extra_forbidden" and loc[0] == ROUTES:
        return f"no such setting{_closest(loc[-1], list(RouteSettings.model_fields))}"
    if error["type"] == "extra_forbidden":
        known = sections()
        names = list(known[loc[0]].model_fields) if len(loc) > 1 and loc[0] in known else list(known)
        return f"no such {'setting' if len(loc) > 1 else 'section'}{_closest(loc[-1], names)}"
    if error["type"] == "model_type":
        return "must be a section with settings of its own"
    text: str = error["msg"]
    return text.removeprefix("Value error, ")


def _shown(error: dict[str, Any], loc: tuple[str, ...]) -> str:
    """The wrong value, unless it is many or could be a secret."""
    value = error["input"]
    if error["type"] == "extra_forbidden" or isinstance(value, dict | Section) or not SECRETS.isdisjoint(loc):
        return ""
    if loc[-1].endswith("url"):
        value = _masked(str(value))
    text = repr(value)
    return f", not {text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + '…'}"


def _masked(url: str) -> str:
    """A URL without what may be a password: user part and query; no more than … when it is none."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return "…"
    _, has_user, host = rest.partition("?")[0].rpartition("@")
    return f"{scheme}://{'***@' if has_user else ''}{host}{'?***' if '?' in rest else ''}"


def _closest(name: str, names: list[str]) -> str:
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]}?" if found else f"; allowed: {', '.join(names)}" if len(names) < 30 else ""
