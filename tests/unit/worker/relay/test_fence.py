import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import TryLater
from config.settings import RelaySettings, Settings
from worker.relay.fence import capture, capture_folder, is_allowed, redirected

MESSAGE_ID = "0000000000000001-00000000-0000-4000-8000-000000000000-000000"
OFF = RelaySettings()
FENCED = RelaySettings.model_validate(
    {"fence": "capture", "fence_allowed": ["Me@Example.com", "team.example", "*.Test.example"]}
)
REDIRECTED = RelaySettings.model_validate({"fence": "redirect", "fence_redirect_to": "Tester@example.com"})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("address", "passes"),
    [
        ("me@example.com", True),
        ("ME@EXAMPLE.COM", True),
        ("you@example.com", False),
        ("me@example.com.evil.example", False),
        ("xme@example.com", False),
        ("anybody@team.example", True),
        ("anybody@a.team.example", False),
        ("anybody@ateam.example", False),
        ("anybody@a.test.example", True),
        ("anybody@b.a.TEST.example", True),
        ("anybody@test.example", False),
        ("anybody@atest.example", False),
        ('"me@example.com"@elsewhere.example', False),
        ('"x@elsewhere.example"@team.example', True),
        ("success@simulator.amazonses.com", True),
        ("bounce+label@Simulator.AmazonSES.com", True),
        ("success@x.simulator.amazonses.com", False),
        ("success@simulator.amazonses.com.example", False),
        ("*.test.example", False),
        ("", False),
        ("team.example", False),
    ],
)
def test_who_passes_the_fence(address: str, passes: bool):  # noqa: FBT001 - a column of the table
    assert is_allowed(address, FENCED) is passes
    assert is_allowed(address, OFF)


def test_a_fence_without_patterns_lets_nobody_out_but_to_the_simulator():
    closed = RelaySettings(fence="capture")
    assert not is_allowed("a@example.com", closed)
    assert is_allowed("ooto@simulator.amazonses.com", closed)


def test_the_address_of_the_redirection_passes():
    assert is_allowed("tester@EXAMPLE.com", REDIRECTED)
    assert not is_allowed("other@example.com", REDIRECTED)


def test_a_redirected_message_names_its_recipients_on_top():
    content = b"Subject: x\r\n\r\nbody"
    assert redirected(content, ["a@x", "b@y"]) == b"X-Original-To: a@x\r\nX-Original-To: b@y\r\n" + content
    assert redirected(b"Subject: x\n\nbody", ["a@x"]) == b"X-Original-To: a@x\nSubject: x\n\nbody"
    assert redirected(b"", ["a@x"]) == b"X-Original-To: a@x\r\n"
    assert redirected(content, []) == content


@given(st.lists(st.text(max_size=30), max_size=5), st.binary(max_size=50))
def test_an_address_can_add_no_other_line(originals: list[str], content: bytes):
    result = redirected(content, originals)
    assert result.endswith(content)
    added = result[: len(result) - len(content)]
    assert len(re.findall(rb"X-Original-To: [\x20-\x7e]*\r?\n", added)) == len(originals)
    assert added.count(b"\n") == len(originals)


async def test_a_captured_message_is_one_file_for_its_owner_only(tmp_path: Path):
    folder = capture_folder(Settings.model_validate({"data": {"dir": tmp_path / "var"}}))
    path = await capture(folder, MESSAGE_ID, b"Subject: x\r\n\r\nbody", ["a@x", "b@y"])
    assert path == tmp_path / "var/captured" / f"{MESSAGE_ID}.eml"
    assert path.read_bytes() == b"X-Original-To: a@x\r\nX-Original-To: b@y\r\nSubject: x\r\n\r\nbody"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert names(folder) == [path.name]


async def test_a_second_capture_adds_its_recipients_and_a_repeat_none(tmp_path: Path):
    await capture(tmp_path, MESSAGE_ID, b"X: 1\r\n\r\nX-Original-To: body\r\n", ["a@x", "b@y"])
    for _ in range(2):
        path = await capture(tmp_path, MESSAGE_ID, b"X: 1\r\n\r\nX-Original-To: body\r\n", ["b@y", "c@z"])
    head, _, rest = path.read_bytes().partition(b"X: 1")
    assert head == b"X-Original-To: a@x\r\nX-Original-To: b@y\r\nX-Original-To: c@z\r\n"
    assert rest == b"\r\n\r\nX-Original-To: body\r\n"
    assert names(tmp_path) == [path.name]


async def test_a_folder_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "captured").write_text("a file where the folder should be")
    with pytest.raises(TryLater) as caught:
        await capture(tmp_path / "captured", MESSAGE_ID, b"x", ["a@x"])
    assert caught.value.reason == "captured mail cannot be written: File exists"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
async def test_a_full_disk_is_a_reason_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    really_open = os.open

    def open_on_full_disk(path: Path, flags: int, mode: int = 0o777) -> int:
        os.close(really_open(path, flags, mode))
        return really_open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", open_on_full_disk)
    with pytest.raises(TryLater) as caught:
        await capture(tmp_path, MESSAGE_ID, b"x" * 100_000, ["a@x"])
    assert caught.value.reason == "captured mail cannot be written: No space left on device"
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "x" * 200, "."])
async def test_only_a_message_id_becomes_a_file_name(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="not a message id"):
        await capture(tmp_path, name, b"x", ["a@x"])
    assert names(tmp_path) == []
