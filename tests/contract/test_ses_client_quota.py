"""GetSendQuota by the relay's own client, against the simulator and against servers that are none."""

import pytest
from relay_client import relay_client
from simulated_ses import simulated_ses

from worker.relay.account import SendQuota, quota_of
from worker.relay.credentials import NoCredentials
from worker.relay.ses import NoAnswer


async def asked(url, **options):
    async with relay_client(url, connect_timeout_seconds=60, **options) as client:
        return await client.ask("GetSendQuota")


async def test_the_figures_of_the_account_are_read():
    with simulated_ses(max_send_rate=14.0, max_24_hour_send=50_000.0) as ses:
        assert quota_of(*await asked(ses.url)) == SendQuota(14.0, 50_000.0, 0.0)


async def test_unlimited_stays_below_nought():
    with simulated_ses(max_send_rate=0.0, max_24_hour_send=-1.0) as ses:
        assert quota_of(*await asked(ses.url)).max_24_hour_send == -1.0


async def test_a_policy_that_forbids_the_question_is_said_in_words():
    with simulated_ses(quota_forbidden=True) as ses:
        words = quota_of(*await asked(ses.url))
    assert words == "the worker's credentials may not call ses:GetSendQuota; allow it or set max_send_rate"


async def test_a_server_that_is_not_there_brings_no_answer():
    with pytest.raises(NoAnswer, match="SES cannot be reached"):
        await asked("http://127.0.0.1:1")


async def test_without_credentials_nothing_is_asked():
    with pytest.raises(NoCredentials, match="set AWS_ACCESS_KEY_ID"):
        await asked("http://127.0.0.1:1", keys={})


async def test_a_question_leaves_the_client_usable_and_the_account_uncharged():
    with simulated_ses(max_24_hour_send=10.0) as ses:
        async with relay_client(ses.url, connect_timeout_seconds=60) as client:
            for _ in range(3):
                status, _ = await client.ask("GetSendQuota")
                assert status == 200
        assert ses.ledger() == []
