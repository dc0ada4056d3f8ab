import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aws_api.wire.access_keys import AccessKeyFile, WrongKey


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "var" / "access-keys.json"


def test_a_missing_file_has_no_keys(file):
    assert AccessKeyFile(file).find("MSKEYX") is None
    assert AccessKeyFile(file).list() == []
    assert not file.parent.exists(), "looking makes nothing"


def test_a_key_that_is_made_is_found_with_its_secret(file):
    made = AccessKeyFile(file).add("functions", ("example.com", "*.example.org"))
    found = AccessKeyFile(file).find(made.access_key_id)
    assert found == made
    assert found.secret == made.secret
    assert len(made.secret) == 40
    assert len(made.access_key_id) == 20
    assert made.senders == ("example.com", "*.example.org")
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_a_repr_or_in_what_is_said_about_a_broken_file(file):
    made = AccessKeyFile(file).add("functions")
    assert made.secret not in repr(made)
    file.write_text(f'{{"access_keys": [{{"secret": "{made.secret}" ')
    with pytest.raises(WrongKey) as caught:
        AccessKeyFile(file).list()
    assert made.secret not in caught.value.reason + caught.value.detail
    assert caught.value.__suppress_context__


def test_a_change_of_the_file_is_seen_at_once(file):
    seen, changed = AccessKeyFile(file), AccessKeyFile(file)
    first = changed.add("one")
    assert seen.find(first.access_key_id) is not None
    assert changed.remove("one") == first
    assert seen.find(first.access_key_id) is None
    file.unlink()
    assert seen.list() == []


def test_a_name_is_there_once_and_a_key_goes_by_name_or_id(file):
    keys = AccessKeyFile(file)
    made = keys.add("one")
    with pytest.raises(WrongKey, match="there is a key named one"):
        keys.add("one")
    assert keys.remove(made.access_key_id) is not None
    assert keys.remove("one") is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_a_file_that_is_open_to_others_is_not_used_until_it_is_closed(file, mode):
    keys = AccessKeyFile(file)
    made = keys.add("one")
    file.chmod(mode)
    with pytest.raises(WrongKey, match="chmod 600"):
        keys.find(made.access_key_id)
    with pytest.raises(WrongKey, match="chmod 600"):
        keys.add("two")
    file.chmod(0o600)
    assert keys.find(made.access_key_id) == made


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_used(file):
    made = AccessKeyFile(file).add("one")
    os.chown(file, 54321, 54321)
    with pytest.raises(WrongKey, match="belongs to another user"):
        AccessKeyFile(file).find(made.access_key_id)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_makes_keys_for_the_user_that_the_folder_belongs_to(file):
    file.parent.mkdir()
    os.chown(file.parent, 54321, 54321)
    made = AccessKeyFile(file).add("one")
    assert file.stat().st_uid == 54321
    assert AccessKeyFile(file).find(made.access_key_id) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"access_keys": {}, "x": 1}x',
        '{"access_keys": [{"access_key_id": "", "name": "n", "senders": [], "secret": "s"}]}',
        '{"access_keys": [{"access_key_id": "i", "name": "n", "senders": [], "secret": 5}]}',
        '{"access_keys": [7]}',
    ],
)
def test_a_file_that_holds_something_else_is_told(file, text):
    file.parent.mkdir()
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(WrongKey, match="no file of access keys"):
        AccessKeyFile(file).list()


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 129, "a\n"])
def test_a_name_without_sense_makes_no_key(file, name):
    with pytest.raises(WrongKey, match="name"):
        AccessKeyFile(file).add(name)
    assert not file.exists()


@pytest.mark.parametrize("pattern", ["", "a b", "@", "*example.com", "*.", "x@*", "exämple.com"])
def test_a_sender_pattern_without_sense_makes_no_key(file, pattern):
    with pytest.raises(WrongKey, match="sender patterns"):
        AccessKeyFile(file).add("one", (pattern,))
    assert not file.exists()


def test_many_at_once_lose_no_key(file):
    with ThreadPoolExecutor(8) as makers:
        made = list(makers.map(lambda number: AccessKeyFile(file).add(f"key{number}"), range(24)))
    assert {key.access_key_id for key in AccessKeyFile(file).list()} == {key.access_key_id for key in made}
    assert [path.name for path in file.parent.glob("*.new")] == []
    assert len(json.loads(file.read_text())["access_keys"]) == 24
