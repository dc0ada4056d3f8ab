"""The operations of SES's two APIs that are carried out here: which function does each, and how long a request may be.

The configuration sets and the suppression list have files of their own with their part of the tables.
"""

from typing import Final

from aws_api.ses.configuration_sets import CONFIGURATION_SET_OFFERS
from aws_api.ses.quota import get_account, get_send_quota, get_send_statistics
from aws_api.ses.send_operations import send_email, send_email_v2, send_raw_email
from aws_api.ses.send_request import MAX_ENCODED_BYTES
from aws_api.ses.suppression import SUPPRESSION_OFFERS
from aws_api.wire.services import Offer, Service

#: For everything beside the content.
_MORE_BYTES: Final = 2 * 1024 * 1024
#: A form may write each sign of base64 as three.
V1_MAX_BODY_BYTES: Final = 3 * MAX_ENCODED_BYTES["v1"] + _MORE_BYTES
V2_MAX_BODY_BYTES: Final = MAX_ENCODED_BYTES["v2"] + _MORE_BYTES


def ses_service() -> Service:
    """v1, the query protocol."""
    offers = {
        "SendRawEmail": Offer(send_raw_email),
        "SendEmail": Offer(send_email),
        "GetSendQuota": Offer(get_send_quota),
        "GetSendStatistics": Offer(get_send_statistics),
    }
    return Service("ses", {**offers, **CONFIGURATION_SET_OFFERS}, V1_MAX_BODY_BYTES)


def sesv2_service() -> Service:
    """v2, JSON."""
    offers = {
        "SendEmail": Offer(send_email_v2, refusal="BadRequestException"),
        "GetAccount": Offer(get_account, refusal="BadRequestException"),
    }
    return Service("sesv2", {**offers, **SUPPRESSION_OFFERS}, V2_MAX_BODY_BYTES)
