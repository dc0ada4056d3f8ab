"""The HTTP door as an aiohttp application: which path is answered by which function.

A new path is one row here and one function `(request) -> response` in a file of its own. A new AWS service is one row
in `services_of` and a folder of its own; the wire (aws_api/wire/) recognises its requests before the paths are looked
at.
"""

from aiohttp import web

from aws_api.admin import door
from aws_api.feedback.door import add_feedback_door
from aws_api.health import healthz
from aws_api.message_flow.operations import message_flow_service
from aws_api.metrics import metrics
from aws_api.ses.operations import ses_service, sesv2_service
from aws_api.tools import TOOLS, Tools
from aws_api.wire.door import Access, Wire, aws_door
from aws_api.wire.memory import MemoryBudget
from aws_api.wire.services import Service
from config.settings import Settings

ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/healthz", healthz),
    web.get("/metrics", metrics),
    *door.ROUTES,
    door.UNKNOWN,
)


def services_of(settings: Settings) -> tuple[Service, ...]:
    """The AWS services whose paths are known. What has no operation yet is refused by the operation's name."""
    return (message_flow_service(settings.message_flow), ses_service(), sesv2_service())


def make_app(tools: Tools) -> web.Application:
    """The application; process.py lets it listen."""
    access = Access(tools.keys, trusts_loopback=tools.settings.api.trust_loopback)
    memory = MemoryBudget(tools.settings.api.memory_budget_bytes)
    app = web.Application(middlewares=[aws_door(Wire(services_of(tools.settings), access, memory))])
    app[TOOLS] = tools
    add_feedback_door(app, tools)
    app.add_routes(ROUTES)
    return app
