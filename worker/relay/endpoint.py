"""Where the SES calls go, and over what: URL, region, proxy and trusted authorities, as the AWS environment says.

AWS_ENDPOINT_URL_SES and _SESV2, profiles, FIPS and dual-stack settings are resolved by botocore. AWS_REGION is
honoured as the other AWS tools do; botocore alone reads AWS_DEFAULT_REGION only. HTTP_PROXY, HTTPS_PROXY and NO_PROXY
are honoured as botocore does, read once at the start, but never for a loopback address: the local simulator is not
behind anyone's proxy.
"""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.request import getproxies, proxy_bypass

from botocore.exceptions import ProfileNotFound
from botocore.httpsession import get_cert_path
from yarl import URL

from config.aws_clients import aws_session
from config.settings import RouteSettings
from worker.relay.wire import V2_PATH

DEFAULT_REGION = "us-east-1"
# A client made for its endpoint alone: missing or broken keys must not stop the worker there.
_UNUSED_KEYS = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of SES."""

    url: URL
    #: As signed and sent.
    host: str
    path: str
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Both APIs of one route."""

    region: str
    v1: Endpoint
    v2: Endpoint
    #: AWS_CA_BUNDLE or the profile's ca_bundle.
    authorities_file: str | None


async def endpoints_for(route: RouteSettings) -> Endpoints:
    """Where a route's calls go. Raises botocore's errors for a region or URL that makes no sense.

    A profile that there is not decides nothing here: its route's calls say so, and other routes work.
    """
    try:
        region, profile = region_of(route.region, route.profile), route.profile
    except ProfileNotFound:
        region, profile = region_of(route.region), ""
    session = aws_session(region, profile=profile)
    return Endpoints(
        region,
        make_endpoint(route.endpoint_url or await _base_url(session, "ses"), "/"),
        make_endpoint(route.endpoint_url or await _base_url(session, "sesv2"), V2_PATH),
        session._session.get_config_variable("ca_bundle"),  # noqa: SLF001 - aioboto3 has no way to ask
    )


async def _base_url(session: Any, service: str) -> str:
    async with session.client(service, **_UNUSED_KEYS) as client:
        return str(client.meta.endpoint_url)


def make_endpoint(base: str, path: str) -> Endpoint:
    """The operation `path` of the service at `base`, which may have a path of its own."""
    address = URL(base)
    url = address.with_user(None).with_path(address.raw_path.rstrip("/") + path, encoded=True)
    is_default_port = url.explicit_port in {None, 443 if url.scheme == "https" else 80}
    host = url.host_subcomponent or ""
    return Endpoint(url, host if is_default_port else f"{host}:{url.port}", url.raw_path, proxy_for(url))


def proxy_for(url: URL) -> str | None:
    """The proxy that the environment names for this URL."""
    host = url.host or ""
    proxy = getproxies().get(url.scheme)
    if not proxy or _is_loopback(host) or proxy_bypass(f"{host}:{url.port}"):
        return None
    return proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def region_of(setting: str, profile: str = "") -> str:
    """The setting, else AWS_REGION, else what botocore finds (AWS_DEFAULT_REGION, profile), else us-east-1."""
    return aws_session(setting, profile=profile).region_name or DEFAULT_REGION


@lru_cache(maxsize=8)  # a megabyte each, and the same for nearly all routes
def tls_context(authorities_file: str | None) -> ssl.SSLContext:
    """Trusts AWS_CA_BUNDLE alone when it is given, else the system's authorities and botocore's list.

    A bare container image has no authorities of its own.
    """
    if authorities_file:
        return ssl.create_default_context(cafile=authorities_file)
    context = ssl.create_default_context()
    context.load_verify_locations(get_cert_path(verify=True))
    return context
