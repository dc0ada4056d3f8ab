"""`mailsluice settings`: every setting with its value, its variable and its sentence."""

from collections.abc import Iterator

from config.settings import Section, Settings
from config.settings_source import sections, variable_of
from mailsluice.preflight import without_secrets


def settings_text(settings: Settings) -> str:
    """All sections; a value that is not the default is marked with *."""
    return "\n".join("\n".join(_section_lines(name, getattr(settings, name))) for name in sections()) + "\n"


def _section_lines(name: str, section: Section) -> Iterator[str]:
    yield f"[{name}]  {type(section).__doc__ or ''}".rstrip()
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        mark = " " if value == field.get_default(call_default_factory=True) else "*"
        yield f"{mark} {key} = {shown(value)}"
        yield f"      {field.description}  ({variable_of(name, key)})"


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
        case _:
            return f'"{without_secrets(str(value))}"'
