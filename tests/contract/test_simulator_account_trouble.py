"""What an account in trouble answers, as the unmodified client sees it on both APIs."""

import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

from tests.line import wait_until

RAW = b"From: Ann <contact@example.com>\r\nTo: bob@example.org\r\n\r\nbody\r\n"
INBOX = " For more information, please check the inbox of the email address associated with your AWS account."


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send_v1(ses, raw=RAW, region="us-east-1", **parameters):
    return ses.client("ses", region=region).send_raw_email(RawMessage={"Data": raw}, **parameters)


def send_v2(ses, raw=RAW, **parameters):
    return ses.client("sesv2").send_email(Content={"Raw": {"Data": raw}}, **parameters)


def error_of(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response


def code_and_text(call, *args, **kwargs):
    error = error_of(call, *args, **kwargs)["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("state", "v1", "v2", "text"),
    [
        ("paused", "AccountSendingPausedException", "SendingPausedException", "Email sending is paused"),
        ("paused_by_aws", "MessageRejected", "SendingPausedException", f"Sending paused for this account.{INBOX}"),
        ("suspended", "MessageRejected", "AccountSuspendedException", f"Sending suspended for this account.{INBOX}"),
    ],
)
def test_an_account_that_may_not_send_says_who_stopped_it(ses, state, v1, v2, text):
    assert ses.json("PUT", "/pause", {"state": state}) == {"state": state}
    for send, code in ((send_v1, v1), (send_v2, v2)):
        answer = error_of(send, ses)
        assert answer["Error"]["Code"] == code
        assert answer["Error"]["Message"].startswith(text)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert ses.ledger() == []
    assert ses.violations() == {"paused": 2}
    assert ses.client("ses").get_send_quota()["SentLast24Hours"] == 0
    assert ses.client("sesv2").get_account()["SendingEnabled"] is False
    ses.json("PUT", "/pause", {"state": "running"})
    send_v1(ses)
    send_v2(ses)
    assert ses.json("GET", "/pause") == {"state": "running"}
    assert ses.client("sesv2").get_account()["SendingEnabled"] is True


def test_the_typed_exceptions_of_the_client_are_raised(ses):
    ses.json("PUT", "/pause", {"state": "paused"})
    v1, v2 = ses.client("ses"), ses.client("sesv2")
    with pytest.raises(v1.exceptions.AccountSendingPausedException):
        v1.send_raw_email(RawMessage={"Data": RAW})
    ses.json("PUT", "/pause", {"state": "suspended"})
    with pytest.raises(v2.exceptions.AccountSuspendedException):
        v2.send_email(Content={"Raw": {"Data": RAW}})


@pytest.mark.parametrize("wrong", [b"", b"{}", b'{"state": "off"}', b'{"state": "paused", "x": 1}', b'"paused"'])
def test_a_wrong_state_is_refused_and_changes_nothing(ses, wrong):
    assert ses.request("PUT", "/pause", wrong)[0] == 400
    assert ses.json("GET", "/pause") == {"state": "running"}


def test_the_sandbox_refuses_what_is_not_verified_with_the_words_of_the_real_service():
    text = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
    with simulated_ses(sandbox=True, verified_identities=("example.org",)) as ses:
        expected = ("MessageRejected", f"{text}Ann <contact@example.com>, contact@example.com")
        assert code_and_text(send_v1, ses, Source="contact@example.com") == expected
        assert code_and_text(send_v2, ses, FromEmailAddress="Ann <contact@example.com>") == expected
        ses.json("PUT", "/settings", {"verified_identities": ["contact@example.com"], "max_send_rate": 1000})
        to = ["bob@example.org", "contact@example.com", "carol@example.net"]
        expected = ("MessageRejected", f"{text}bob@example.org, carol@example.net")
        assert code_and_text(send_v1, ses, Destinations=to) == expected
        assert "region EU-CENTRAL-1: " in code_and_text(send_v1, ses, region="eu-central-1")[1]
        send_v1(ses, Destinations=["contact@example.com", "success+1@simulator.amazonses.com"])
        assert ses.violations() == {"unverified": 4, "largest_burst": 2}
        ses.json("PUT", "/settings", {"sandbox": False})
        send_v1(ses, Destinations=to)


def test_tags_are_looked_at_before_identities():
    with simulated_ses(sandbox=True) as ses:
        tags = [{"Name": "a b", "Value": "v"}]
        assert code_and_text(send_v1, ses, Tags=tags)[0] == "InvalidParameterValue"


def test_a_sandbox_is_slow_and_small():
    with simulated_ses(sandbox=True, verified_identities=("example.com", "example.org")) as ses:
        quota = ses.client("ses").get_send_quota()
        assert (quota["Max24HourSend"], quota["MaxSendRate"]) == (200, 1)
        assert ses.client("sesv2").get_account()["ProductionAccessEnabled"] is False
        send_v1(ses, Destinations=[f"r{number}@example.org" for number in range(50)])
        assert code_and_text(send_v1, ses) == ("Throttling", "Maximum sending rate exceeded.")
        ses.json("PUT", "/settings", {"max_send_rate": 1000, "max_24_hour_send": 500})
        assert ses.client("ses").get_send_quota()["Max24HourSend"] == 500


def test_a_configuration_set_must_exist_when_some_are_listed():
    with simulated_ses(configuration_sets=("known",)) as ses:
        send_v1(ses, ConfigurationSetName="known")
        answer = error_of(send_v1, ses, ConfigurationSetName="other&")
        assert answer["Error"]["Code"] == "ConfigurationSetDoesNotExist"
        assert answer["Error"]["Message"] == "Configuration set <other&> does not exist."
        assert answer["ConfigurationSetName"] == "other&"
        answer = error_of(send_v2, ses, ConfigurationSetName="other")
        assert answer["Error"]["Code"] == "NotFoundException"
        assert answer["Error"]["Message"] == "Configuration set <other> does not exist."
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert ses.violations()["other_refusals"] == 2


def test_a_paused_configuration_set_refuses_its_calls(ses):
    ses.json("PUT", "/settings", {"paused_configuration_sets": ["stopped"]})
    send_v1(ses, ConfigurationSetName="another")
    with pytest.raises(ses.client("ses").exceptions.ConfigurationSetSendingPausedException):
        send_v1(ses, ConfigurationSetName="stopped")
    assert code_and_text(send_v2, ses, ConfigurationSetName="stopped")[0] == "SendingPausedException"


def test_the_quota_may_be_forbidden_while_sending_is_allowed(ses):
    ses.json("PUT", "/settings", {"quota_forbidden": True})
    answer = error_of(ses.client("ses").get_send_quota)
    assert answer["Error"]["Code"] == "AccessDenied"
    assert "is not authorized to perform `ses:GetSendQuota'" in answer["Error"]["Message"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert error_of(ses.client("sesv2").get_account)["Error"]["Code"] == "AccessDeniedException"
    send_v1(ses)
    assert ses.violations() == {"quota_questions": 2, "largest_burst": 1}


def test_expired_credentials_are_refused_everywhere(ses):
    ses.json("PUT", "/settings", {"expired_token": True})
    calls = [
        (lambda: send_v1(ses), "ExpiredToken"),
        (ses.client("ses").get_send_quota, "ExpiredToken"),
        (lambda: send_v2(ses), "ExpiredTokenException"),
        (ses.client("sesv2").get_account, "ExpiredTokenException"),
    ]
    for call, code in calls:
        answer = error_of(call)
        assert answer["Error"]["Code"] == code
        assert answer["Error"]["Message"] == "The security token included in the request is expired"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    ses.json("PUT", "/settings", {"expired_token": False})
    send_v1(ses)


@pytest.mark.parametrize("send", [send_v1, send_v2])
def test_header_recipients_count_when_the_switch_says_so(ses, send):
    to = b", ".join(b"r%d@example.com" % number for number in range(30))
    raw = b"From: a@example.com\r\nTo: " + to + b"\r\nCc: " + to + b"\r\n\r\n"
    envelope = {
        send_v1: {"Destinations": ["one@example.com"]},
        send_v2: {"Destination": {"ToAddresses": ["one@example.com"]}},
    }[send]
    send(ses, raw, **envelope)
    ses.json("PUT", "/settings", {"header_recipients": "count"})
    code, text = code_and_text(send, ses, raw, **envelope)
    assert code in ("InvalidParameterValue", "BadRequestException")
    assert text == "Recipient count exceeds 50."
    send(ses, RAW, **envelope)


@pytest.mark.parametrize(("length", "is_refused"), [(998, False), (999, True)])
def test_long_lines_are_refused_when_the_switch_says_so(ses, length, is_refused):
    raw = RAW + b"x" * length + b"\r\nnext\r\n"
    send_v1(ses, raw)
    ses.json("PUT", "/settings", {"refuse_long_lines": True})
    if is_refused:
        assert code_and_text(send_v1, ses, raw)[0] == "InvalidParameterValue"
    else:
        send_v1(ses, raw)


def test_mail_of_others_is_told_and_used_up(ses):
    ses.json("PUT", "/settings", {"max_24_hour_send": 100, "others_sent": 99})
    assert ses.client("ses").get_send_quota()["SentLast24Hours"] == 99
    send_v1(ses)
    assert ses.client("ses").get_send_quota()["SentLast24Hours"] == 100
    assert code_and_text(send_v1, ses) == ("Throttling", "Daily message quota exceeded.")
    ses.json("PUT", "/settings", {"others_sent": 0})
    send_v1(ses)


def test_the_quota_ends_and_returns_when_its_window_has_passed(ses):
    ses.json("PUT", "/settings", {"max_24_hour_send": 1, "window_seconds": 600})
    send_v1(ses)
    assert code_and_text(send_v1, ses) == ("Throttling", "Daily message quota exceeded.")
    ses.json("PUT", "/settings", {"window_seconds": 1})
    wait_until(lambda: not ses.client("ses").get_send_quota()["SentLast24Hours"], "the window has passed")
    send_v1(ses)


def test_the_mailbox_simulator_uses_the_rate_and_not_the_quota(ses):
    ses.json("PUT", "/settings", {"max_24_hour_send": 1})
    for name in ("success", "bounce+1", "complaint", "ooto", "suppressionlist+x"):
        send_v1(ses, Destinations=[f"{name}@simulator.amazonses.com"])
    assert ses.client("ses").get_send_quota()["SentLast24Hours"] == 0
    send_v1(ses)
    send_v1(ses, Destinations=["success@simulator.amazonses.com"])
    assert code_and_text(send_v1, ses)[1] == "Daily message quota exceeded."
    ses.json("PUT", "/settings", {"max_send_rate": 0.01})
    send_v1(ses, Destinations=["success@simulator.amazonses.com"])
    answer = code_and_text(send_v1, ses, Destinations=["success@simulator.amazonses.com"])
    assert answer == ("Throttling", "Maximum sending rate exceeded.")


def test_the_figures_can_be_begun_again():
    with simulated_ses(max_send_rate=0.01) as ses:
        send_v1(ses, Destinations=["a@example.com", "b@example.com", "c@example.com"])
        error_of(send_v1, ses)
        figures = ses.json("DELETE", "/violations")
        assert (figures["rate"], figures["rate_recipients"]) == (1, 1)
        assert (figures["largest_burst"], figures["largest_debt"]) == (3, 2)
        assert ses.violations() == {}
        assert error_of(send_v1, ses)
        assert ses.violations() == {"rate": 1, "rate_recipients": 1}
