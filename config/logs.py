"""Structured logs to stderr: console form on a terminal, one JSON object a line otherwise.

Line breaks and control characters from outside are escaped, so that a sender cannot forge a log line. Addresses
and contents are logged at debug only, by those who call.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

from config.settings import LogSettings

_CONTROL = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160), 0x2028, 0x2029]}


def get_log() -> FilteringBoundLogger:
    """The logger; events are named in config/log_events.py."""
    log: FilteringBoundLogger = structlog.get_logger()
    return log


def set_up_logging(settings: LogSettings, process: str) -> None:
    """Once at the start of every process; `process` is bound to every line."""
    is_console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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
    structlog.contextvars.bind_contextvars(process=process)
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
    return orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _escape_control(_: Any, __: str, values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in values.items():
        if isinstance(value, str) and name != "exception":
            values[name] = value.translate(_CONTROL)
    return values
