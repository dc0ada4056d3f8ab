"""The certificate that new connections get."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from smtp_gateway.certificates import Certificates, WrongCertificate
from tests.dialogues.stand import until, write_certificate


def test_a_missing_or_broken_certificate_is_named_at_the_start(tmp_path: Path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with pytest.raises(WrongCertificate, match=r"cert\.pem"):
        Certificates(certificate, key)
    certificate.write_text("nothing")
    key.write_text("nothing")
    with pytest.raises(WrongCertificate, match=r"cert\.pem"):
        Certificates(certificate, key)


def shown(context: ssl.SSLContext) -> bytes:
    """The certificate that a handshake in memory shows."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_shown_on_the_live_context(tmp_path: Path):
    certificates = Certificates(*write_certificate(tmp_path, "one.test"))
    context, first = certificates.context, shown(certificates.context)
    write_certificate(tmp_path, "two.test")
    assert certificates.reload() is True
    assert certificates.context is context
    assert shown(context) not in {first, b""}


@pytest.mark.parametrize("broken", ["key.pem", "cert.pem"])
def test_a_broken_pair_keeps_the_old_one(tmp_path: Path, broken: str):
    certificates = Certificates(*write_certificate(tmp_path, "one.test"))
    first = shown(certificates.context)
    good = (tmp_path / broken).read_bytes()
    write_certificate(tmp_path, "two.test")
    (tmp_path / broken).write_bytes(good)  # a certificate and a key that do not belong together
    assert certificates.reload() is False
    assert shown(certificates.context) == first
    (tmp_path / broken).unlink()
    assert certificates.reload() is False
    assert shown(certificates.context) == first


async def test_a_changed_file_is_seen_by_itself(tmp_path: Path):
    certificates = Certificates(*write_certificate(tmp_path, "one.test"))
    first = shown(certificates.context)
    watching = asyncio.create_task(certificates.run(every_seconds=0.01))
    for path in write_certificate(tmp_path, "two.test"):
        os.utime(path, ns=(1, 1))
    await until(lambda: shown(certificates.context) != first)
    watching.cancel()
