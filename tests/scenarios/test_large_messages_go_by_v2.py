"""A message too large for SES v1 goes by v2, from SMTP to SES's ledger, in the same batches and to the byte."""

import hashlib

import pytest

from tests.line import Line

pytestmark = pytest.mark.processes

MIB = 2**20


def test_a_large_mail_arrives_whole_by_v2_and_a_small_one_by_v1():
    large = b"Subject: large\r\n\r\n" + (b"x" * 74 + b"\r\n") * (8 * MIB // 76)
    small = b"Subject: small\r\n\r\nHello.\r\n"
    with Line() as line:
        line.gateway()
        line.worker()
        everybody = [f"r{number}@example.net" for number in range(51)]
        by_v2 = line.send_mail(everybody, large)
        by_v1 = line.send_mail(["r@example.net"], small)
        line.wait_for([by_v2, by_v1])
        operations = {}
        for event in line.events_of_ses():
            (batch,), (operation,) = (event["mail"]["tags"][name] for name in ("sluice-batch", "ses:operation"))
            operations.setdefault(operation, set()).add(batch)
        assert operations == {"SendEmail": {f"{by_v2}.1", f"{by_v2}.2"}, "SendRawEmail": {f"{by_v1}.1"}}
        for entry in line.ledger():
            content = line.raw(entry)
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]
            assert content.endswith(large if entry["tags"]["sluice-batch"].startswith(by_v2) else small)
        account = line.account([by_v2, by_v1])
        account.assert_clean()
        assert account.by_state == {"sent": 52}
