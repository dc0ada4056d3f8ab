"""Every Redis key of the spool. All lie under one hash tag, so that a single-shard cluster-mode server works.

A key never contains text from outside as it came: foreign ids are hashed first (`index_of`), our own are checked.
The index of foreign ids and the marks of withdrawn messages are known to lua/prelude.lua alone, the queues of the
lanes to lua/lanes.lua.
"""

import hashlib
import re

from config.queues import KEY_PREFIX

DUE = KEY_PREFIX + "due"  # zset: message_id → when the sweeper nudges it (again), ms
LEASED = KEY_PREFIX + "leased"  # zset: message_id → when the lease ends, ms
PARKED = KEY_PREFIX + "parked"  # zset: message_id → when it wakes, ms
HELD = KEY_PREFIX + "held"  # zset: message_id → since when, ms
AGES = KEY_PREFIX + "ages"  # hash: ten-second slot of acceptance → unfinished messages accepted in it
REASONS = KEY_PREFIX + "reasons"  # hash: "parked:throttled" → messages there for that reason
COUNTERS = KEY_PREFIX + "counters"  # hash: name → number since the spool was made
EVENTS = KEY_PREFIX + "happenings"  # stream: what happened, in order
WORKERS = KEY_PREFIX + "workers"  # hash: worker name → heartbeat JSON
PAUSES = KEY_PREFIX + "pauses"  # hash: scope → JSON of a pause, see lua/pauses.lua
DRAINS = KEY_PREFIX + "drains"  # hash: worker name → since when it takes no more messages, ms
LANES = KEY_PREFIX + "lanes"  # hash: route:lane:messages, :recipients, :v (virtual time)
FEEDBACK = KEY_PREFIX + "feedback"  # hash: how far SES's events have been read, and when
FLOWS = KEY_PREFIX + "flows"  # zset: message_id → when the access of functions to it ends, ms
MESSAGE_PREFIX = KEY_PREFIX + "m:"

_MESSAGE_ID = re.compile(r"[a-z0-9-]{1,120}")


def is_message_id(text: str) -> bool:
    """Whether it has the form of an id of ours (and of WorkMail's messageId): safe in a key and as a file name."""
    return _MESSAGE_ID.fullmatch(text) is not None


def message_key(message_id: str) -> str:
    """Hash of one message. Raises ValueError for what cannot be an id of ours."""
    if not is_message_id(message_id):
        raise ValueError("not a message id")
    return MESSAGE_PREFIX + message_id


def flow_key(message_id: str) -> str:
    """Hash: what functions may read and have put; see lua/flow.lua. Raises ValueError likewise."""
    if not is_message_id(message_id):
        raise ValueError("not a message id")
    return KEY_PREFIX + "flow:" + message_id


def index_of(foreign_id: str) -> str:
    """What the index keeps of a foreign id (ses_message_id, header_message_id with or without its brackets)."""
    bare = foreign_id.strip().removeprefix("<").removesuffix(">")
    return hashlib.blake2b(bare.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def route_key(route: str) -> str:
    """Hash: buckets, factor, figures and troubles of a route; lua/quota.lua explains the fields."""
    return KEY_PREFIX + "route:" + route


def cursor_key(destination: str) -> str:
    """String key: last stream id that a destination has taken."""
    return KEY_PREFIX + "cursor:" + destination


def lock_key(name: str) -> str:
    """String key: who does a thing that only one process may do at a time."""
    return KEY_PREFIX + "lock:" + name
