"""The simulator as a process: listens until SIGTERM or SIGINT, then ends within two seconds."""

import asyncio
import logging
import signal

from aiohttp import web

from simulator.app import make_app
from simulator.settings import SimulatorSettings

#: what calls in progress get after the signal; hanging ones are let go at once
SHUTDOWN_SECONDS = 1.0

_log = logging.getLogger("simulator")


def run(settings: SimulatorSettings) -> None:
    """Serve until the process is told to end; raises SystemExit with one line when it cannot listen."""
    try:
        import uvloop  # noqa: PLC0415 -- optional: faster, and nothing is missing without it
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve_until_signal(settings))


async def _serve_until_signal(settings: SimulatorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(settings: SimulatorSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    runner, url = await start(settings)
    try:
        _log.info("SES simulator listens on %s", url)
        await stop.wait()
    finally:
        await runner.cleanup()


async def start(settings: SimulatorSettings) -> tuple[web.AppRunner, str]:
    """Begin to serve and return what ends it (`cleanup()`), and the URL with the port really taken."""
    # Handlers are cancelled when their client goes: a call that hangs on purpose must not stay for ever.
    runner = web.AppRunner(
        make_app(settings), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        raise SystemExit(
            f"The SES simulator cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another port (SLUICE_SIMULATOR_PORT)."
        ) from error
    port = runner.addresses[0][1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return runner, f"http://{host}:{port}"
