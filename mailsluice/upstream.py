"""The environment that decides where a worker sends: the simulator, or the real AWS.

With the simulator nothing may reach a real account by mistake: the endpoints are ours, the credentials are dummies,
and profiles, roles and the instance's metadata are out of sight. With `aws` the ordinary environment is not touched.
"""

import os
from collections.abc import Mapping

from config.settings import Settings
from config.settings_source import variable_of

#: Tells every process that SES's events can be read, and where: the simulator has them.
FEEDBACK_VARIABLE = variable_of("feedback", "simulator_url")
REGION = "us-east-1"
#: Variables that could lead a worker of the simulator to a real account or another endpoint.
LEADING_ELSEWHERE = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    }
)


def simulator_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker whose SES is the simulator."""
    url = simulator_url(settings)
    endpoints = {
        "AWS_ENDPOINT_URL_SES": url,
        "AWS_ENDPOINT_URL_SESV2": url,
        "NO_PROXY": _with_host(environ.get("NO_PROXY", ""), settings.simulator.host),
        "no_proxy": _with_host(environ.get("no_proxy", ""), settings.simulator.host),
    }
    if settings.spool.content_store.startswith("s3://"):
        # The bucket needs the operator's own credentials; the endpoints above keep mail from a real account.
        kept = {name: value for name, value in environ.items() if name != "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"}
        return {**kept, **endpoints}
    return {
        **{name: value for name, value in environ.items() if name not in LEADING_ELSEWHERE},
        **endpoints,
        "AWS_ACCESS_KEY_ID": "simulator",
        "AWS_SECRET_ACCESS_KEY": "simulator",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def simulator_url(settings: Settings) -> str:
    """Where the simulator is reached from this machine."""
    return f"http://{address(settings.simulator.host, settings.simulator.port)}"


def reachable(host: str) -> str:
    """The address to connect to for an address that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def address(host: str, port: int) -> str:
    """`host:port` for people and URLs."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _with_host(hosts: str, host: str) -> str:
    return ",".join(filter(None, (hosts, reachable(host))))
