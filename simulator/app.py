"""The simulator as an aiohttp application: which path goes to which handler."""

import time

from aiohttp import web

from simulator import controls, pages, sends, sqs, suppressed
from simulator.s3 import add_s3
from simulator.s3_objects import Objects
from simulator.settings import SimulatorSettings
from simulator.simulated import SIMULATED, build
from simulator.sqs_calls import PREFIX as SQS_PREFIX


def make_app(settings: SimulatorSettings) -> web.Application:
    """A new simulated account, not yet listening."""
    app = web.Application(client_max_size=settings.max_request_bytes)
    app[SIMULATED] = build(settings, time.monotonic, time.time)
    app.on_shutdown.append(_let_everybody_go)
    app.add_routes(
        [
            web.post("/", sends.answer_query),
            web.post(SQS_PREFIX + "{path:(?:/.*)?}", sqs.answer),
            web.post("/v2/email/outbound-emails", sends.answer_send_email),
            web.get("/v2/email/account", sends.answer_get_account),
            web.route("*", suppressed.PATH, sends.answer_suppression),
            web.route("*", suppressed.PATH + "/{address}", sends.answer_suppression),
            web.route("*", "/v2/{path:.*}", sends.answer_unknown_rest),
            web.get("/healthz", controls.healthz),
            web.get("/ledger", controls.ledger),
            web.get("/ledger/count", controls.ledger_count),
            web.get("/messages/{ses_message_id}", controls.message),
            web.get("/events", controls.events),
            web.get("/violations", controls.violations),
            web.delete("/violations", controls.delete_violations),
            web.get("/faults", controls.get_faults),
            web.put("/faults", controls.put_faults),
            web.delete("/faults", controls.delete_faults),
            web.get("/settings", controls.get_settings),
            web.put("/settings", controls.put_settings),
            web.get("/pause", controls.get_pause),
            web.put("/pause", controls.put_pause),
            web.post("/save", controls.save),
            web.get("/", pages.list_messages),
            web.get("/view/{ses_message_id}", pages.view_message),
            web.get("/view/{ses_message_id}/source", pages.view_source),
            web.get("/view/{ses_message_id}/parts/{number}", pages.download_part),
        ]
    )
    add_s3(app, Objects(settings.data_dir))
    return app


async def _let_everybody_go(app: web.Application) -> None:
    """Hanging calls and readers of events must not hold up the end."""
    app[SIMULATED].let_everybody_go()
