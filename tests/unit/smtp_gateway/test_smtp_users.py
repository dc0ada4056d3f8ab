"""The file of SMTP users and the verification of passwords."""

import asyncio
import json
import stat
import threading
from pathlib import Path

import pytest

from smtp_gateway.credentials import MAX_WAITING, Credentials, TooManyLogins
from smtp_gateway.users import User, UserFile, WrongUser


@pytest.fixture
def file(tmp_path: Path) -> UserFile:
    return UserFile(tmp_path / "var" / "users.json")


def test_a_user_is_verified_by_the_password_and_nothing_else(file: UserFile):
    file.add("app", "pässword", ["shop.example"])
    found = file.verify("app", "pässword")
    assert found is not None
    assert (found.name, found.senders) == ("app", ("shop.example",))
    assert file.verify("app", "password") is None
    assert file.verify("nobody", "pässword") is None
    assert file.verify("app", "") is None
    assert file.verify("app", "x" * 100_000) is None


def test_the_file_holds_no_password_and_is_its_owners_alone(file: UserFile):
    file.add("app", "open-sesame")
    text = file.path.read_text()
    assert "open-sesame" not in text
    assert "scrypt$16384$8$1$" in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "scrypt" not in repr(file.find("app"))


def test_users_are_listed_replaced_and_removed(file: UserFile):
    assert file.list() == []
    file.add("b", "1")
    file.add("a", "2")
    file.add("b", "3", ["x.example"])
    assert [(user.name, user.senders) for user in file.list()] == [("a", ("*",)), ("b", ("x.example",))]
    assert file.verify("b", "1") is None
    assert file.remove("b") is True
    assert file.remove("b") is False
    assert [user.name for user in file.list()] == ["a"]


def test_a_change_by_another_process_is_seen(file: UserFile):
    other = UserFile(file.path)
    assert other.find("app") is None
    file.add("app", "1")
    assert other.find("app") is not None
    file.remove("app")
    assert other.find("app") is None


def test_two_writers_lose_nothing(file: UserFile):
    def add(name: str) -> None:
        UserFile(file.path).add(name, "secret")

    threads = [threading.Thread(target=add, args=(f"user{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.list()) == 8
    assert not list(file.path.parent.glob("*.new"))


@pytest.mark.parametrize("name", ["", "with space", "ü", "x" * 129, "new\nline"])
def test_a_name_that_cannot_be_used_is_refused(file: UserFile, name: str):
    with pytest.raises(WrongUser):
        file.add(name, "secret")


@pytest.mark.parametrize(
    "pattern", ["", "a b", "@", "x@", "@x", "a@b@c", "**", "*x", "ä@b.example", "☃\u200b..example"]
)
def test_a_pattern_that_cannot_match_is_refused(file: UserFile, pattern: str):
    with pytest.raises(WrongUser):
        file.add("app", "secret", [pattern])


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("a@Bücher.example", "a@xn--bcher-kva.example"),
        ("A@Shop.example", "A@Shop.example"),
        ("*", "*"),
    ],
)
def test_a_domain_beyond_ascii_is_kept_as_senders_have_it(file: UserFile, pattern: str, kept: str):
    assert file.add("app", "secret", [pattern]).senders == (kept,)
    assert file.list()[0].senders == (kept,)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"users": [{}]}', '{"users": 1}', "\xff"])
def test_a_broken_file_is_named(file: UserFile, content: str):
    file.path.parent.mkdir()
    file.path.write_bytes(content.encode("latin-1"))
    with pytest.raises(WrongUser, match=r"users\.json"):
        file.list()


class CountingUsers(UserFile):
    """Counts how often scrypt runs."""

    verified = 0

    def verify(self, name: str, password: str) -> User | None:
        self.verified += 1
        return super().verify(name, password)


@pytest.fixture
def users(tmp_path: Path) -> CountingUsers:
    users = CountingUsers(tmp_path / "users.json")
    users.add("app", "right")
    return users


async def test_a_right_password_pays_for_scrypt_once(users: CountingUsers):
    credentials = Credentials(users)
    for _ in range(3):
        assert await credentials.verify("app", "right")
    assert users.verified == 1
    assert await credentials.verify("app", "wrong") is None
    assert await credentials.verify("app", "wrong") is None
    assert users.verified == 3
    assert "right" not in repr(vars(credentials))
    credentials.close()


async def test_a_changed_or_removed_user_is_verified_anew(users: CountingUsers):
    credentials = Credentials(users)
    assert await credentials.verify("app", "right")
    users.add("app", "new")
    assert await credentials.verify("app", "right") is None
    assert await credentials.verify("app", "new")
    users.remove("app")
    assert await credentials.verify("app", "new") is None
    assert not credentials.exist()
    credentials.close()


async def test_a_broken_file_does_not_look_like_no_users(users: CountingUsers):
    users.path.write_text("{")
    credentials = Credentials(users)
    assert credentials.exist()
    with pytest.raises(WrongUser):
        await credentials.verify("app", "right")
    credentials.close()


async def test_a_flood_of_logins_is_told_later(tmp_path: Path):
    started, go_on = threading.Event(), threading.Event()

    class Slow(UserFile):
        def verify(self, name: str, password: str) -> User | None:
            started.set()
            assert go_on.wait(60)
            return None

    credentials = Credentials(Slow(tmp_path / "users.json"))
    tries = [asyncio.create_task(credentials.verify("app", "x")) for _ in range(MAX_WAITING)]
    assert await asyncio.to_thread(started.wait, 60)
    with pytest.raises(TooManyLogins):
        await credentials.verify("app", "x")
    go_on.set()
    assert await asyncio.gather(*tries) == [None] * MAX_WAITING
    credentials.close()


def test_the_file_is_json_that_an_operator_can_read(file: UserFile):
    file.add("app", "secret", ["a@b.example"])
    (user,) = json.loads(file.path.read_text())["users"]
    assert user["name"] == "app"
    assert user["senders"] == ["a@b.example"]
