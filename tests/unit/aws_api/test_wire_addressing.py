import pytest

from aws_api.wire.addressing import by_form, by_path, by_target, may_be_form
from aws_api.wire.services import Service

SERVICES = (Service("workmailmessageflow"), Service("sesv2"), Service("ses"))


@pytest.mark.parametrize(
    ("method", "path", "operation", "in_path"),
    [
        ("GET", "/messages/abc", "GetRawMessageContent", {"messageId": "abc"}),
        ("POST", "/messages/abc", "PutRawMessageContent", {"messageId": "abc"}),
        ("GET", "/messages/x%2F..%2Fy", "GetRawMessageContent", {"messageId": "x%2F..%2Fy"}),
        ("GET", "/messages/abc?x=/messages/", "GetRawMessageContent", {"messageId": "abc"}),
        ("POST", "/v2/email/outbound-emails", "SendEmail", {}),
        ("GET", "/v2/email/account", "GetAccount", {}),
        ("GET", "/v2/email/contact-lists/a/contacts/b", "GetContact", {"ContactListName": "a", "EmailAddress": "b"}),
        ("GET", "/v2/email/deliverability-dashboard/test-reports", "ListDeliverabilityTestReports", {}),
    ],
)
def test_a_rest_operation_is_known_by_method_and_path(method, path, operation, in_path):
    found = by_path(SERVICES, method, path)
    assert found is not None
    assert (found.operation.name, found.in_path) == (operation, in_path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/messages"),
        ("GET", "/messages/"),
        ("GET", "/messages/a/b"),
        ("GET", "/messages/a/"),
        ("HEAD", "/messages/a"),
        ("DELETE", "/messages/a"),
        ("GET", "/admin/messages/a"),
        ("GET", "/x/messages/a"),
        ("GET", "/healthz"),
    ],
)
def test_other_requests_are_for_no_operation(method, path):
    assert by_path(SERVICES, method, path) is None


def test_a_target_names_the_operation_of_the_json_protocols():
    assert by_target("POST", "/", "MailManagerSvc.ListArchives") == "ListArchives"
    assert by_target("POST", "/", "<script>") == "of this X-Amz-Target"
    assert by_target("POST", "/", "") is None
    assert by_target("GET", "/healthz", "MailManagerSvc.ListArchives") is None


def test_a_form_names_its_action_and_the_first_one_counts():
    assert may_be_form("POST", "/", "application/x-www-form-urlencoded")
    assert not may_be_form("POST", "/admin/pause", "application/x-www-form-urlencoded")
    assert by_form(b"Action=SendRawEmail&Version=2010-12-01&Action=Other") == "SendRawEmail"
    assert by_form(b"AWSAccessKeyId=x&Action=SendEmail") == "SendEmail"
    for none in (b"", b"a=b", b"Action=", b"Action=%3Cscript%3E", b"\xff\xfe", b"&" * 1000):
        assert by_form(none) is None
