"""Our signature against botocore's signer, on the same request at the same instant."""

from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from worker.relay.signature import Credentials, signed_headers

TOKEN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
KEYS = st.text(TOKEN_CHARACTERS, min_size=1, max_size=60)
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
NAMES = st.from_regex(r"x-[a-z][a-z0-9-]{0,15}", fullmatch=True).filter(lambda name: not name.startswith("x-am"))
INSTANTS = st.integers(946_684_800, 4_070_908_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1"])
HOSTS = st.sampled_from(["email.us-east-1.amazonaws.com", "127.0.0.1:2581", "[::1]:2581", "ses.example.com:8443"])
PATHS = st.sampled_from(["/", "/v2/email/outbound-emails", "/prefix/v2/email/outbound-emails"])


def botocores_authorization(
    host: str, path: str, headers: dict[str, str], body: bytes, credentials: Credentials, region: str, now: datetime
) -> str:
    request = AWSRequest(method="POST", url=f"https://{host}{path}", data=body, headers={**headers, "host": host})
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    signer = SigV4Auth(
        BotoCredentials(credentials.access_key, credentials.secret_key, credentials.token or None), "ses", region
    )
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)
    return request.headers["Authorization"]


@given(
    HOSTS,
    PATHS,
    st.dictionaries(NAMES, HEADER_TEXT, max_size=3),
    st.binary(max_size=300),
    KEYS,
    KEYS,
    KEYS | st.just(""),
    REGIONS,
    INSTANTS,
)
def test_it_signs_as_botocore_does(host, path, more, body, access_key, secret_key, token, region, now):
    headers = {"content-type": "application/json", **more}
    credentials = Credentials(access_key, secret_key, token)
    ours = signed_headers(host, path, headers, body, credentials, region, now)
    assert ours["authorization"] == botocores_authorization(host, path, headers, body, credentials, region, now)
    assert ours.get("x-amz-security-token", "") == token


def test_the_key_of_one_day_is_not_used_on_the_next():
    credentials = Credentials("AKID", "secret")
    now = datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    for instant in (now, now + timedelta(seconds=1), now, now + timedelta(days=1)):
        for region in ("us-east-1", "eu-west-1"):
            ours = signed_headers("h", "/", {}, b"x", credentials, region, instant)
            assert ours["authorization"] == botocores_authorization("h", "/", {}, b"x", credentials, region, instant)


def test_the_headers_given_are_left_as_they_were():
    given_headers = {"content-type": "a"}
    signed_headers("h", "/", given_headers, b"", Credentials("a", "b"), "us-east-1", datetime(2025, 1, 1, tzinfo=UTC))
    assert given_headers == {"content-type": "a"}


def test_the_secret_does_not_appear_in_a_repr():
    assert "secret" not in repr(Credentials("AKIDEXAMPLE", "secret", "secret-token"))
