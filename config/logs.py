"""Structured logs to stderr: console form on a terminal, one JSON object a line otherwise.

Line breaks and control characters from outside are escaped, so that a sender cannot forge a log line. Addresses
and contents are logged at debug only, by those who call.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

from config.settings import LogSettings

_CONTROL = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160), 0x2028, 0x2029]}
# What JSON allows in a string and a terminal or a line reader takes for a control.
_CONTROL_IN_JSON = {code: f"\\u{code:04x}" for code in [*range(127, 160), 0x2028, 0x2029]}


def get_log() -> FilteringBoundLogger:
    """The logger; events are named in config/log_events.py."""
    log: FilteringBoundLogger = structlog.get_logger()
    return log


def set_up_logging(settings: LogSettings, process: str) -> None:
    """Once at the start of every process; `process` stands in every line, of every thread."""

    def name_process(_: Any, __: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        values.setdefault("process", process)
        return values

    is_console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: list[structlog.typing.Processor]
    if is_console:
        renderer = [_escape_control, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    else:
        renderer = [structlog.processors.JSONRenderer(serializer=_to_json)]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    _route_stdlib(shared, renderer, level)


def _route_stdlib(
    shared: list[structlog.typing.Processor], renderer: list[structlog.typing.Processor], level: int
) -> None:
    """Libraries (Celery, aiohttp) log through the standard library: same form, warnings and worse only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def _to_json(values: Any, **_: Any) -> str:
    try:
        text = orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a surrogate pair, a huge number: the line matters more than its beauty
        text = json.dumps(values, default=str, skipkeys=True)
    return text if text.isascii() else text.translate(_CONTROL_IN_JSON)


def _escape_control(_: Any, __: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in values.items():
        if isinstance(value, str):
            values[name] = _indented(value) if name == "exception" else value.translate(_CONTROL)
    return values


def _indented(traceback: str) -> str:
    """Its lines stay lines, but none begins where a line of ours does: an error's text may come from outside."""
    return "\n".join(" " * 4 + line.translate(_CONTROL) for line in traceback.split("\n"))
