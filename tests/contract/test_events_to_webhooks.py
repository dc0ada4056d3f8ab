"""The receivers' functions of docs/events.md, as they stand there, know our requests."""

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from sending_events.destinations.signature import signature

PAGE = Path(__file__).resolve().parents[2] / "docs/events.md"
SECRETS = ("the secret of before 1", "the secret of after 12")
BODY = '[{"eventType":"Send","subject":"Grüße"}]'.encode()


def code(language: str) -> str:
    [found] = [
        block
        for block in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        if "mailsluice" in block.lower()
    ]
    return found


def cases() -> list[tuple[str, str, bytes, bool]]:
    """Secret, signature, body, whether it is ours."""
    now = int(time.time())
    good = signature([SECRETS[0].encode()], now, BODY)
    both = signature([one.encode() for one in SECRETS], now, BODY)
    return [
        (SECRETS[0], good, BODY, True),
        (SECRETS[0], both, BODY, True),
        (SECRETS[1], both, BODY, True),
        (SECRETS[1], good, BODY, False),
        (SECRETS[0], good, BODY + b" ", False),
        (SECRETS[0], good.replace(f"t={now}", f"t={now + 1}"), BODY, False),
        (SECRETS[0], signature([SECRETS[0].encode()], now - 3600, BODY), BODY, False),
        (SECRETS[0], "", BODY, False),
        (SECRETS[0], f"t={now}", BODY, False),
        (SECRETS[0], f"t={now},v1=", BODY, False),
        (SECRETS[0], f"t=x,v1={'0' * 64}", BODY, False),
    ]


def test_the_function_in_python_knows_our_requests():
    names: dict = {}
    exec(code("python"), names)
    verify = names["is_from_mailsluice"]
    for secret, header, body, is_ours in cases():
        assert verify(secret, header, body) is is_ours, header


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_function_in_node_knows_our_requests(tmp_path):
    script = tmp_path / "verify.cjs"
    script.write_text(
        code("javascript") + "\nconst cases = JSON.parse(process.argv[2]);\n"
        "console.log(JSON.stringify(cases.map(([s, h, b]) => isFromMailsluice(s, h, Buffer.from(b, 'base64')))));\n"
    )
    given = [(secret, header, base64.b64encode(body).decode()) for secret, header, body, _ in cases()]
    done = subprocess.run(["node", script, json.dumps(given)], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [is_ours for *_, is_ours in cases()]
