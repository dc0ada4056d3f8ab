"""What the operator chooses, and what every process builds once at its start.

Settings, log set-up, queue names, the Celery application (without tasks) and the only factory of Redis and
AWS clients. Nothing here knows what a message is.
"""

import sys

# structlog loads `rich`, which typer brings, for tracebacks that our logs do not show: 4 MB in every process.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
