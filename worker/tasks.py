"""The two Celery tasks. This file alone crosses from Celery's threads to the event loop.

`process` takes due messages through the pipeline, `publish` gives waiting events to one destination. Arguments are
ids and names only: Flower shows them to everybody who may see it.
"""

from celery import Celery

from config.celery_app import PROCESS_TASK, PUBLISH_TASK
from worker.pool import held, run_on_loop
from worker.process import WorkerProcess


def register(app: Celery) -> None:
    """Adds the tasks to the application."""

    @app.task(name=PROCESS_TASK)
    def process(message_ids: list[str]) -> None:
        worker = held(WorkerProcess)
        run_on_loop(lambda: worker.process(message_ids))

    @app.task(name=PUBLISH_TASK)
    def publish(destination: str) -> None:
        worker = held(WorkerProcess)
        run_on_loop(lambda: worker.publish(destination))
