"""The TLS certificate: one live context for STARTTLS and the implicit port, reloaded without a restart.

A changed file is tried on a context of its own first: OpenSSL leaves a live context with half of a broken pair. What
cannot be used is logged and the old certificate stays. Connections keep the certificate they began with.
"""

import asyncio
import ssl
from pathlib import Path

from config.errors import Refused
from config.logs import get_log
from config.settings import SmtpSettings

Signature = tuple[tuple[int, int, int], ...]

#: What OpenSSL calls two files that are good, each for itself; the second when they are of different kinds (RSA, EC).
_MISMATCHES = {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


class WrongCertificate(Refused):
    """The certificate or the key cannot be used."""


class Certificates:
    """The pair of files and the context made of them. Raises WrongCertificate when they cannot be used at the start."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._loaded = _signature(certificate, key)
        try:
            self.context = self._fresh_context()
        except OSError as error:  # ssl.SSLError is one
            raise WrongCertificate(_why(certificate, key, error)) from error

    def reload(self) -> bool:
        """Takes the files as they are now into the live context; False = they cannot be used, the old ones stay."""
        self._loaded = _signature(self._certificate, self._key)
        try:
            self._fresh_context()
            self.context.load_cert_chain(self._certificate, self._key)
        except OSError as error:
            get_log().error("gateway.certificate_broken", file=str(self._certificate), error=str(error))
            return False
        get_log().info("gateway.certificate_loaded", file=str(self._certificate))
        return True

    async def run(self, *, every_seconds: float = 2.0) -> None:
        """Looks at the files until it is cancelled and reloads what changed."""
        while True:
            await asyncio.sleep(every_seconds)
            if _signature(self._certificate, self._key) != self._loaded:
                self.reload()

    def _fresh_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A key with a passphrase would ask the terminal; nobody sits there.
        context.load_cert_chain(self._certificate, self._key, password="")
        return context


def certificates_of(settings: SmtpSettings) -> Certificates | None:
    """The certificate that the settings name. Raises WrongCertificate."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    return Certificates(settings.tls_certificate_file, settings.tls_key_file)


def _why(certificate: Path, key: Path, error: OSError) -> str:
    """Sentences that name the file that is wrong and its setting: OpenSSL's own words name neither."""
    the_certificate, the_key = f"[smtp] tls_certificate_file {certificate}", f"[smtp] tls_key_file {key}"
    unread = [
        f"{name}: {trouble}; correct SLUICE_SMTP_TLS_{kind}_FILE"
        for name, kind, trouble in (
            (the_certificate, "CERTIFICATE", _unreadable(certificate)),
            (the_key, "KEY", _unreadable(key)),
        )
        if trouble
    ]
    if unread:
        return "\n".join(unread)
    if not _holds_certificates(certificate):
        return f"{the_certificate} holds no certificate that can be read: put a PEM chain there, our own first"
    reason = getattr(error, "reason", None)
    if reason in _MISMATCHES:
        return f"{the_key} is not the key of the certificate in {certificate}: put the two there that belong together"
    if reason:
        return f"{the_certificate}, {the_key}: OpenSSL does not take them: {reason.lower().replace('_', ' ')}"
    return f"{the_key} holds no private key that can be read: put one there, PEM, without a passphrase"


def _unreadable(path: Path) -> str:
    try:
        path.open("rb").close()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _holds_certificates(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError:
        return False
    return True


def _signature(*paths: Path) -> Signature:
    return tuple(_signature_of(path) for path in paths)


def _signature_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
