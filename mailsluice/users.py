"""`mailsluice user`: adds, removes and lists SMTP users. Passwords come from a prompt or a pipe, never as arguments."""

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from config.errors import Refused
from smtp_gateway.users import UserFile


def add_user(file: Path, name: str, allowed: Sequence[str], password: str) -> str:
    """Adds or replaces the user and says what it did. A new password alone does not widen what it may send as."""
    users = UserFile(file)
    known = users.find(name)
    verb = "replaced" if known else "added"
    user = users.add(name, password, tuple(allowed) or (known.senders if known else ("*",)))
    return f"{verb} {user.name} in {file}; may send as: {', '.join(user.senders)}"


def remove_user(file: Path, name: str) -> str:
    """Removes the user and says what it did; raises Refused when there is none."""
    if not UserFile(file).remove(name):
        raise Refused(f"there is no user {name} in {file}")
    return f"removed {name} from {file}"


def list_users(file: Path) -> str:
    """One user a line: name, then the sender patterns."""
    users = UserFile(file).list()
    if not users:
        return f"no users in {file}"
    return "\n".join(f"{user.name}  {', '.join(user.senders)}" for user in users)


def ask_password(*, is_piped: bool) -> str:
    """A password that is there already: from the first line of stdin, or asked for once on the terminal."""
    return sys.stdin.readline().rstrip("\r\n") if is_piped else getpass.getpass("Password: ")


def read_password(*, is_piped: bool) -> str:
    """From the first line of stdin, or asked for twice on the terminal."""
    if is_piped:
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise Refused("the two passwords differ; nothing was changed")
    return password
