"""The Celery application with its tasks: `celery -A worker.app worker`, and Flower."""

import warnings

from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_ready

from config.celery_app import make_celery
from config.logs import set_up_logging
from config.readiness import tell_ready
from config.settings_source import load_settings
from worker.tasks import register

# Celery warns when root runs it, because of pickle; only JSON is accepted here.
warnings.filterwarnings("ignore", category=SecurityWarning)

_settings = load_settings()
app = make_celery(_settings)
register(app)


@setup_logging.connect(weak=False)
def _our_logging(**_: object) -> None:
    """Instead of Celery's own set-up."""
    set_up_logging(_settings.log, "worker")


@worker_ready.connect(weak=False)
def _ready(**_: object) -> None:
    tell_ready()
