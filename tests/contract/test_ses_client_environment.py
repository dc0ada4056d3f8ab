"""What the AWS environment says is done: endpoint, region, credentials, authorities, proxy."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from relay_client import KEYS, LARGE, SMALL, may_always, relay_client
from simulated_ses import simulated_ses
from yarl import URL

from worker.relay.credentials import CredentialSource, NoCredentials
from worker.relay.endpoint import make_endpoint, proxy_for, region_of
from worker.relay.outcomes import Accepted, Unavailable

GOOD = b"<MessageId>0100-1</MessageId>"


@asynccontextmanager
async def recording_server(tls=None, answers=(b"200 OK", GOOD)):
    """Answers every request alike and keeps the header sections, names in lower case."""
    heads = []
    status, text = answers
    served = {}

    async def serve(reader, writer):
        served[asyncio.current_task()] = writer
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = dict(
                    line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in head.split("\r\n")[1:-2]
                )
                await reader.readexactly(int(lines["content-length"]))
                heads.append({"": head.partition("\r\n")[0], **lines})
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", heads
    finally:
        server.close()
        for writer in served.values():  # nothing of it may be left to the next test
            writer.transport.abort()
        await asyncio.gather(*served)


async def outcome_at(url, call=SMALL, **options):
    async with relay_client(url, **{"connect_timeout_seconds": 60, **options}) as client:
        return await client.send(call, may_always)


async def test_each_api_goes_to_its_own_endpoint():
    async with recording_server() as (v1_url, v1_heads), recording_server() as (v2_url, v2_heads):
        environment = {"AWS_ENDPOINT_URL_SES": v1_url, "AWS_ENDPOINT_URL_SESV2": f"{v2_url}/some%20prefix/"}
        async with relay_client("", environment=environment) as client:
            await client.send(SMALL, may_always)
            await client.send(LARGE, may_always)
    assert [head[""] for head in v1_heads] == ["POST / HTTP/1.1"]
    assert [head[""] for head in v2_heads] == ["POST /some%20prefix/v2/email/outbound-emails HTTP/1.1"]
    assert v1_heads[0]["host"] == v1_url.removeprefix("http://")


async def test_without_a_setting_it_is_the_service_of_the_region(tmp_path):
    async with relay_client("", environment={"AWS_REGION": "eu-west-1"}) as client:
        assert str(client._v1.url) == "https://email.eu-west-1.amazonaws.com/"
        assert str(client._v2.url) == "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails"
        assert client._v1.host == "email.eu-west-1.amazonaws.com"


async def test_the_request_has_the_headers_of_a_signed_call_and_few_others():
    token = {**KEYS, "AWS_SESSION_TOKEN": "the-token"}
    async with recording_server() as (url, heads):
        await outcome_at(url, keys=token, environment={"AWS_REGION": "eu-west-1"})
    head = heads[0]
    assert set(head) == {
        "", "host", "content-type", "content-length", "x-amz-date", "x-amz-security-token", "authorization",
    }  # fmt: skip
    assert head["x-amz-security-token"] == "the-token"
    assert "Credential=AKIDEXAMPLE/" in head["authorization"]
    assert (
        "/eu-west-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "
        in (head["authorization"])
    )


@pytest.mark.parametrize(
    ("setting", "environment", "region"),
    [
        ("eu-central-1", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-central-1"),
        ("", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ("", {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ("", {"AWS_PROFILE": "mail"}, "eu-south-1"),
        ("", {}, "us-east-1"),
    ],
)
def test_the_region_is_the_setting_or_of_the_environment(setting, environment, region, tmp_path, monkeypatch):
    config = tmp_path / "config"
    config.write_text("[profile mail]\nregion = eu-south-1\n")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_CONFIG_FILE": str(config), **environment}.items():
        monkeypatch.setenv(name, value)
    assert region_of(setting) == region


async def test_without_credentials_it_says_what_to_do():
    outcome = await outcome_at("http://127.0.0.1:1", keys={})
    assert outcome == Unavailable(
        "NoCredentials",
        "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
        scope="account",
    )


async def test_half_a_key_is_reported_and_not_raised():
    outcome = await outcome_at("http://127.0.0.1:1", keys={"AWS_ACCESS_KEY_ID": "AKID"})
    assert outcome.code == "NoCredentials"
    assert "secret_key" in outcome.reason or "AWS_SECRET_ACCESS_KEY" in outcome.reason


@pytest.mark.parametrize("output", ["exit 3", "echo not json", 'echo {\\"Version\\":1}', "sleep 0"])
async def test_a_credential_process_that_fails_is_unavailable(output, tmp_path):
    config = tmp_path / "config"
    config.write_text(f'[default]\ncredential_process = /bin/sh -c "{output.replace(chr(92), chr(92) * 2)}"\n')
    outcome = await outcome_at("http://127.0.0.1:1", keys={}, environment={"AWS_CONFIG_FILE": str(config)})
    assert outcome.code == "NoCredentials"
    assert "check the role or profile" in outcome.reason


async def test_a_profile_gives_key_and_endpoint(tmp_path):
    with simulated_ses() as ses:
        config = tmp_path / "config"
        config.write_text(
            "[profile mail]\nservices = local\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n"
            f"[services local]\nses =\n  endpoint_url = {ses.url}\nsesv2 =\n  endpoint_url = {ses.url}\n"
        )
        environment = {"AWS_PROFILE": "mail", "AWS_CONFIG_FILE": str(config)}
        async with relay_client("", keys={}, environment=environment) as client:
            assert isinstance(await client.send(SMALL, may_always), Accepted)
            assert (await client._credentials.current()).access_key == "AKIDPROFILE"


class Frozen:
    def __init__(self, access_key):
        self.access_key, self.secret_key, self.token = access_key, "secret", None


class Found:
    def __init__(self, access_key):
        self.answer = Frozen(access_key)

    async def get_frozen_credentials(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Environment:
    """Sessions of an AWS environment that changes while the worker runs."""

    def __init__(self, *found):
        self.found = list(found)
        self.looks = 0
        self.now = 0.0

    def __call__(self):
        return self

    async def get_credentials(self):
        self.looks += 1
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found

    def source(self):
        return CredentialSource(self, clock=lambda: self.now)


async def test_a_missing_key_is_looked_for_again_but_not_for_every_call():
    environment = Environment(None, Found("new"))
    source = environment.source()
    for now in (0, 3, 9.9):
        environment.now = now
        with pytest.raises(NoCredentials, match="set AWS_ACCESS_KEY_ID"):
            await source.current()
    assert environment.looks == 1
    environment.now = 10
    assert (await source.current()).access_key == "new"
    assert environment.looks == 2


async def test_many_calls_at_once_look_once():
    environment = Environment(Found("a"))
    source = environment.source()
    await asyncio.gather(*(source.current() for _ in range(20)))
    assert environment.looks == 1


async def test_a_key_that_ses_does_not_know_is_read_again():
    environment = Environment(Found("old"), Found("new"))
    source = environment.source()
    assert (await source.current()).access_key == "old"
    source.refused()
    assert (await source.current()).access_key == "old"  # looked at a moment ago
    environment.now = 10
    source.refused()
    assert (await source.current()).access_key == "new"


@pytest.mark.parametrize("error", [RuntimeError("expired"), TimeoutError(), KeyError("x"), OSError(5, "x")])
async def test_credentials_that_cannot_be_renewed_are_unavailable_until_they_can(error):
    found = Found("key")
    environment = Environment(found)
    source = environment.source()
    await source.current()
    good, found.answer = found.answer, error
    environment.now = 2
    with pytest.raises(NoCredentials, match=r"could not be renewed .*; check the role"):
        await source.current()
    found.answer = good
    assert (await source.current()).access_key == "key"


async def test_a_refused_key_is_exchanged_for_the_one_in_the_file_now(tmp_path):
    error = b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>"
    keys = tmp_path / "credentials"
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = s\n"
    keys.write_text(text.format("OLD"))
    now = 0.0
    async with (
        recording_server(answers=(b"403 Forbidden", error)) as (url, heads),
        relay_client(url, keys={}, environment={"AWS_SHARED_CREDENTIALS_FILE": str(keys)}) as client,
    ):
        client._credentials._clock = lambda: now
        assert type(await client.send(SMALL, may_always)) is Unavailable
        keys.write_text(text.format("NEW"))
        now = 100.0
        await client.send(SMALL, may_always)  # still the old key; its refusal makes the file be read again
        await client.send(SMALL, may_always)
    assert [head["authorization"].split("Credential=")[1][:3] for head in heads] == ["OLD", "OLD", "NEW"]


def certificate(directory):
    """A throw-away authority that is the server as well; (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "authority.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_the_authorities_of_aws_ca_bundle_are_trusted_and_others_are_not(tmp_path):
    authority, key = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority, key)
    async with recording_server(tls) as (url, heads):
        outcome = await outcome_at(url)
        assert type(outcome) is Unavailable
        assert "certificate verify failed" in outcome.reason
        assert heads == []
        for call in (SMALL, LARGE):
            assert isinstance(await outcome_at(url, call, environment={"AWS_CA_BUNDLE": str(authority)}), Accepted)


async def test_a_call_goes_through_the_proxy_of_the_environment():
    async with recording_server() as (proxy, heads):
        for value in (proxy, proxy.removeprefix("http://")):
            environment = {"AWS_ENDPOINT_URL_SES": "http://ses.invalid:8080", "HTTP_PROXY": value}
            async with relay_client("", environment=environment) as client:
                assert isinstance(await client.send(SMALL, may_always), Accepted)
    assert [head[""] for head in heads] == ["POST http://ses.invalid:8080/ HTTP/1.1"] * 2
    assert heads[0]["host"] == "ses.invalid:8080"


async def test_a_proxy_that_is_not_there_is_unavailable():
    environment = {"AWS_ENDPOINT_URL_SES": "https://ses.invalid", "HTTPS_PROXY": "http://127.0.0.1:1"}
    assert type(await outcome_at("", environment=environment)) is Unavailable


@pytest.mark.parametrize(
    ("url", "is_proxied"),
    [
        ("https://email.us-east-1.amazonaws.com/", True),
        ("http://10.0.0.5:2581/", True),
        ("https://ses.internal.example.com/", False),
        ("http://localhost:2581/", False),
        ("http://127.0.0.1:2581/", False),
        ("http://[::1]:2581/", False),
        ("http://127.8.9.1/", False),
    ],
)
def test_the_local_simulator_and_no_proxy_are_reached_directly(url, is_proxied, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "internal.example.com")
    assert (proxy_for(URL(url)) == "http://proxy:3128") is is_proxied


@pytest.mark.parametrize(
    ("base", "url", "host"),
    [
        ("https://h", "https://h/", "h"),
        ("https://h:443", "https://h/", "h"),
        ("https://h:80", "https://h:80/", "h:80"),
        ("http://user:secret@h:8080/p/", "http://h:8080/p/", "h:8080"),
        ("http://[::1]:2581", "http://[::1]:2581/", "[::1]:2581"),
    ],
)
def test_an_endpoint_keeps_what_botocore_would_sign(base, url, host):
    endpoint = make_endpoint(base, "/")
    assert (str(endpoint.url), endpoint.host) == (url, host)
