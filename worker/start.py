"""Becomes a Celery worker: `mailsluice worker` is `celery -A worker.app worker` with our defaults."""

import os
import sys

from config.queues import ALL_QUEUES
from config.settings import Settings

# Gossip and mingle let workers talk to each other about nothing that the spool does not know better.
OPTIONS = ("--without-gossip", "--without-mingle", "--loglevel=WARNING", f"--queues={','.join(ALL_QUEUES)}")


def run(settings: Settings) -> int:
    """Replaces this process; does not return."""
    name = f"--hostname=worker-{os.getpid()}@%h"
    concurrency = f"--concurrency={settings.worker.threads}"
    os.execv(  # noqa: S606 - the same interpreter, no shell
        sys.executable,
        [sys.executable, "-m", "celery", "--quiet", "-A", "worker.app", "worker", concurrency, name, *OPTIONS],
    )
