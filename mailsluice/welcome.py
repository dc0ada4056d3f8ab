"""What `mailsluice up` prints when everything is ready: where things are, and a line that sends a first mail."""

from config.settings import Settings
from mailsluice.preflight import without_secrets
from mailsluice.upstream import address, reachable


def welcome(settings: Settings, *, has_simulator: bool, after_seconds: float) -> str:
    """The text, ending with the line to copy and where to look afterwards."""
    pages = f"http://{address(settings.simulator.host, settings.simulator.port)}/"
    places = [
        ("SMTP", address(settings.smtp.host, settings.smtp.port), "point your application here"),
        ("API", f"http://{address(settings.api.host, settings.api.port)}/healthz", "also /metrics"),
        ("Simulator", pages, "every mail that the simulated SES took") if has_simulator else None,
        ("Flower", f"http://{address(settings.flower.host, settings.flower.port)}/", "the workers and their tasks")
        if settings.flower.port
        else None,
        ("Redis", without_secrets(settings.redis.url), "") if settings.redis.url else None,
        ("Data", str(settings.data.dir.absolute()), ""),
        ("Events", str(settings.events_file.absolute()), "") if "file" in settings.events.destinations else None,
    ]
    lines = [f"  {name:10} {place:35} {note}".rstrip() for name, place, note in filter(None, places)]
    seen = f"see it at {pages}" if has_simulator else "see what waits with `mailsluice queue`"
    head = f"mailsluice is ready after {after_seconds:.1f} s. Ctrl-C stops it."
    send = f"Send a first mail, {seen}"
    return "\n".join(
        ["", head, "", *lines, "", send, "", f"  {first_mail(settings, has_simulator=has_simulator)}", "", ""]
    )


def first_mail(settings: Settings, *, has_simulator: bool) -> str:
    """A shell line that needs nothing but a Python 3. The real SES takes only a sender that was verified there."""
    sender = "app@example.com" if has_simulator else "YOU@YOUR-VERIFIED-DOMAIN"
    recipient = "you@example.com" if has_simulator else "success@simulator.amazonses.com"
    text = f"From: {sender}\\nTo: {recipient}\\nSubject: First mail\\n\\nHello."
    return (
        f"python3 -c \"import smtplib; smtplib.SMTP('{reachable(settings.smtp.host)}', {settings.smtp.port})"
        f".sendmail('{sender}', ['{recipient}'], '{text}')\""
    )
