"""Every .smtp file of this folder is played against a gateway, under asyncio's own loop and under uvloop."""

import asyncio
import socket
from pathlib import Path

import pytest
import uvloop

from tests.dialogues.player import Player, read_script, trusting
from tests.dialogues.stand import standing

SCRIPTS = sorted(Path(__file__).parent.glob("*.smtp"))
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_dialogue_goes_as_written(path: Path, loop: str, tmp_path: Path):
    async def played() -> None:
        script = read_script(path)
        async with standing(
            tmp_path,
            users=script.users,
            certificate=script.certificate,
            suppressed=script.suppressed,
            **script.smtp_settings,
        ) as stand:
            await asyncio.to_thread(Player(stand).play, script, path.name)
            await stand.until(lambda: stand.door.budget.used_bytes == 0)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(played())


@pytest.mark.parametrize("loop", LOOPS)
def test_no_handshake_is_lost_however_early_it_begins(loop: str, tmp_path: Path):
    def shake_hands(port: int) -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), 60) as plain, trusting().wrap_socket(plain) as secured:
                assert secured.recv(100).startswith(b"220 ")

    async def shaken() -> None:
        async with standing(tmp_path, certificate=True) as stand:
            await asyncio.gather(*(asyncio.to_thread(shake_hands, stand.tls_port) for _ in range(4)))
            await stand.until(lambda: stand.door.connections.open == 0)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(shaken())


def test_a_script_with_a_wrong_expectation_fails(tmp_path: Path):
    path = tmp_path / "wrong.smtp"
    path.write_text("S: 220\nC: NOOP\nS: 999\n")

    async def played() -> None:
        async with standing(tmp_path) as stand:
            await asyncio.to_thread(Player(stand).play, read_script(path), path.name)

    with pytest.raises(AssertionError, match=r"wrong\.smtp:3"):
        asyncio.run(played())
