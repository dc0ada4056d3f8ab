"""What makes a repeat of a message known: a sender that tries again because it got no answer gets the first one's id.

Theory of operation (lua/places.lua: repeated; lua/withdraw.lua)
1. A message that carries `once` leaves a mark with its id in the transaction that takes it. A later message with the
   same mark is not taken: its door is told the id of the earlier one, and says OK with that.
2. Two with one mark in one group commit, or in two processes at once: the server takes one after the other.
3. A commit without an answer may have been written. Its client is told to try again, and the message is withdrawn, its
   mark with it. Whichever comes first decides: after the withdrawal the next try is a new message; a repeat that comes
   before it makes the withdrawal void, because from then on somebody relies on that message.
4. A commit of a repeat that was sent twice gets the same answer twice, also when the mark has gone meanwhile.
5. Marks expire. What was finished and forgotten stays sent: its repeat is answered with its id all the same.
Invariant: an id that a door was told of is in the spool, or came to its end there.
Not compared: sender and content. The same key for other recipients is another message.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

#: So long a message is known by the header X-Sluice-Idempotency-Key.
KEY_SECONDS = 86_400
#: So long by `amz-sdk-invocation-id`, which an SDK keeps over the tries of one call (boto3: three of a minute).
INVOCATION_SECONDS = 600

#: SMTP user, access key of the API, envelope sender of mail that has neither.
CallerKind = Literal["user", "key", "from"]


def once_of(caller: tuple[CallerKind, str], key: str, recipients: Iterable[str]) -> str:
    """The mark of a message; "" without a key.

    `caller`: whose keys they are (SMTP user, name of the access key, else the envelope sender). An SMTP user and an
    access key of one name are two callers: two programs, whose keys may be the same by chance.
    """
    if not key:
        return ""
    told = [":".join(caller), key, *sorted({_identity(address) for address in recipients})]
    text = "".join(f"{len(one)}:{one}" for one in told)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _identity(address: str) -> str:
    """Two spellings of a mailbox: the domain's case does not matter."""
    local_part, _, domain = address.rpartition("@")
    return f"{local_part}@{domain.lower()}"
