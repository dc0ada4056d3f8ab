"""The web page: everything of a mail is shown, and nothing of it acts."""

import re
from email.message import EmailMessage

import pytest
from simulated_ses import simulated_ses


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send(ses, raw):
    return ses.client("ses").send_raw_email(
        RawMessage={"Data": raw}, Source="ann@example.com", Destinations=["bob@example.com", "c@example.com"]
    )["MessageId"]


def page(ses, path):
    status, headers, body = ses.request("GET", path)
    assert status == 200
    return headers, body.decode()


def test_an_empty_list_says_how_to_send(ses):
    _, text = page(ses, "/")
    assert f"AWS_ENDPOINT_URL_SES={ses.url}" in text


def test_the_newest_mail_is_listed_first_in_pages(ses):
    for number in range(53):
        send(ses, b"Subject: number %d\r\n\r\n" % number)
    _, first = page(ses, "/")
    _, second = page(ses, "/?page=2")
    subjects = re.findall(r">number (\d+)<", first) + re.findall(r">number (\d+)<", second)
    assert subjects == [str(number) for number in range(52, -1, -1)]
    assert "/?page=2" in first
    assert "<script" in first
    assert "<script" not in second
    assert page(ses, "/?page=x%22")[1].count("number") == 50


def test_values_of_the_mail_are_escaped(ses):
    ses_message_id = send(ses, b'Subject: <script>alert("1")</script>\r\nX-"><b>: <i>x</i>\r\n\r\n<u>text</u>')
    for path in ("/", f"/view/{ses_message_id}"):
        headers, text = page(ses, path)
        for markup in ("<script>alert", "<b>:", "<i>x", "<u>text"):
            assert markup not in text
        assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in text
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_scripts_run_by_nonce_on_the_list_and_never_on_a_message(ses):
    ses_message_id = send(ses, b"Subject: s\r\n\r\nx")
    headers, text = page(ses, "/")
    [nonce] = re.findall(r'<script nonce="([^"]+)">', text)
    assert f"script-src 'nonce-{nonce}'" in headers["Content-Security-Policy"]
    assert f'<style nonce="{nonce}">' in text
    assert page(ses, "/")[1].count(nonce) == 0
    headers, text = page(ses, f"/view/{ses_message_id}")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert "<script" not in text


def test_an_html_part_is_in_a_sandboxed_frame_that_loads_nothing(ses):
    message = EmailMessage()
    message.set_content("plain <text>")
    message.add_alternative('<p class="x">html</p><script>1</script>"></iframe>', subtype="html")
    _, text = page(ses, f"/view/{send(ses, bytes(message))}")
    [frame] = re.findall(r"<iframe [^>]*>", text)
    assert frame.startswith("<iframe sandbox ")
    assert "default-src &#x27;none&#x27;" in frame
    assert "&lt;p class=&quot;x&quot;&gt;html" in frame
    assert text.count("</iframe>") == 1
    assert "plain &lt;text&gt;" in text


def test_an_attachment_is_a_download_with_a_safe_name(ses):
    message = EmailMessage()
    message.set_content("text")
    message.add_attachment(b"<script>1</script>", maintype="text", subtype="html", filename='../a"b.html')
    ses_message_id = send(ses, bytes(message))
    assert f'href="/view/{ses_message_id}/parts/1"' in page(ses, f"/view/{ses_message_id}")[1]
    status, headers, body = ses.request("GET", f"/view/{ses_message_id}/parts/1")
    assert (status, body) == (200, b"<script>1</script>")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == 'attachment; filename="a_b.html"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    for number in ("2", "x", "-1", "99999999"):
        assert ses.request("GET", f"/view/{ses_message_id}/parts/{number}")[0] == 404


def test_the_source_is_plain_text(ses):
    ses_message_id = send(ses, b"Subject: s\r\n\r\n<script>1</script>")
    status, headers, body = ses.request("GET", f"/view/{ses_message_id}/source")
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert body == b"Subject: s\r\n\r\n<script>1</script>"


NESTED = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(300))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        NESTED,
        b"Message-ID: <[\r\nSubject: =?x?q?=?= <\r\n\r\n",
        b"Subject: $nonce ${x} $\r\n\r\n$$ $body",
        b"\xff" * 99,
    ],
)
def test_hostile_mail_is_still_a_page(ses, raw):
    ses_message_id = send(ses, raw)
    _, text = page(ses, f"/view/{ses_message_id}")
    assert f"/messages/{ses_message_id}" in text
    page(ses, "/")


def test_active_faults_are_shown(ses):
    ses.json("PUT", "/faults", {"kind": "close_after", "count": 1})
    assert "close_after (0 hits)" in page(ses, "/")[1]


def test_the_account_is_shown_with_its_limits_and_state(ses):
    _, text = page(ses, "/")
    assert "account <b>running</b>" in text
    assert "rate <b>unlimited</b>" in text
    assert "24 h <b>0 of unlimited</b>" in text
    assert 'class="notice"' not in text
    settings = {"max_send_rate": 14, "max_24_hour_send": 50_000, "others_sent": 1_000, "sandbox": True}
    ses.json("PUT", "/settings", settings | {"account_state": "paused_by_aws"})
    _, text = page(ses, "/")
    assert "account <b>paused by AWS, sandbox</b>" in text
    assert "rate <b>14/s</b>" in text
    assert "24 h <b>1,000 of 50,000</b>" in text
    assert "The account is paused by AWS." in text
