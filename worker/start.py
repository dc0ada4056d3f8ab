"""Becomes a Celery worker: `mailsluice worker` is `celery -A worker.app worker` with our defaults.

What is wrong with the rules or the configuration sets is told here already, line by line, when the worker could not
start with them; the worker itself would say it in one line of its log.
"""

import os
import sys

from config.errors import Refused
from config.queues import ALL_QUEUES
from config.settings import Settings
from sending_events.configuration_sets.set_file import check_file
from worker.rules.keeper import check_start


def run(settings: Settings) -> int:
    """Runs the worker in this process until it is told to stop; Celery's exit code.

    Without Celery's command line, which loads Flower and a console into every worker, 12 MB, and which looks for the
    application in the current folder first, whose `worker/` need not be ours.
    """
    try:
        check_start(settings)
        check_file(settings)
    except Refused as refused:
        sys.stderr.write(f"{refused.reason}\n")
        return 1

    from worker.app import app  # noqa: PLC0415 - reads the settings again; not before they are known to be right

    # Gossip and mingle let workers talk to each other about nothing that the spool does not know better.
    worker = app.Worker(
        hostname=f"worker-{os.getpid()}@{os.uname().nodename}",
        queues=list(ALL_QUEUES),
        concurrency=settings.worker.threads,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
