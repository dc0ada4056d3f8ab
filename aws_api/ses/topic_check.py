"""Whether an SNS topic takes what is published to it: it is told so, once, in the words that SES itself uses.

SES does this when an event destination is made, so that a misspelt topic or a missing permission shows at once and not
by events that never come.
"""

from typing import Final

from config.aws_clients import BotoErrors, aws_session, event_client, trouble_of
from config.logs import get_log

#: Without a subject, as SES sends it.
TEXT: Final = "Successfully validated SNS topic for Amazon SES event publishing."


async def topic_trouble(topic_arn: str) -> str:
    """Publishes the text; why the topic does not take it, "" when it does. Takes at most some 25 s."""
    region = topic_arn.split(":")[3]
    try:
        async with event_client(aws_session(region), "sns", region) as sns:
            await sns.publish(TopicArn=topic_arn, Message=TEXT)
    except BotoErrors as error:
        trouble = trouble_of(error)
        get_log().warning("api.topic_refused", topic=topic_arn, code=trouble.code, detail=trouble.detail)
        if trouble.kind == "answer":
            return _ANSWERS.get(trouble.code, "SNS topic <{}> refused a message: {}.").format(topic_arn, trouble.code)
        return f"SNS topic <{topic_arn}> could not be asked: {trouble.code}."
    return ""


#: Code of SNS → SES's words.
_ANSWERS: Final = {"NotFound": "SNS topic <{}> not found.", "NotFoundException": "SNS topic <{}> not found."}
