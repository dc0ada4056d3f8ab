import logging
from collections.abc import Callable, Iterator

import orjson
import pytest
import structlog

from config.logs import get_log, set_up_logging
from config.settings import LogSettings


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str], no_garbage_of_others: None) -> Iterator[Callable[[], str]]:
    """What was written to stderr since the last look; the logging of the process is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def broken(text: str) -> None:
    raise ValueError(text)


def test_a_line_is_one_json_object_with_event_level_time_and_process(written: Callable[[], str]):
    set_up_logging(LogSettings(format="json"), "gateway")
    get_log().info("message.accepted", message_id="0000-a", recipients=2)
    [line] = written().splitlines()
    values = orjson.loads(line)
    assert values.pop("timestamp").endswith("Z")
    assert values == {
        "event": "message.accepted",
        "level": "info",
        "process": "gateway",
        "message_id": "0000-a",
        "recipients": 2,
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_text_from_outside_makes_no_second_line_and_no_escape_sequence(written: Callable[[], str], form: str):
    set_up_logging(LogSettings(format=form), "gateway")
    forged = "x\r\n2026-01-01 [info] message.accepted\x1b[2J\x85\u2028\x00"
    get_log().info("message.refused", reason=forged)
    text = written()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert not {"\r", "\x1b", "\x85", "\u2028", "\x00"} & set(text.rstrip("\n"))


@pytest.mark.parametrize("value", [["a\nb"], {"a\nb": "c\nd"}, ("a\x1b[0m",), b"a\nb", ValueError("a\nb")])
def test_text_inside_lists_and_errors_is_escaped_too(written: Callable[[], str], value: object):
    set_up_logging(LogSettings(format="console"), "gateway")
    get_log().info("message.refused", reason=value)
    text = written()
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_an_exception_keeps_its_lines_on_the_console_and_is_one_line_of_json(written: Callable[[], str]):
    for form, lines in (("json", 1), ("console", 4)):
        set_up_logging(LogSettings(format=form), "gateway")
        try:
            broken("broken\x1b[2J")
        except ValueError:
            get_log().exception("gateway.session_failed")
        text = written()
        assert len(text.splitlines()) >= lines
        assert "ValueError: broken" in text
        assert "\x1b" not in text


def test_lines_below_the_level_are_not_written(written: Callable[[], str]):
    set_up_logging(LogSettings(format="json", level="warning"), "gateway")
    get_log().info("message.accepted")
    get_log().warning("message.refused")
    assert [orjson.loads(line)["event"] for line in written().splitlines()] == ["message.refused"]


def test_libraries_are_heard_from_warnings_on_in_the_same_form(written: Callable[[], str]):
    set_up_logging(LogSettings(format="json", level="debug"), "worker")
    logging.getLogger("celery.worker").info("not of interest")
    logging.getLogger("celery.worker").warning("lost %s", "a\nb")
    [line] = written().splitlines()
    values = orjson.loads(line)
    assert (values["event"], values["level"], values["process"]) == ("lost a\nb", "warning", "worker")


def test_an_error_of_a_library_brings_its_traceback(written: Callable[[], str]):
    set_up_logging(LogSettings(format="json"), "worker")
    try:
        broken("broken")
    except ValueError:
        logging.getLogger("aiohttp").exception("went wrong")
    [line] = written().splitlines()
    assert "ValueError: broken" in orjson.loads(line)["exception"]


def test_values_that_json_does_not_know_do_no_harm(written: Callable[[], str]):
    set_up_logging(LogSettings(format="json"), "gateway")
    get_log().info("message.refused", reason="\udc80", path=object(), number=2**70, raw=b"\xff", keys={1: 2})
    assert len(written().splitlines()) == 1
