"""What `mailsluice up` prints when everything is ready: where things are, and a line that sends a first mail."""

import ipaddress

from config.settings import Settings
from config.settings_source import variable_of
from mailsluice.preflight import without_secrets
from mailsluice.upstream import address, reachable


def welcome(settings: Settings, *, has_simulator: bool, after_seconds: float) -> str:
    """The text, ending with the line to copy and where to look afterwards."""
    pages = f"http://{address(settings.simulator.host, settings.simulator.port)}/"
    places = [
        ("SMTP", address(settings.smtp.host, settings.smtp.port), "point your application here"),
        ("SMTP, TLS", address(settings.smtp.host, settings.smtp.tls_port), "the same, encrypted from the first byte")
        if settings.smtp.tls_port
        else None,
        (
            "API",
            f"http://{address(settings.api.host, settings.api.port)}/",
            "endpoint_url for boto3's ses and sesv2; also /healthz, /metrics",
        ),
        ("Simulator", pages, "every mail that the simulated SES took; an S3 under /s3") if has_simulator else None,
        ("Flower", f"http://{address(settings.flower.host, settings.flower.port)}/", "the workers and their tasks")
        if settings.flower.port
        else None,
        ("Redis", without_secrets(settings.redis.url), "") if settings.redis.url else None,
        ("Rules", str(settings.rules.file.absolute()), "") if settings.rules.file else None,
        ("Data", str(settings.data.dir.absolute()), ""),
        ("Events", str(settings.events_file.absolute()), "") if "file" in settings.events.destinations else None,
    ]
    lines = [f"  {name:10} {place:35} {note}".rstrip() for name, place, note in filter(None, places)]
    seen = f"see it at {pages}" if has_simulator else "see what waits with `mailsluice queue`"
    head = f"mailsluice is ready after {after_seconds:.1f} s. Ctrl-C stops it."
    if is_open_to_this_machine(settings):
        send = [f"Send a first mail, {seen}", "", f"  {first_mail(settings, has_simulator=has_simulator)}"]
        send += ["", "`mailsluice doctor` looks at all of it, and shows that the events of SES come back."]
    else:
        send = [user_is_needed(settings)]
    return "\n".join(["", head, "", *lines, "", *send, "", ""])


def is_open_to_this_machine(settings: Settings) -> bool:
    """Whether a client on this machine may submit without a user; it comes from the address that it connects to."""
    try:
        client = ipaddress.ip_address(reachable(settings.smtp.host))
    except ValueError:  # a name: of this machine, else it could not be listened on
        client = ipaddress.ip_address("127.0.0.1")
    return any(client in network for network in settings.smtp.allowed_networks)


def user_is_needed(settings: Settings) -> str:
    """The sentence in place of a line that the gateway would refuse."""
    needed = f"This machine is not in {variable_of('smtp', 'allowed_networks')}, so a first mail needs a user: "
    add = "make one with `mailsluice user add NAME`"
    if settings.smtp.auth_without_tls or settings.smtp.tls_certificate_file:
        return f"{needed}{add}."
    files = f"{variable_of('smtp', 'tls_certificate_file')} and {variable_of('smtp', 'tls_key_file')}"
    return f"{needed}{add}, and set {files}, because users log in over TLS only."


def first_mail(settings: Settings, *, has_simulator: bool) -> str:
    """A shell line that needs nothing but a Python 3. The real SES takes only a sender that was verified there."""
    sender = "app@example.com" if has_simulator else "YOU@YOUR-VERIFIED-DOMAIN"
    recipient = "you@example.com" if has_simulator else "success@simulator.amazonses.com"
    text = f"From: {sender}\\nTo: {recipient}\\nSubject: First mail\\n\\nHello."
    return (
        f"python3 -c \"import smtplib; smtplib.SMTP('{reachable(settings.smtp.host)}', {settings.smtp.port})"
        f".sendmail('{sender}', ['{recipient}'], '{text}')\""
    )
