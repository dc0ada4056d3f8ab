"""`mailsluice settings`: every setting with its value, its variable and its sentence; secrets as *** only."""

import re
from collections.abc import Iterator, Mapping

from config.settings import Section, Settings
from config.settings_source import ROUTES, SECRETS, sections, variable_of
from mailsluice.preflight import without_secrets

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def settings_text(settings: Settings) -> str:
    """All sections, then the routes with what they take over from [relay]; * marks what is not the default."""
    lines = [line for name in sections() for line in _section_lines(name, getattr(settings, name))]
    for name, route in settings.routes_by_name.items():
        lines += _section_lines(f"{ROUTES}.{name}", route, is_in_file_only=True)
    return "\n".join(lines) + "\n"


def _section_lines(name: str, section: Section, *, is_in_file_only: bool = False) -> Iterator[str]:
    yield f"[{name}]  {type(section).__doc__ or ''}".rstrip()
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        mark = " " if value == field.get_default(call_default_factory=True) else "*"
        yield f"{mark} {key} = {shown('***' if key in SECRETS and value else value)}"
        yield f"      {field.description}  ({'in the file only' if is_in_file_only else variable_of(name, key)})"


def shown(value: object) -> str:
    """As TOML would have it, without passwords."""
    match value:
        case None:
            return '""'
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:_}" if isinstance(value, int) and value >= 10_000 else f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(shown(one) for one in value)}]"
        case Mapping():
            pairs = [f"{key if _BARE_KEY.fullmatch(key) else shown(key)} = {shown(one)}" for key, one in value.items()]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case _:
            return f'"{without_secrets(str(value))}"'
