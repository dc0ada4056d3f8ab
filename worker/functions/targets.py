"""What a rule's `function` names: a function of AWS Lambda, of an HTTP server, or of this machine.

    arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]    AWS Lambda, as are a partial ARN and a plain name
    http://host[:port][/path]                                  whatever speaks Lambda's Invoke; https too
    python:package.module.handler                              an importable function
    file:path/app.py:handler                                   a file; .js, .cjs and .mjs run in node

An http target without a path means the runtime interface emulator, so that the container of a function can be named
as it is. What is written in no such form is refused with all that is allowed.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

Language = Literal["python", "node"]

ALLOWED = (
    "arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER], a function's name, http(s)://host[:port][/path], "
    "python:package.module.handler or file:path/app.py:handler (.py, .js, .cjs, .mjs)"
)
#: Where the runtime interface emulator listens.
EMULATOR_PATH = "/2015-03-31/functions/function/invocations"

# FunctionName of Lambda's API model, its parts named.
_LAMBDA = re.compile(
    r"(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d):(?=\d{12}:function:))?"
    r"(?:\d{12}:function:|function:)?"
    r"[A-Za-z0-9_-]{1,140}(?::(?:\$LATEST|[A-Za-z0-9_-]{1,128}))?"
)
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_HANDLER = re.compile(r"[A-Za-z_$][\w$]*")
_LANGUAGES: dict[str, Language] = {".py": "python", ".js": "node", ".cjs": "node", ".mjs": "node"}


@dataclass(frozen=True, slots=True)
class LambdaTarget:
    """A function of AWS Lambda; its version or alias is part of the name."""

    name_or_arn: str
    #: "" = the region of the environment.
    region: str = ""


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A URL that takes an event as POST and answers as Lambda's Invoke does."""

    url: str


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """A function that can be imported."""

    module: str
    handler: str


@dataclass(frozen=True, slots=True)
class FileTarget:
    """A function in a file of this machine; the path is absolute."""

    path: Path
    handler: str
    language: Language


Target = LambdaTarget | HttpTarget | PythonTarget | FileTarget


def parse_target(text: str, folder: Path, *, needs_file: bool = True) -> Target:
    """What `text` names. A relative path is looked for in `folder`, then in the working directory.

    Raises ValueError with what is allowed, for a file also when it is not there; without `needs_file` one that is
    nowhere is expected in `folder`.
    """
    scheme, _, rest = text.partition(":")
    match scheme:
        case "http" | "https":
            return _http_target(text)
        case "python":
            return _python_target(rest)
        case "file":
            return _file_target(rest, folder, needs_file=needs_file)
    return _lambda_target(text)


def written(target: Target) -> str:
    """The target as text that means the same wherever it is read."""
    match target:
        case LambdaTarget():
            return target.name_or_arn
        case HttpTarget():
            return target.url
        case PythonTarget():
            return f"python:{target.module}.{target.handler}"
        case FileTarget():
            return f"file:{target.path}:{target.handler}"


def _lambda_target(text: str) -> LambdaTarget:
    found = _LAMBDA.fullmatch(text)
    if found is None or (text.startswith("arn:") and not found["region"]):  # arn:x would be a name and an alias
        raise ValueError(f"{_shown(text)} names no function; allowed: {ALLOWED}")
    return LambdaTarget(text, found["region"] or "")


def _http_target(text: str) -> HttpTarget:
    try:
        address = urlsplit(text)
        is_sound = bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        is_sound = False
    if not is_sound or not text.isascii() or re.search(r"[\x00-\x20\x7f\\]", text):
        raise ValueError(f"{_shown(text)} is no URL; allowed: http(s)://host[:port][/path]")
    if "@" in address.netloc or address.fragment:
        raise ValueError("the URL of a function has no user, no password and no fragment")
    return HttpTarget(text if address.path not in {"", "/"} else _with_emulator_path(address))


def _with_emulator_path(address: SplitResult) -> str:
    return address._replace(path=EMULATOR_PATH).geturl()


def _python_target(dotted: str) -> PythonTarget:
    if not _DOTTED.fullmatch(dotted):
        raise ValueError(f"{_shown(dotted)} is no function to import; allowed: python:package.module.handler")
    module, _, handler = dotted.rpartition(".")
    return PythonTarget(module, handler)


def _file_target(rest: str, folder: Path, *, needs_file: bool) -> FileTarget:
    name, _, handler = rest.rpartition(":")
    language = _LANGUAGES.get(Path(name).suffix.lower())
    if language is None or "\0" in name or not _HANDLER.fullmatch(handler):
        raise ValueError(f"{_shown(rest)} is no function of a file; allowed: file:path/app.py:handler or .js .cjs .mjs")
    try:
        places = [Path("/")] if Path(name).is_absolute() else list(dict.fromkeys((folder.absolute(), Path.cwd())))
        found = next((path for place in places if (path := (place / name).resolve()).is_file()), None)
    except (OSError, RuntimeError) as error:  # RuntimeError: symlinks in a ring
        raise ValueError(f"the file {_shown(name)} cannot be looked for ({type(error).__name__})") from error
    if found is None and not needs_file:
        found = folder.absolute() / name
    if found is None:
        looked_in = "" if Path(name).is_absolute() else f" in {' and in '.join(map(str, places))}"
        raise ValueError(f"there is no file {_shown(name)}{looked_in}")
    return FileTarget(found, handler, language)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}…")
