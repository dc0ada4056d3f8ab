"""Each route calls with its own credentials, in its own region, at its own endpoint."""

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from relay_client import KEYS, SMALL, may_always

from config.settings import Settings
from worker.relay.outcomes import Accepted
from worker.relay.routes import Routes

GOOD = "<MessageId>0100-1</MessageId>"
ROLE = "arn:aws:iam::123456789012:role/mail"


class Cloud:
    """SES and STS on one port; keeps what was asked."""

    def __init__(self):
        self.ses = []
        self.sts = []
        self.sts_answer = None
        self.lifetime = timedelta(hours=1)

    async def _answer(self, request):
        fields = dict((await request.post()).items())
        authorization = request.headers["authorization"]
        if fields["Action"] == "AssumeRole":
            self.sts.append((fields, authorization))
            return self.sts_answer or web.Response(text=self._assumed(), content_type="text/xml")
        self.ses.append((authorization.split("Credential=")[1].split("/")[0], authorization.split("/")[2], request))
        return web.Response(text=GOOD)

    def _assumed(self):
        until = (datetime.now(UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>ASIAROLE{len(self.sts)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>token</SessionToken><Expiration>{until}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )

    @asynccontextmanager
    async def running(self):
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def opened_routes(url, routes, *, environment=None, **sections):
    """Routes in an AWS environment of their own, whose SES and STS are at `url`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        fixed = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ENDPOINT_URL_SES": url,
            "AWS_ENDPOINT_URL_SESV2": url,
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_REGION": "eu-west-1",
            **KEYS,
        }
        for name, value in {**fixed, **(environment or {})}.items():
            patch.setenv(name, value)
        ways = Routes(Settings.model_validate({"routes": routes, "relay": {"connect_timeout_seconds": 60}, **sections}))
        try:
            await ways.open()
            yield ways
        finally:
            await ways.close()


async def send(ways, name):
    return await ways.ses(name).send(SMALL, may_always)


async def test_routes_have_their_own_keys_and_regions():
    cloud = Cloud()
    routes = {
        "own": {"access_key_id": "AKIDOWN", "secret_access_key": "s", "region": "us-west-2"},
        "ours": {},
    }
    async with cloud.running() as url, opened_routes(url, routes) as ways:
        assert [isinstance(await send(ways, name), Accepted) for name in ways.names] == [True, True]
    assert [(key, region) for key, region, _ in cloud.ses] == [("AKIDOWN", "us-west-2"), ("AKIDEXAMPLE", "eu-west-1")]


async def test_a_profile_wins_over_the_keys_of_the_environment(tmp_path):
    config = tmp_path / "config"
    config.write_text("[profile mail]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n")
    cloud = Cloud()
    environment = {"AWS_CONFIG_FILE": str(config)}
    async with cloud.running() as url, opened_routes(url, {"p": {"profile": "mail"}}, environment=environment) as ways:
        assert isinstance(await send(ways, "p"), Accepted)
    assert cloud.ses[0][0] == "AKIDPROFILE"


async def test_a_profile_that_there_is_not_stops_its_own_route_only():
    cloud = Cloud()
    async with cloud.running() as url, opened_routes(url, {"p": {"profile": "nobody"}, "ours": {}}) as ways:
        outcome = await send(ways, "p")
        assert (outcome.code, "nobody" in outcome.reason) == ("NoCredentials", True)
        assert outcome.reason.endswith("check the AWS profile nobody")
        assert isinstance(await send(ways, "ours"), Accepted)


async def test_an_endpoint_of_its_own_wins_over_that_of_the_environment():
    cloud, other = Cloud(), Cloud()
    async with (
        cloud.running() as url,
        other.running() as own,
        opened_routes(url, {"own": {"endpoint_url": f"{own}/prefix"}, "ours": {}}) as ways,
    ):
        await send(ways, "own")
        await send(ways, "ours")
    assert [request.path for _, _, request in other.ses] == ["/prefix/"]
    assert len(cloud.ses) == 1


async def test_a_role_is_assumed_once_with_the_keys_of_the_route():
    cloud = Cloud()
    routes = {"r": {"role_arn": ROLE, "access_key_id": "AKIDOWN", "secret_access_key": "s", "region": "us-west-2"}}
    async with cloud.running() as url, opened_routes(url, routes) as ways:
        for _ in range(3):
            assert isinstance(await send(ways, "r"), Accepted)
        head = cloud.ses[0][2].headers
    fields, authorization = cloud.sts[0]
    assert (len(cloud.sts), fields["RoleArn"], fields["RoleSessionName"]) == (1, ROLE, "mailsluice")
    assert "Credential=AKIDOWN/" in authorization
    assert [key for key, *_ in cloud.ses] == ["ASIAROLE1"] * 3
    assert head["x-amz-security-token"] == "token"


async def test_a_role_whose_credentials_are_about_to_end_is_assumed_again():
    cloud = Cloud()
    cloud.lifetime = timedelta(minutes=5)
    async with cloud.running() as url, opened_routes(url, {"r": {"role_arn": ROLE}}) as ways:
        await send(ways, "r")
        ways.ses("r")._credentials._latest_until = 0.0  # the second for which they are trusted is over
        await send(ways, "r")
    assert [key for key, *_ in cloud.ses] == ["ASIAROLE1", "ASIAROLE2"]


async def test_a_role_that_may_not_be_assumed_says_what_to_check():
    cloud = Cloud()
    cloud.sts_answer = web.Response(
        status=403,
        content_type="text/xml",
        text="<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not authorized"
        "</Message></Error><RequestId>1</RequestId></ErrorResponse>",
    )
    async with cloud.running() as url, opened_routes(url, {"r": {"role_arn": ROLE}}) as ways:
        outcome = await send(ways, "r")
    assert outcome.code == "NoCredentials"
    assert "AccessDenied" in outcome.reason
    assert f"check that {ROLE} trusts the worker's own credentials" in outcome.reason
    assert cloud.ses == []


async def test_a_role_without_credentials_to_assume_it_with_is_no_crash():
    cloud = Cloud()
    keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    async with cloud.running() as url, opened_routes(url, {"r": {"role_arn": ROLE}}, environment=keys) as ways:
        outcome = await send(ways, "r")
    assert outcome.code == "NoCredentials"
    assert cloud.sts == []


async def test_slots_are_those_of_one_route():
    async with (
        Cloud().running() as url,
        opened_routes(url, {"a": {}, "b": {}}, worker={"concurrent_calls": 1}) as ways,
        ways.ses("a").slots,
    ):
        assert ways.ses("a").slots.locked()
        assert not ways.ses("b").slots.locked()
