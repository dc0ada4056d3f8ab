"""The HTTP door as a real process."""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers import free_port

_START = (
    "from aws_api.process import run; from config.settings_source import load_settings; "
    "raise SystemExit(run(load_settings()))"
)
READY_SECONDS = 60


def started(redis_url: str, folder: Path, port: int, *, ready_fd: int | None = None) -> subprocess.Popen[str]:
    """The process, perhaps not ready yet."""
    environ = {
        **os.environ,
        "SLUICE_REDIS_URL": redis_url,
        "SLUICE_DATA_DIR": str(folder),
        "SLUICE_API_PORT": str(port),
        "SLUICE_WORKER_STALL_SECONDS": "5",
    }
    if ready_fd is not None:
        environ["MAILSLUICE_READY_FD"] = str(ready_fd)
    return subprocess.Popen(
        [sys.executable, "-c", _START],
        env=environ,
        pass_fds=() if ready_fd is None else (ready_fd,),
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def api_process(redis_url: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its URL and the process, once it has said that it is ready; ended afterwards."""
    port = free_port()
    reader, writer = os.pipe()
    process = started(redis_url, folder, port, ready_fd=writer)
    os.close(writer)
    try:
        readable, _, _ = select.select([reader], [], [], READY_SECONDS)
        assert readable, "it did not become ready"
        assert os.read(reader, 100), "it ended before it was ready"
        yield f"http://127.0.0.1:{port}", process
    finally:
        os.close(reader)
        process.kill()
        process.communicate()
