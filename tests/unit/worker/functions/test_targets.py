"""What may stand in a rule's `function`."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.functions.targets import FileTarget, HttpTarget, LambdaTarget, PythonTarget, parse_target, written

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:disclaimer"


@pytest.mark.parametrize(
    ("text", "region"),
    [
        (ARN, "eu-west-1"),
        (f"{ARN}:prod", "eu-west-1"),
        (f"{ARN}:$LATEST", "eu-west-1"),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f", "us-gov-west-1"),
        ("123456789012:function:disclaimer", ""),
        ("123456789012:function:disclaimer:7", ""),
        ("function:disclaimer", ""),
        ("disclaimer", ""),
        ("disclaimer:prod", ""),
    ],
)
def test_a_function_of_lambda_is_an_arn_or_a_name(text, region, tmp_path):
    assert parse_target(text, tmp_path) == LambdaTarget(text, region)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://functions", "http://functions/2015-03-31/functions/function/invocations"),
        ("http://functions:8080/", "http://functions:8080/2015-03-31/functions/function/invocations"),
        ("https://functions.example/ask?who=me", "https://functions.example/ask?who=me"),
        ("http://[::1]:9000/ask", "http://[::1]:9000/ask"),
    ],
)
def test_a_url_without_a_path_means_the_runtime_interface_emulator(text, url, tmp_path):
    assert parse_target(text, tmp_path) == HttpTarget(url)


def test_an_importable_function_has_a_module_and_a_handler(tmp_path):
    assert parse_target("python:mail.rules.app.handler", tmp_path) == PythonTarget("mail.rules.app", "handler")


@pytest.mark.parametrize(
    ("name", "language"), [("app.py", "python"), ("app.js", "node"), ("app.cjs", "node"), ("app.MJS", "node")]
)
def test_the_end_of_its_name_says_what_a_file_is_written_in(name, language, tmp_path):
    (tmp_path / name).touch()
    target = parse_target(f"file:{name}:handler", tmp_path)
    assert target == FileTarget((tmp_path / name).resolve(), "handler", language)


def test_a_file_that_need_not_be_there_is_expected_beside_the_rules_and_nothing_else_is_forgiven(tmp_path):
    target = parse_target("file:functions/app.py:run", tmp_path, needs_file=False)
    assert written(target) == f"file:{tmp_path}/functions/app.py:run"
    assert parse_target("file:/nowhere/app.py:run", tmp_path, needs_file=False).path == Path("/nowhere/app.py")
    with pytest.raises(ValueError, match="is no function of a file"):
        parse_target("file:app.txt:run", tmp_path, needs_file=False)


def test_a_file_is_looked_for_beside_the_rules_and_then_in_the_working_directory(tmp_path, monkeypatch):
    rules, here = tmp_path / "rules", tmp_path / "here"
    for folder in (rules, here):
        folder.mkdir()
        (folder / "both.py").touch()
    (here / "one:two.py").touch()
    monkeypatch.chdir(here)
    assert parse_target("file:both.py:run", rules).path == (rules / "both.py").resolve()
    assert parse_target("file:one:two.py:run", rules).path == (here / "one:two.py").resolve()
    assert parse_target(f"file:{here}/both.py:run", rules).path == (here / "both.py").resolve()
    with pytest.raises(ValueError, match=re.escape(str(rules))):
        parse_target("file:neither.py:run", rules)


def test_a_file_that_cannot_be_looked_for_is_a_mistake(tmp_path):
    (tmp_path / "ring.py").symlink_to("ring.py")
    for name in ("ring.py", f"{'x' * 300}.py", f"{tmp_path}/app.py/under.py"):
        with pytest.raises(ValueError, match=r"there is no file|cannot be looked for"):
            parse_target(f"file:{name}:run", tmp_path)


def test_what_is_written_means_the_same_everywhere(tmp_path, monkeypatch):
    (tmp_path / "app.py").touch()
    for text in (ARN, "name", "http://h", "python:a.b", "file:app.py:run"):
        target = parse_target(text, tmp_path)
        assert parse_target(written(target), Path("/")) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        " name",
        "functions/app.py",
        "app.py:handler",
        "arn:aws:lambda",
        "arn:aws:s3:::bucket",
        "arn:aws:lambda:eu-west-1:123456789012:layer:f",
        "arn:aws:lambda:eu-west-1:f",
        "http:",
        "http://",
        "http://host:port/",
        "http://host:0/",
        "http://user:secret@host/",
        "http://host/#there",
        "http://host/a path",
        "ftp://host/",
        "python:",
        "python:handler",
        "python:mail..handler",
        "python:mail.9",
        "python:mail.app:handler",
        "file:",
        "file:app.py",
        "file:app.rb:handler",
        "file:app.py:",
        "file:app.py:not a name",
        "file:a\0.py:handler",
    ],
)
def test_what_names_no_function_is_refused_with_what_is_allowed(text, tmp_path):
    (tmp_path / "app.py").touch()
    with pytest.raises(ValueError, match=r"allowed: |no user, no password"):
        parse_target(text, tmp_path)


@given(text=st.text() | st.text().map("file:".__add__) | st.text().map("http://".__add__))
def test_any_text_is_a_target_or_a_mistake(text):
    with contextlib.suppress(ValueError):
        target = parse_target(text, Path("/nowhere"))
        assert parse_target(written(target), Path("/elsewhere")) == target
