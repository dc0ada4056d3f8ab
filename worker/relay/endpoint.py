"""Where the SES calls go, and over what: URL, region, proxy and trusted authorities, as the AWS environment says.

AWS_ENDPOINT_URL_SES and _SESV2, profiles, FIPS and dual-stack settings are resolved by botocore. AWS_REGION is
honoured as the other AWS tools do; botocore alone reads AWS_DEFAULT_REGION only. HTTP_PROXY, HTTPS_PROXY and NO_PROXY
are honoured as botocore does, read once at the start, but never for a loopback address: the local simulator is not
behind anyone's proxy.
"""

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from botocore.httpsession import get_cert_path
from yarl import URL

from config.aws_clients import aws_session

DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of SES."""

    url: URL
    #: As signed and sent.
    host: str
    path: str
    proxy: str | None = None


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


def region_of(setting: str) -> str:
    """The setting, else AWS_REGION, else what botocore finds (AWS_DEFAULT_REGION, profile), else us-east-1."""
    return aws_session(setting).region_name or DEFAULT_REGION


def tls_context(authorities_file: str | None) -> ssl.SSLContext:
    """Trusts AWS_CA_BUNDLE alone when it is given, else the system's authorities and botocore's list.

    A bare container image has no authorities of its own.
    """
    if authorities_file:
        return ssl.create_default_context(cafile=authorities_file)
    context = ssl.create_default_context()
    context.load_verify_locations(get_cert_path(verify=True))
    return context
