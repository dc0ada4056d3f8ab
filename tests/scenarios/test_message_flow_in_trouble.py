"""The message flow when something dies: answers say so, clients may repeat, and contents stay whole."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.api_process import api_process
from tests.contract.message_flow_stand import ORIGINAL, UPDATED, MessageFlowStand, message_flow_stand
from tests.running import wait_until

pytestmark = pytest.mark.processes


def refusal(call) -> str:
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_without_the_spools_server_every_call_is_a_503_until_it_is_back(tmp_path):
    with message_flow_stand(tmp_path) as stand:
        message_id, reference = stand.message(), stand.in_bucket(UPDATED)
        stand.put(message_id, reference)
        stand.redis.kill()
        assert refusal(lambda: stand.get(message_id)) == "ServiceUnavailableException"
        assert refusal(lambda: stand.put(message_id, reference)) == "ServiceUnavailableException"
        stand.redis.start()
        wait_until(lambda: refusal(lambda: stand.get(message_id)) == "", "the door finds the server again")
        assert stand.get(message_id) == UPDATED


def test_a_door_that_is_killed_while_updates_come_leaves_one_whole_content(tmp_path):
    with message_flow_stand(tmp_path) as stand:
        message_id = stand.message()
        contents = [UPDATED + bytes([65 + number]) * 900 + b"\r\n" for number in range(8)]
        references = [stand.in_bucket(content, f"u{number}") for number, content in enumerate(contents)]
        client = stand.client()

        def put(reference: dict[str, str]) -> bool:
            try:
                stand.put(message_id, reference, client)
            except BotoCoreError:
                return False
            return True

        with ThreadPoolExecutor(8) as putters:
            answers = [putters.submit(put, reference) for reference in references * 4]
            wait_until(lambda: any(answer.done() for answer in answers), "the first answer")
            stand.process.kill()
            done = [answer.result() for answer in answers]
        assert any(done)
        again(stand, message_id, contents)


def again(stand: MessageFlowStand, message_id: str, contents: list[bytes]) -> None:
    with api_process(stand.redis.url, stand.settings.data.dir) as (url, _):
        stand.url = url
        assert stand.get(message_id) in contents
        assert stand.get(stand.message()) == ORIGINAL
