"""What `mailsluice up` says when it cannot start: exit code 2, no traceback, everything at once, what to do."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import DOORS, RunningUp, free_ports

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


@contextmanager
def refused(*arguments: str, exit_code: int = 2, **options: object) -> Iterator[str]:
    """A start that must fail; gives what it said."""
    up = RunningUp(*arguments, **options)  # type: ignore[arg-type]
    try:
        up.start(until_ready=False)
        assert up.wait_until_ended() == exit_code, up.stderr
        assert up.stdout == ""
        assert "Traceback" not in up.stderr
        yield up.stderr
    finally:
        up.close()


def test_every_port_in_use_is_named_at_once_with_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = dict(zip(DOORS, free_ports(len(DOORS)), strict=True))
        ports |= {"smtp": one.getsockname()[1], "api": other.getsockname()[1]}
        with refused(ports=ports) as said:
            lines = said.splitlines()
            assert len(lines) == 2
            assert lines[0].startswith(f"port {ports['smtp']} of [smtp] is in use; choose another: SLUICE_SMTP_PORT=")
            assert lines[1].startswith(f"port {ports['api']} of [api] is in use; choose another: SLUICE_API_PORT=")


def test_one_port_for_two_doors_is_a_mistake() -> None:
    ports = dict(zip(DOORS, free_ports(len(DOORS)), strict=True))
    with refused(ports={**ports, "api": ports["smtp"]}) as said:
        assert f"port {ports['smtp']} of [api] is the port of [smtp] too; choose another: SLUICE_API_PORT=" in said


def test_an_address_that_is_not_ours_is_told() -> None:
    with refused(smtp_host="192.0.2.1") as said:
        assert "192.0.2.1 of [smtp] cannot be listened on" in said
        assert "SLUICE_SMTP_HOST" in said


def test_all_wrong_settings_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "mailsluice.toml"
    file.write_text("[smtp]\nmax_recipients = 0\n[relay]\nregoin = 'x'\n")
    with refused("--config", str(file), worker_threads="many", smtp_prot=3) as said:
        for part in ("max_recipients", "regoin", "did you mean region", "SLUICE_WORKER_THREADS", "SLUICE_SMTP_PROT"):
            assert part in said


def test_a_folder_that_cannot_be_made_is_told() -> None:
    with refused(data_dir=Path("/proc/nowhere")) as said:
        assert "The data dir /proc/nowhere cannot be used" in said
        assert "--data-dir" in said


def test_a_second_one_on_the_same_folder_is_told_who_has_it() -> None:
    with RunningUp() as up:
        assert up.process is not None
        with refused(data_dir=up.data_dir) as said:
            assert f"The data dir {up.data_dir} is in use by mailsluice up, process {up.process.pid}" in said
        with refused(data_dir=up.data_dir, ports=up.ports) as said:
            assert len(said.splitlines()) == 1 + len(DOORS)
        up.wait_until(lambda: up.fetch("api", "/healthz")[0] == 200, "the first one works on")


def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(tmp_path: Path) -> None:
    tls = {"smtp_tls_certificate_file": tmp_path / "none.pem", "smtp_tls_key_file": tmp_path / "none.key"}
    with refused(**tls) as said:
        assert [line.partition(":")[0] for line in said.splitlines()] == [
            f"[smtp] tls_certificate_file {tmp_path}/none.pem",
            f"[smtp] tls_key_file {tmp_path}/none.key",
        ]


def test_a_child_that_dies_at_its_start_stops_everything_and_is_named_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonlydir").write_text("no folder")
    with refused(exit_code=1, data_dir=tmp_path) as said:
        assert "redis did not start: exit code 1. Its last lines:\n  | " in said
        assert "appendonlydir" in said
