import asyncio
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from config.errors import Refused
from config.settings import Settings
from mailsluice import preflight
from mailsluice.preflight import (
    Door,
    certificate_problems,
    complain,
    credentials_problem,
    lock_data_dir,
    port_problems,
    without_secrets,
)
from tests.dialogues.stand import write_certificate
from tests.servers import free_port


def test_a_new_data_dir_is_for_its_owner_only(tmp_path: Path) -> None:
    os.close(lock_data_dir(tmp_path / "deep" / "var", "a test"))
    assert (tmp_path / "deep" / "var").stat().st_mode & 0o777 == 0o700


def test_a_data_dir_has_one_holder_who_is_named(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path, "a test")
    with pytest.raises(Refused, match=f"in use by a test, process {os.getpid()}: stop it"):
        lock_data_dir(tmp_path, "another")
    os.close(lock)
    os.close(lock_data_dir(tmp_path, "another"))
    assert (tmp_path / "lock").read_text().startswith("another, process ")


def test_the_lock_lasts_as_long_as_a_child_that_inherited_it(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path, "a test")
    child = subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE, pass_fds=(lock,))
    os.close(lock)
    try:
        with pytest.raises(Refused, match="in use"):
            lock_data_dir(tmp_path, "another")
    finally:
        child.communicate(b"\n")
    os.close(lock_data_dir(tmp_path, "another"))


def test_a_holder_that_is_gone_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LOCK_WAIT_SECONDS", 60.0)  # a slow machine may end the child later
    gone = subprocess.Popen((sys.executable, "-c", ""))
    gone.wait()
    (tmp_path / "lock").write_text(f"mailsluice up, process {gone.pid}\n")
    release = f"import fcntl, time; f = open({str(tmp_path / 'lock')!r}, 'r+'); fcntl.flock(f, fcntl.LOCK_EX); "
    child = subprocess.Popen(
        (sys.executable, "-c", release + "print('locked', flush=True); time.sleep(0.3)"), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n"
    descriptor = lock_data_dir(tmp_path, "the next")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is really ours
    os.close(descriptor)
    child.communicate()


def test_a_full_disk_takes_the_holders_name_and_not_the_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("/dev/full")
    os.close(lock_data_dir(tmp_path, "a test"))


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("nope.pem", "key.pem", ["[smtp] tls_certificate_file {0}/nope.pem: No such file or directory; correct"]),
        ("cert.pem", "nope.pem", ["[smtp] tls_key_file {0}/nope.pem: No such file or directory; correct"]),
        ("nope.pem", "nope.pem", ["tls_certificate_file {0}/nope.pem: No such", "tls_key_file {0}/nope.pem: No such"]),
        ("cert.pem", "folder", ["[smtp] tls_key_file {0}/folder: Is a directory; correct SLUICE_SMTP_TLS_KEY_FILE"]),
        ("junk.pem", "key.pem", ["[smtp] tls_certificate_file {0}/junk.pem holds no certificate"]),
        ("key.pem", "cert.pem", ["[smtp] tls_certificate_file {0}/key.pem holds no certificate"]),
        ("cert.pem", "junk.pem", ["[smtp] tls_key_file {0}/junk.pem holds no private key"]),
        ("cert.pem", "sealed.pem", ["[smtp] tls_key_file {0}/sealed.pem holds no private key that can be read"]),
        ("cert.pem", "other.pem", ["tls_key_file {0}/other.pem is not the key of the certificate in {0}/cert.pem"]),
        ("cert.pem", "rsa.pem", ["tls_key_file {0}/rsa.pem is not the key of the certificate in {0}/cert.pem"]),
        ("cert.pem", "key.pem", []),
    ],
)
def test_a_certificate_that_cannot_be_used_is_a_sentence_that_names_the_file(
    certificate: str, key: str, said: list[str], tmp_path: Path
) -> None:
    write_certificate(tmp_path)[1].rename(tmp_path / "other.pem")
    write_certificate(tmp_path)
    (tmp_path / "junk.pem").write_text("nothing")
    (tmp_path / "folder").mkdir()
    own = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    (tmp_path / "sealed.pem").write_bytes(pem_of(own, serialization.BestAvailableEncryption(b"x")))
    (tmp_path / "rsa.pem").write_bytes(pem_of(rsa.generate_private_key(65537, 2048), serialization.NoEncryption()))
    files = {"tls_certificate_file": tmp_path / certificate, "tls_key_file": tmp_path / key}
    problems = certificate_problems(Settings.model_validate({"smtp": files}))
    assert len(problems) == len(said)
    for problem, words in zip(problems, said, strict=True):
        assert words.format(tmp_path) in problem


def pem_of(key: Any, sealing: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)


def test_without_a_certificate_there_is_nothing_to_say() -> None:
    assert certificate_problems(Settings()) == []


def test_a_free_port_is_no_problem_and_stays_free() -> None:
    port = free_port()
    assert port_problems([Door("smtp", "127.0.0.1", port)]) == []
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_somebody_listens_on_is_a_problem_even_if_it_would_be_shared(*, shares: bool) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=shares) as listener:
        port = listener.getsockname()[1]
        (problem,) = port_problems([Door("smtp", "127.0.0.1", port, "tls_port")])
    said, _, suggested = problem.partition("; choose another: SLUICE_SMTP_TLS_PORT=")
    assert said == f"port {port} of [smtp] is in use"
    assert int(suggested) > port


def test_ports_that_are_proposed_differ_from_each_other_and_from_those_that_are_wanted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        doors = [Door("smtp", "127.0.0.1", port), Door("api", "127.0.0.1", port), Door("flower", "127.0.0.1", port)]
        proposed = [int(problem.rpartition("=")[2]) for problem in port_problems(doors)]
        assert len(set(proposed)) == len(proposed) == 3
        wanted = Door("simulator", "127.0.0.1", proposed[0])
        again = [int(problem.rpartition("=")[2]) for problem in port_problems([*doors, wanted])]
        assert proposed[0] not in again


def test_two_doors_on_one_port_are_a_problem_unless_on_other_addresses() -> None:
    port = free_port()
    smtp, api = Door("smtp", "127.0.0.1", port), Door("api", "127.0.0.1", port)
    assert f"port {port} of [api] is the port of [smtp] too" in port_problems([smtp, api])[0]
    assert port_problems([smtp, Door("api", "127.0.0.2", port)]) == []
    assert len(port_problems([smtp, Door("api", "0.0.0.0", port)])) == 1


def test_an_address_of_another_machine_is_a_problem() -> None:
    (problem,) = port_problems([Door("api", "192.0.2.1", 2580)])
    assert "192.0.2.1 of [api] cannot be listened on" in problem
    assert "SLUICE_API_HOST=127.0.0.1" in problem


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pa:ss@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:p@ss@host", "redis://:***@host"),
        ("rediss://host/0?password=geheim&db=1", "rediss://host/0?password=***&db=1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock?db=2", "unix://user:***@/run/redis.sock?db=2"),
    ],
)
def test_passwords_in_urls_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


class _Keys:
    async def get_frozen_credentials(self) -> SimpleNamespace:
        return SimpleNamespace(access_key="AKIA", secret_key="secret", token=None)


class _Session:
    def __init__(self, *, found: _Keys | None = None, waits: bool = False) -> None:
        self._found, self._waits = found, waits

    async def get_credentials(self) -> _Keys | None:
        if self._waits:
            await asyncio.Event().wait()
        return self._found


async def test_credentials_that_are_there_are_no_problem() -> None:
    assert await credentials_problem(lambda: _Session(found=_Keys())) == ""


async def test_missing_credentials_are_told_with_what_to_set() -> None:
    problem = await credentials_problem(_Session)
    assert problem.startswith(
        "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
    )


async def test_a_metadata_service_that_is_silent_is_not_waited_for() -> None:
    problem = await credentials_problem(lambda: _Session(waits=True), wait_seconds=0.01)
    assert problem.startswith("no AWS credentials within 0.01 s")


def test_problems_are_told_together() -> None:
    complain([])
    with pytest.raises(Refused, match=r"^one\ntwo$"):
        complain(["one", "two"])
