"""The HTTP door as an aiohttp application: which path is answered by which function.

A new path is one row here and one function `(request) -> response` in a file of its own.
"""

from aiohttp import web

from aws_api.admin import door
from aws_api.health import healthz
from aws_api.metrics import metrics
from aws_api.tools import TOOLS, Tools

ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/healthz", healthz),
    web.get("/metrics", metrics),
    *door.ROUTES,
    door.UNKNOWN,
)


def make_app(tools: Tools) -> web.Application:
    """The application; process.py lets it listen."""
    app = web.Application()
    app[TOOLS] = tools
    app.add_routes(ROUTES)
    return app
