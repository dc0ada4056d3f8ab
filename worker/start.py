"""Becomes a Celery worker: `mailsluice worker` is `celery -A worker.app worker` with our defaults."""

import importlib
import os

from config.queues import ALL_QUEUES
from config.settings import Settings

CELERY_APP = "worker.app"
# Gossip and mingle let workers talk to each other about nothing that the spool does not know better.
OPTIONS = ("--without-gossip", "--without-mingle", "--loglevel=WARNING", f"--queues={','.join(ALL_QUEUES)}")


def run(settings: Settings) -> None:
    """Runs the worker in this process; leaves by SystemExit with Celery's exit code."""
    # Before Celery puts the current folder in front of the path: a folder named `worker` there is not ours.
    importlib.import_module(CELERY_APP)
    from celery.bin.celery import celery  # noqa: PLC0415 - half a second that only a worker pays

    name = f"--hostname=worker-{os.getpid()}@%h"
    concurrency = f"--concurrency={settings.worker.threads}"
    celery(args=["--quiet", "-A", CELERY_APP, "worker", concurrency, name, *OPTIONS])
