"""The settings of sending: relay, lanes and routes. settings.py puts them together."""

import re
from typing import Literal

from pydantic import Field, model_validator

from config.setting_kinds import (
    NAME_PATTERN,
    Addresses,
    AddressPatterns,
    BareAddress,
    ConfigurationSet,
    ConfigurationSetNames,
    DomainPatterns,
    HttpUrl,
    Names,
    Percents,
    RecipientsPerDay,
    Seconds,
    Section,
    Texts,
    Weights,
)


class RelaySettings(Section):
    """Sending through SES."""

    region: str = Field("", description="AWS region; empty = as the AWS environment says, else us-east-1.")
    ses_configuration_set: ConfigurationSet = Field("", description="SES configuration set of every call.")
    configuration_sets: ConfigurationSetNames = Field(
        {}, description="Configuration set that senders name = SES's own set for those calls."
    )
    call_timeout_seconds: float = Field(
        20, ge=0.1, le=600, description="Longest wait for SES's answer; then the outcome is unknown."
    )
    connect_timeout_seconds: float = Field(5, ge=0.1, le=60, description="Longest wait for a connection to SES.")
    unknown: Literal["auto", "resend", "hold", "confirm"] = Field(
        "auto",
        description="What follows a call that ended without an answer; auto = confirm with feedback, else resend.",
    )
    confirm_seconds: Seconds = Field(
        120, description="So long confirm waits for SES's own event of a call without an answer; then it resends."
    )
    max_send_rate: float = Field(0.0, ge=0, description="Own cap in recipients per second; 0 = as SES says.")
    max_24_hour_send: RecipientsPerDay = Field(
        -1.0, description="Own cap in recipients per 24 hours; -1 = as SES says."
    )
    quota_refresh_seconds: float = Field(
        60, ge=1, le=3600, description="Distance of two questions to SES about the account's limits."
    )
    retry_first_seconds: float = Field(2, ge=0.05, le=600, description="Distance to the first retry.")
    retry_max_seconds: float = Field(1800, ge=1, le=86400, description="Longest distance between retries.")
    max_age_seconds: Seconds = Field(43200, description="Age at which an undelivered recipient expires.")
    bounce_sender: BareAddress = Field(
        "",
        description="From address of bounces; empty = mailer-daemon@ the domain of the message's sender.",
    )
    long_headers: Literal["keep", "rewrite"] = Field(
        "keep", description="To and Cc with more than 50 addresses: rewrite names those of the batch only."
    )
    duplicate_headers: Literal["keep", "first"] = Field(
        "keep", description="Headers that SES takes only once: first removes the later ones."
    )
    empty_headers: Literal["keep", "remove"] = Field("keep", description="Header lines without a name.")
    long_lines: Literal["keep", "wrap"] = Field(
        "keep", description="Lines over 998 bytes: wrap folds headers and encodes text parts anew."
    )
    from_aliases: Addresses = Field(
        {}, description="From address = address that takes its place, as SES has it verified."
    )
    fence: Literal["off", "capture", "redirect"] = Field(
        "off", description="Where not to mail real people: capture keeps, redirect sends elsewhere what is not allowed."
    )
    fence_allowed: AddressPatterns = Field(
        (), description="Recipients that pass the fence: user@domain, domain or *.domain."
    )
    fence_redirect_to: BareAddress = Field("", description="Recipient of all that the fence redirects.")
    expire_while_paused: bool = Field(
        False, description="Whether recipients grow too old while an operator's hold or pause keeps them."
    )


class LanesSettings(Section):
    """Which mail goes first; the order of `shares` is the order of the lanes."""

    shares: Percents = Field(
        {"express": 100, "bulk": 80}, description="Lane = percent of rate and daily quota it may take at most."
    )
    default: str = Field("express", description="Lane of mail that nothing else puts into one.")
    header: bool = Field(True, description="Whether the header X-Sluice-Lane chooses the lane.")
    by_user: Texts = Field({}, description="SMTP user = lane.")
    large_recipients: int = Field(
        0, ge=0, description="A message with more recipients than this goes into the last lane; 0 = never."
    )
    weights: Weights = Field({}, description="Sender (SMTP user, else envelope sender) = weight of its turns; else 1.")

    @model_validator(mode="after")
    def _known_lanes(self) -> "LanesSettings":
        mistakes = []
        if wrong := [name for name in self.shares if not re.fullmatch(NAME_PATTERN, name)]:
            mistakes.append(f"shares: {', '.join(wrong)} is no name of a lane; allowed: {NAME_PATTERN}")
        if unknown := {self.default, *self.by_user.values()} - set(self.shares):
            wrong_names = ", ".join(sorted(unknown))
            mistakes.append(f"default, by_user: unknown lane {wrong_names}; shares has {', '.join(self.shares)}")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class RouteSettings(Section):
    """One way to SES: an account, a region, a role. What is empty is as [relay] has it."""

    region: str = Field("", description="AWS region.")
    profile: str = Field("", description="AWS profile with the credentials; empty = the ordinary AWS environment.")
    role_arn: str = Field("", pattern=r"^(arn:aws[a-z-]*:iam::\d{12}:role/.+)?$", description="Role to be assumed.")
    access_key_id: str = Field("", description="Own access key, with secret_access_key.")
    secret_access_key: str = Field("", repr=False, description="Own secret key.")
    endpoint_url: HttpUrl = Field("", description="URL instead of SES's own, for both of its APIs.")
    ses_configuration_set: ConfigurationSet = Field("", description="SES configuration set of every call.")
    max_send_rate: float = Field(0.0, ge=0, description="Own cap in recipients per second; 0 = as SES says.")
    max_24_hour_send: RecipientsPerDay = Field(
        -1.0, description="Own cap in recipients per 24 hours; -1 = as SES says."
    )
    from_domains: DomainPatterns = Field(
        (), description="From domains that may use it: domain or *.domain; empty = all."
    )
    users: Names = Field((), description="SMTP users that may use it; empty = all.")
    weight: float = Field(1.0, ge=0, le=1000, description="Share among equal routes; 0 = only when the others fail.")

    @model_validator(mode="after")
    def _key_pair(self) -> "RouteSettings":
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id and secret_access_key must be given together")
        return self
