"""Asks the function of a rule, wherever it lives: the one door to AWS Lambda, HTTP and this machine.

A call is tried once; the caller decides about further tries. Whatever goes wrong is InvocationFailed, in words. No
call takes longer than the function's timeout_seconds, and no answer is larger than 256 KB. The result of an
asynchronous function is thrown away.
"""

import asyncio
from pathlib import Path

from config.settings import Settings
from worker.functions.aws_lambda import LambdaFunctions
from worker.functions.failures import InvocationFailed
from worker.functions.local import LocalFunctions
from worker.functions.over_http import HttpFunctions
from worker.functions.raw_answer import MAX_ANSWER_BYTES, one_line, too_large
from worker.functions.targets import FileTarget, HttpTarget, LambdaTarget, PythonTarget, Target, parse_target
from worker.rules.records import Function


class Functions:
    """All functions of a worker process; `await close()` ends what they left."""

    def __init__(self, settings: Settings, local: LocalFunctions | None = None) -> None:
        self._local = local or LocalFunctions(settings)
        self._lambda = LambdaFunctions()
        self._http = HttpFunctions()

    async def close(self) -> None:
        """Ends local processes and closes connections, all of them even when one fails."""
        try:
            await self._local.close()
        finally:
            try:
                await self._lambda.close()
            finally:
                await self._http.close()

    async def invoke(self, function: Function, *, rule: str, payload: bytes, invocation_id: str) -> bytes:
        """The answer to this event; b"" of an asynchronous function. Raises InvocationFailed."""
        try:
            return await self._invoke(function, rule, payload, invocation_id)
        except InvocationFailed:
            raise
        except Exception as error:  # a mistake of ours; the try must count all the same, or it is made for ever
            name = type(error).__name__
            words = f"it could not be called ({name})"
            raise InvocationFailed(words, detail=f"{words}: {one_line(str(error), 300)}") from error

    async def _invoke(self, function: Function, rule: str, payload: bytes, invocation_id: str) -> bytes:
        target = _target_of(function)
        if isinstance(target, PythonTarget | FileTarget):  # its time is counted there, where the process is killed
            answer = await self._local.invoke(
                function, rule=rule, payload=payload, invocation_id=invocation_id, seconds=function.timeout_seconds
            )
        else:
            answer = await self._asked(target, function, payload)
        if function.mode == "async":
            return b""
        if len(answer) > MAX_ANSWER_BYTES:
            raise too_large()
        return answer

    async def _asked(self, target: LambdaTarget | HttpTarget, function: Function, payload: bytes) -> bytes:
        is_event = function.mode == "async"
        try:
            async with asyncio.timeout(function.timeout_seconds):
                if isinstance(target, LambdaTarget):
                    return await self._lambda.invoke(target, payload, is_event=is_event)
                return await self._http.invoke(target, payload, is_event=is_event)
        except TimeoutError as error:
            raise InvocationFailed(f"no answer within {function.timeout_seconds:g} s") from error


def _target_of(function: Function) -> Target:
    try:
        return parse_target(function.target, Path("/"))  # rules hold absolute paths once they are read
    except ValueError as error:
        raise InvocationFailed(str(error)) from error
