"""The TLS certificate: one live context for STARTTLS and the implicit port, reloaded without a restart.

A changed file is tried on a context of its own first: OpenSSL leaves a live context with half of a broken pair. What
cannot be used is logged and the old certificate stays. Connections keep the certificate they began with.
"""

import asyncio
import ssl
from pathlib import Path

from config.errors import Refused
from config.logs import get_log

Signature = tuple[tuple[int, int, int], ...]


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
            raise WrongCertificate(f"{certificate}, {key}: cannot be used: {error}") from error

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


def _signature(*paths: Path) -> Signature:
    return tuple(_signature_of(path) for path in paths)


def _signature_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
