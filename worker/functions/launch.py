"""What a function of this machine is started with: its command, its folder, and all that it sees of the world.

The environment is made from nothing: names that [functions] pass_environment lists, AWS_ENDPOINT_URL_*, what Lambda
sets, and what the rule sets, which wins. Settings and keys of ours are not in it. Pure but for looking for files.
"""

import json
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.settings import MIB, Settings
from worker.functions.failures import InvocationFailed
from worker.functions.hiding import spellings
from worker.functions.raw_answer import MAX_ANSWER_BYTES
from worker.functions.targets import FileTarget, PythonTarget, parse_target
from worker.rules.records import Function

RUNNERS = Path(__file__).parent
#: These may be shown: they are no secrets, and a path without them means nothing.
_PLAIN = frozenset(("PATH", "HOME", "LANG", "TZ", "TMPDIR", "AWS_REGION", "AWS_DEFAULT_REGION"))


@dataclass(frozen=True, slots=True)
class Launch:
    """How the processes of one function are started."""

    rule: str
    command: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    memory_megabytes: int
    #: What one process may ask the kernel for; 0 = no limit.
    data_bytes: int
    #: The first frame that the runner reads.
    start: bytes = field(repr=False)
    #: The module as people know it.
    name: str
    #: None = the runner says it when it has imported the module.
    file: Path | None
    #: Values of the environment that no reason may show, in every spelling.
    hidden: tuple[str, ...] = field(repr=False)


def launch_of(function: Function, rule: str, settings: Settings, environ: Mapping[str, str]) -> Launch:
    """Raises InvocationFailed for what cannot be started."""
    target = _target(function.target)
    is_node = isinstance(target, FileTarget) and target.language == "node"
    file = target.path if isinstance(target, FileTarget) else None
    folder = file.parent if file else Path.cwd()
    module = file.stem if file else target.module if isinstance(target, PythonTarget) else ""
    seen = _environ(function, rule, settings, environ) | {
        "LAMBDA_TASK_ROOT": str(folder),
        "_HANDLER": f"{module}.{target.handler}",
        **function.environment,
    }
    shown = {seen.get(name, "") for name in _PLAIN - function.environment.keys()}
    kept = {*function.environment.values(), *(seen.get(name, "") for name in settings.functions.pass_environment)}
    return Launch(
        rule=rule,
        command=_node(function, environ) if is_node else _python(function, environ),
        folder=folder,
        environ=seen,
        memory_megabytes=function.memory_megabytes,
        # Threads and libraries reserve more than they use: this only stops who asks for very much at once.
        data_bytes=0 if is_node else (2 * function.memory_megabytes + 256) * MIB,
        start=_start(target, module, folder, function, seen),
        name=str(file or module),
        file=file,
        hidden=spellings(kept - shown),
    )


def _target(text: str) -> FileTarget | PythonTarget:
    try:
        target = parse_target(text, Path.cwd())
    except ValueError as error:
        raise InvocationFailed(str(error)) from error
    if not isinstance(target, FileTarget | PythonTarget):
        raise InvocationFailed("it is no function of this machine")
    return target


def _python(function: Function, environ: Mapping[str, str]) -> tuple[str, ...]:
    return (_program(function.python or sys.executable, environ), "-u", str(RUNNERS / "runner.py"))


def _node(function: Function, environ: Mapping[str, str]) -> tuple[str, ...]:
    heap = f"--max-old-space-size={function.memory_megabytes}"
    return (_program("node", environ), heap, str(RUNNERS / "runner.cjs"))


def _program(name: str, environ: Mapping[str, str]) -> str:
    """Its absolute path. A link stays a link: the interpreter of a virtual environment is one."""
    if (found := shutil.which(name, path=environ.get("PATH"))) is None:
        raise InvocationFailed(f"{name} is not installed on this machine")
    return str(Path(found).absolute())


def _start(
    target: FileTarget | PythonTarget, module: str, folder: Path, function: Function, seen: Mapping[str, str]
) -> bytes:
    name, region = seen["AWS_LAMBDA_FUNCTION_NAME"], seen["AWS_REGION"]
    return json.dumps(
        {
            "path": str(target.path) if isinstance(target, FileTarget) else "",
            "module": module,
            "handler": target.handler,
            "folder": str(folder),
            "function_name": name,
            "arn": f"arn:aws:lambda:{region}:000000000000:function:{name}",
            "memory_megabytes": function.memory_megabytes,
            "log_group": seen["AWS_LAMBDA_LOG_GROUP_NAME"],
            "log_stream": seen["AWS_LAMBDA_LOG_STREAM_NAME"],
            "limit_bytes": MAX_ANSWER_BYTES,
        }
    ).encode()


def _environ(function: Function, rule: str, settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """All but what the target decides, and what the rule sets."""
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or settings.relay.region or "us-east-1"
    return {
        # Each SDK reads another one of the two; Lambda sets both.
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        **dict(_passed(settings, environ)),
        "AWS_ENDPOINT_URL_WORKMAILMESSAGEFLOW": settings.functions.message_flow_url or _own_url(settings),
        "AWS_LAMBDA_FUNCTION_NAME": rule,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_megabytes),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{rule}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{uuid.uuid4().hex}",
    }


def _passed(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    names = set(settings.functions.pass_environment)
    return ((name, text) for name, text in environ.items() if name in names or name.startswith("AWS_ENDPOINT_URL_"))


def _own_url(settings: Settings) -> str:
    host = settings.api.host
    if host in {"", "0.0.0.0", "::"}:
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api.port}"
