"""Adds a footer to outgoing mail. Written as for Amazon WorkMail: it runs there, and here, without a change.

It knows no address of anything: boto3 finds the message-flow API and S3 by the ordinary environment, which on this
machine holds AWS_ENDPOINT_URL_WORKMAILMESSAGEFLOW and AWS_ENDPOINT_URL_S3.

Environment: UPDATED_EMAIL_BUCKET (where the new message is put for the API to fetch it), FOOTER.
"""

import email
import html
import os
import uuid

import boto3

flow = boto3.client("workmailmessageflow")
s3 = boto3.client("s3")


def lambda_handler(event, context):
    """A sync rule calls this; what it put with PutRawMessageContent is what goes out."""
    message_id = event["messageId"]
    raw = flow.get_raw_message_content(messageId=message_id)["messageContent"].read()
    message = email.message_from_bytes(raw)
    if add_footer(message, os.environ["FOOTER"]):
        put_back(message_id, message.as_bytes())
    return {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": True}]}


def add_footer(message, footer):
    """To the first plain text and the first HTML; a message without either stays as it is."""
    parts = list(texts_of(message))
    plain = next((part for part in parts if part.get_content_subtype() == "plain"), None)
    marked_up = next((part for part in parts if part.get_content_subtype() == "html"), None)
    if plain is not None:
        replace_text(plain, f"{text_of(plain).rstrip()}\n\n-- \n{footer}\n")
    if marked_up is not None:
        line = f"<p>{html.escape(footer)}</p>"
        before, end, after = text_of(marked_up).rpartition("</body>")
        replace_text(marked_up, f"{before}{line}{end}{after}" if end else f"{after}{line}")
    return plain is not None or marked_up is not None


def texts_of(part):
    """The texts that are read as the message, not those of files and messages attached to it."""
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for inner in part.get_payload():
            yield from texts_of(inner)
    elif part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
        yield part


def text_of(part):
    content = part.get_payload(decode=True)
    try:
        return content.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a charset that nobody knows
        return content.decode("utf-8", "replace")


def replace_text(part, text):
    del part["Content-Transfer-Encoding"]  # set_payload chooses one that fits
    part.set_payload(text.replace("\r\n", "\n"), "utf-8")


def put_back(message_id, content):
    bucket, key = os.environ["UPDATED_EMAIL_BUCKET"], str(uuid.uuid4())
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    try:
        flow.put_raw_message_content(messageId=message_id, content={"s3Reference": {"bucket": bucket, "key": key}})
    except flow.exceptions.MessageFrozen:
        print(f"message {message_id} can no longer be changed")  # a redirected one, for instance
    except flow.exceptions.MessageRejected as error:
        print(f"message {message_id} was put back unchanged: {error}")
