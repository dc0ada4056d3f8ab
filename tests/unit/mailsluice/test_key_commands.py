import subprocess
import sys
from pathlib import Path

import pytest

from aws_api.wire.access_keys import AccessKeyFile
from config.errors import Refused
from mailsluice.key_commands import add_key, list_keys, remove_key


def mailsluice(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-P", "-m", "mailsluice", *arguments)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def shown(said: str, name: str) -> str:
    return next(line.partition("=")[2] for line in said.splitlines() if line.startswith(f"{name}="))


def test_a_key_is_shown_with_its_secret_once(tmp_path):
    file = tmp_path / "keys.json"
    said = add_key(file, "functions", ())
    assert said.startswith(f"added functions in {file}; may send as: *\n")
    secret = shown(said, "AWS_SECRET_ACCESS_KEY")
    found = AccessKeyFile(file).find(shown(said, "AWS_ACCESS_KEY_ID"))
    assert found is not None
    assert found.secret == secret
    assert secret not in list_keys(file)
    assert list_keys(file) == f"{found.access_key_id}  functions  *"
    assert remove_key(file, "functions") == f"removed functions ({found.access_key_id}) from {file}"
    assert list_keys(file) == f"no access keys in {file}"
    with pytest.raises(Refused, match="there is no key functions"):
        remove_key(file, "functions")


def test_the_commands_make_list_and_remove_keys(tmp_path):
    added = mailsluice("key", "add", "shop", "--sender", "example.com", "--sender", "*.example.org", cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith(
        "added shop in var/access-keys.json; may send as: example.com, *.example.org\nAWS_ACCESS_KEY_ID=MSKEY"
    )
    assert (tmp_path / "var/access-keys.json").stat().st_mode & 0o777 == 0o600
    listed = mailsluice("key", "list", cwd=tmp_path)
    key_id = shown(added.stdout, "AWS_ACCESS_KEY_ID")
    assert listed.stdout == f"{key_id}  shop  example.com, *.example.org\n"
    again = mailsluice("key", "add", "shop", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "there is a key named shop; remove it first, or choose another name\n"
    assert mailsluice("key", "remove", "shop", cwd=tmp_path).returncode == 0
    gone = mailsluice("key", "remove", "shop", cwd=tmp_path)
    assert gone.returncode == 2
    assert gone.stderr == "there is no key shop in var/access-keys.json\n"


def test_a_wrong_pattern_makes_no_key(tmp_path):
    said = mailsluice("key", "add", "shop", "--sender", "a b", cwd=tmp_path)
    assert said.returncode == 2
    assert "sender patterns are" in said.stderr
    assert not (tmp_path / "var" / "access-keys.json").exists()
