"""Flower, the web view on the Celery workers, with our limits.

It keeps the newest 10,000 tasks in memory and nothing on disk. It has no login: it listens on loopback unless
`[flower] host` says otherwise.
"""

import importlib

from config.settings import Settings

CELERY_APP = "worker.app"
KEPT_TASKS = 10_000
FORGET_SILENT_WORKERS_SECONDS = 300


def flower_arguments(settings: Settings) -> list[str]:
    """What the command `celery` is given."""
    return [
        *("--app", CELERY_APP, "--quiet", "flower"),
        f"--address={settings.flower.host}",
        f"--port={settings.flower.port}",
        f"--max_tasks={KEPT_TASKS}",
        "--persistent=False",
        "--logging=error",  # while workers come and go it warns about each question they did not answer
        f"--purge_offline_workers={FORGET_SILENT_WORKERS_SECONDS}",
    ]


def run_flower(settings: Settings) -> None:
    """Runs Flower until a signal ends it; leaves by SystemExit, as Celery's command does."""
    # Before Celery puts the current folder in front of the path: a folder named `worker` there is not ours.
    importlib.import_module(CELERY_APP)
    from celery.bin.celery import celery  # noqa: PLC0415 - slow, and only this command needs it

    celery(args=flower_arguments(settings), auto_envvar_prefix="CELERY")
