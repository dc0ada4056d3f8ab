"""A line whose worker has rules, and functions that are files beside them."""

import json
import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spool.records import Message
from tests.line import HOUSE, Line

#: What a function needs to put another content for its message, as GetRawMessageContent and PutRawMessageContent do.
PUTS = f"""
import asyncio, os, sys
sys.path.insert(0, {str(HOUSE)!r})
from config.settings_source import load_settings
from spool.assembly import open_message_flow, open_spool

def put(message_id, change):
    async def work():
        settings = load_settings(environ=dict(os.environ))
        spool = open_spool(settings)
        flow = open_message_flow(settings, spool)
        try:
            reading = await flow.read(message_id)
            content = b"".join([piece async for piece in reading.chunks])
            return await flow.put(message_id, change(content))
        finally:
            await flow.close()
            await spool.close()
    return asyncio.run(work())
"""


def ruled_line(folder: Path, rules: str, *, functions: Mapping[str, str] | None = None, **settings: str) -> Line:
    """A line with these rules; the functions lie beside them as <name>.py. Settings as Line takes them."""
    file = folder / "rules.toml"
    write_rules(file, rules)
    for name, code in (functions or {}).items():
        (folder / f"{name}.py").write_text(textwrap.dedent(code), "utf-8")
    return Line(SLUICE_RULES_FILE=str(file), **settings)


def write_rules(file: Path, rules: str) -> None:
    """Puts other rules in their place, at once."""
    fresh = file.with_suffix(".new")
    fresh.write_text(textwrap.dedent(rules), "utf-8")
    fresh.rename(file)


def sent_to(line: Line) -> Counter[str]:
    """How often SES was asked to send to each address."""
    return Counter(address for entry in line.ledger() for address in entry["destinations"])


def bounces_of(line: Line, message: Message) -> list[bytes]:
    """What the sender of a message was sent about it."""
    marker = f"X-Mailsluice-Message-Id: {message.message_id}".encode()
    return [raw for raw in map(line.raw, line.ledger()) if marker in raw]


def calls_of(folder: Path) -> list[dict[str, Any]]:
    """The events that functions have written into calls.ndjson."""
    path = folder / "calls.ndjson"
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]  # whole ones: it may be written now


def noting(folder: Path, then: str) -> str:
    """Code of a function that notes its event, then does this."""
    code = f"""\
import json, time

def handler(event, context):
    with open({str(folder / "calls.ndjson")!r}, "a") as notes:
        notes.write(json.dumps({{**event, "at": time.time()}}) + "\\n")
"""
    return code + textwrap.indent(textwrap.dedent(then), "    ")
