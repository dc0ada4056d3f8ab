"""The environment that decides where our processes and functions find AWS: the simulator, or the real one.

With the simulator nothing may reach a real account by mistake: the endpoints are ours, the credentials are dummies,
and profiles, roles and the instance's metadata are out of sight. With `aws` the ordinary environment is not touched.
"""

import os
from collections.abc import Collection, Mapping

from config.settings import Settings
from config.settings_source import variable_of

#: Tells every process that SES's events can be read, and where: the simulator has them in a queue.
FEEDBACK_VARIABLE = variable_of("feedback", "queue_url")
#: Of the simulator (simulator/sqs_calls.py, simulator/event_routes.py), which takes no name from us.
_QUEUE_PATH = "/sqs/123456789012/ses-events"
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

#: What AWS clients inside a function need to reach the simulator and nothing else.
SEEN_BY_FUNCTIONS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",  # there only with temporary keys for an S3 of the operator's own
    "AWS_EC2_METADATA_DISABLED",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "NO_PROXY",
    "no_proxy",
)


def feedback_environ(settings: Settings) -> dict[str, str]:
    """Where SES's events come from beside the simulator, unless the operator named a place."""
    if settings.feedback.queue_url or settings.feedback.simulator_url:
        return {}
    return {FEEDBACK_VARIABLE: simulator_queue_url(settings)}


def simulator_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process whose SES, S3 and queue of events are the simulator.

    Who keeps contents in a bucket, or names an S3 (MinIO for instance), needs keys of their own: these stay as they
    are, and the endpoints of SES keep mail from a real account.
    """
    url = simulator_url(settings)
    endpoints = {
        "AWS_ENDPOINT_URL_SES": url,
        "AWS_ENDPOINT_URL_SESV2": url,
        "AWS_ENDPOINT_URL_SNS": url,
        "AWS_ENDPOINT_URL_SQS": url,
        "NO_PROXY": _with_host(environ.get("NO_PROXY", ""), settings.simulator.host),
        "no_proxy": _with_host(environ.get("no_proxy", ""), settings.simulator.host),
    }
    if settings.spool.content_store.startswith("s3://"):
        return {**_without(environ, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"}), **endpoints}
    if environ.get("AWS_ENDPOINT_URL_S3"):
        kept = _without(environ, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"})
        # A profile or a role of theirs would lose against keys in the environment, and may need the real STS.
        missing = {} if kept.keys() & LEADING_ELSEWHERE else {**_dummies(environ), "AWS_ENDPOINT_URL_STS": url}
        return {**missing, **kept, **endpoints, **_for_functions(settings, environ)}
    return {
        **_without(environ, LEADING_ELSEWHERE),
        **endpoints,
        **_dummies(environ),
        "AWS_ENDPOINT_URL_S3": f"{url}/s3",
        "AWS_ENDPOINT_URL_STS": url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **_for_functions(settings, environ),
    }


def api_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the API beside the simulator: clients on this machine may use any key."""
    found = simulator_environ(settings, environ)
    if "trust_loopback" not in settings.api.model_fields_set:
        found[variable_of("api", "trust_loopback")] = "true"
    return found


def _dummies(environ: Mapping[str, str]) -> dict[str, str]:
    region = environ.get("AWS_REGION") or REGION
    return {
        "AWS_ACCESS_KEY_ID": "simulator",
        "AWS_SECRET_ACCESS_KEY": "simulator",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _for_functions(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Functions of this machine see the keys as well; with the real AWS only what the operator passes on."""
    name = variable_of("functions", "pass_environment")
    if name in environ:
        return {}
    return {name: ",".join(dict.fromkeys((*settings.functions.pass_environment, *SEEN_BY_FUNCTIONS)))}


def _without(environ: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in names}


def simulator_url(settings: Settings) -> str:
    """Where the simulator is reached from this machine."""
    return f"http://{address(settings.simulator.host, settings.simulator.port)}"


def simulator_queue_url(settings: Settings) -> str:
    """The queue that the simulator's events come to."""
    return f"{simulator_url(settings)}{_QUEUE_PATH}"


def reachable(host: str) -> str:
    """The address to connect to for an address that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1", "localhost": "127.0.0.1"}.get(host, host)


def address(host: str, port: int) -> str:
    """`host:port` for people and URLs."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _with_host(hosts: str, host: str) -> str:
    return ",".join(filter(None, (hosts, reachable(host))))
