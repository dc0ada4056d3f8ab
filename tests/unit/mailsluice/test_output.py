import json

import pytest
from structlog.testing import capture_logs

from mailsluice.output import LineJoiner, as_json, with_names


class Written:
    def __init__(self) -> None:
        self.text = b""

    def __call__(self, text: bytes) -> None:
        self.text += text


def test_on_a_terminal_every_line_has_its_childs_name_in_front() -> None:
    written = Written()
    with_names(written, 9)("api", b"one\n\ntwo\n")
    assert written.text == b"api       | one\napi       | two\n"


def test_on_a_terminal_control_characters_are_shown_and_not_obeyed() -> None:
    written = Written()
    with_names(written, 3)("api", b"\x1b[2J\x00gone\n")
    assert written.text == b"api | \\x1b[2J\\x00gone\n"


def test_json_lines_pass_unchanged() -> None:
    written, lines = Written(), b'{"event":"a"}\n{"event":"b"}\n'
    with capture_logs() as events:
        as_json(written)("api", lines)
    assert written.text == lines
    assert events == []


def test_other_lines_become_one_event_each_run_of_them() -> None:
    written = Written()
    lines = b'{"event":"a"}\nTraceback:\n  File x\n{"event":"b"}\nlast\n'
    with capture_logs() as events:
        as_json(written)("flower", lines)
    assert [json.loads(line)["event"] for line in written.text.splitlines()] == ["a", "b"]
    assert [(one["event"], one["child"], one["text"]) for one in events] == [
        ("up.output", "flower", "Traceback:\n  File x"),
        ("up.output", "flower", "last"),
    ]


@pytest.mark.parametrize("cuts", [[b"one\ntw", b"o\n"], [b"o", b"ne\n", b"two\n"], [b"one\ntwo\n"]])
def test_lines_are_whole_wherever_the_stream_was_cut(cuts: list[bytes]) -> None:
    joiner = LineJoiner()
    pieces = [joiner.add(cut) for cut in cuts]
    assert b"".join(pieces) == b"one\ntwo\n"
    assert all(piece == b"" or piece.endswith(b"\n") for piece in pieces)
    assert joiner.end() == b""


def test_the_last_line_needs_no_end() -> None:
    joiner = LineJoiner()
    assert joiner.add(b"half") == b""
    assert joiner.end() == b"half\n"


def test_a_line_without_end_does_not_grow_for_ever() -> None:
    joiner = LineJoiner(longest_bytes=10)
    assert joiner.add(b"x" * 11) == b"x" * 11 + b"\n"
    assert joiner.end() == b""
