"""GetSendQuota of the v1 API, as the unmodified client sees it."""

from simulated_ses import simulated_ses


def test_the_quota_counts_recipients():
    with simulated_ses(max_send_rate=14, max_24_hour_send=200) as ses:
        client = ses.client("ses")
        client.send_raw_email(
            Source="a@example.com",
            Destinations=[f"r{number}@example.com" for number in range(3)],
            RawMessage={"Data": b"\r\n"},
        )
        quota = client.get_send_quota()
        assert (quota["Max24HourSend"], quota["MaxSendRate"], quota["SentLast24Hours"]) == (200.0, 14.0, 3.0)


def test_unlimited_is_minus_one():
    with simulated_ses() as ses:
        quota = ses.client("ses").get_send_quota()
        assert (quota["Max24HourSend"], quota["MaxSendRate"], quota["SentLast24Hours"]) == (-1.0, -1.0, 0.0)
