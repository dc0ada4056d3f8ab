"""The SES account as far as its API tells: credentials, quota, sandbox, identities; and who may be the sender."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from config.aws_clients import BotoErrors, error_code, trouble_of
from mailsluice.doctor_report import Finding, fail, ok, warn

LOCAL_PART = "mailsluice-doctor"
#: Identities that are looked at; SES tells of so many in one answer.
MOST_IDENTITIES = 100


@dataclass(frozen=True, slots=True)
class AccountClients:
    """The clients of one region and account."""

    sts: Any
    ses: Any
    sesv2: Any


@dataclass(slots=True)
class Sender:
    """From whom the proof is sent."""

    #: What the operator said; "" = found among the identities.
    address: str = ""


async def check_account(clients: AccountClients, sender: Sender) -> AsyncIterator[Finding]:
    """Every finding as it is made; fills in the sender."""
    identity = await _caller(clients.sts)
    yield identity
    try:
        quota = await clients.ses.get_send_quota()
    except BotoErrors as error:
        yield _refused("SES", error)
        return
    yield _quota(float(quota["Max24HourSend"]), float(quota["MaxSendRate"]), float(quota["SentLast24Hours"]))
    if (account := await _account(clients.sesv2)) is not None:
        yield account
    try:
        yield await _identities(clients.ses, sender)
    except BotoErrors as error:
        code, text = error_code(error)
        yield warn("identities", f"cannot be read ({code}: {text})", "allow ses:ListIdentities, or name --from ADDRESS")


async def _caller(sts: Any) -> Finding:
    try:
        who = await sts.get_caller_identity()
    except BotoErrors as error:
        return _refused("credentials", error)
    return ok("credentials", f"{who['Arn']}, account {who['Account']}")


def _refused(about: str, error: Exception) -> Finding:
    trouble = trouble_of(error)
    remedies = {
        "credentials": "give the process keys, a profile or a role; see docs/operations.md",
        "unreachable": "look at the network, the region and AWS_ENDPOINT_URL…",
        "answer": "look at the credentials, their policy and the region",
        "request": "look at the AWS environment: the call cannot even be made",
    }
    return fail(about, f"{trouble.code}: {trouble.detail}", remedies[trouble.kind])


def _quota(most: float, rate: float, sent: float) -> Finding:
    per_second = "as fast as it can" if rate < 0 else f"{rate:g}/s"
    if most < 0:
        return ok("quota", f"{per_second}, without a limit of the day")
    text = f"{per_second}, {sent:,.0f} of {most:,.0f} in 24 h"
    if sent >= most:
        return warn("quota", text, "what comes now waits until SES takes mail again")
    return ok("quota", text)


async def _account(sesv2: Any) -> Finding | None:
    """What only the newer API tells; nothing where it is not served."""
    try:
        told = await sesv2.get_account()
    except BotoErrors:
        return None
    if not told.get("SendingEnabled", True):
        return fail("account", "sending is switched off", "see the account's dashboard in SES's console")
    if not told.get("ProductionAccessEnabled", True):
        text = "in the sandbox: mail goes to verified addresses and the mailbox simulator alone"
        return warn("account", text, "ask for production access in SES's console")
    return ok("account", f"may send; {str(told.get('EnforcementStatus', 'HEALTHY')).lower()}")


async def _identities(ses: Any, sender: Sender) -> Finding:
    about = "identities"
    listed = (await ses.list_identities(MaxItems=MOST_IDENTITIES)).get("Identities", [])
    asked = list(dict.fromkeys([*_parts_of(sender.address), *listed]))[:MOST_IDENTITIES]
    verified = await _verified(ses, asked) if asked else []
    if sender.address:
        if any(part in verified for part in _parts_of(sender.address)):
            return ok(about, f"{sender.address} may send")
        return warn(
            about, f"{sender.address} is not verified, as far as SES tells", "verify it, or choose another --from"
        )
    if not verified:
        return fail(
            about, "no address and no domain is verified", "verify one in SES's console, or name --from ADDRESS"
        )
    sender.address = sender_of(verified)
    return ok(about, f"verified: {', '.join(verified[:5])}{' and more' if len(verified) > 5 else ''}")


async def _verified(ses: Any, identities: Sequence[str]) -> list[str]:
    told = (await ses.get_identity_verification_attributes(Identities=identities))["VerificationAttributes"]
    return [one for one in identities if told.get(one, {}).get("VerificationStatus") == "Success"]


def _parts_of(address: str) -> list[str]:
    """What can be verified so that the address may send: itself, its domain, the domains above."""
    if not address:
        return []
    labels = address.rpartition("@")[2].lower().split(".")
    return [address, *(".".join(labels[start:]) for start in range(max(len(labels) - 1, 1)))]


def sender_of(verified: Sequence[str]) -> str:
    """An address that may send: a verified one, else one in a verified domain."""
    addresses = [one for one in verified if "@" in one]
    return addresses[0] if addresses else f"{LOCAL_PART}@{verified[0]}"
