"""Whom TLS connections to the world trust: the system's authorities and the list that comes with botocore.

A bare container image has no authorities of its own; a private one is named by SSL_CERT_FILE, as OpenSSL has it.
"""

import ssl
from functools import lru_cache
from pathlib import Path

import botocore


@lru_cache(maxsize=1)  # a megabyte, and never another one
def trusted_authorities() -> ssl.SSLContext:
    """Verifies certificates and host names; TLS 1.2 at least."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(Path(botocore.__file__).with_name("cacert.pem"))
    return context
