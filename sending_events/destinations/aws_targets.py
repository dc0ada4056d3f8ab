"""The AWS services that events are given to: one client for each service and region, opened when first needed and kept.

Their credentials, endpoints and region are those of the ordinary AWS environment. Whatever fails is a TryLater: the
events are not to blame for a topic that was deleted or a permission that is missing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from config.aws_clients import BotoErrors, EventService, aws_session, event_client, trouble_of
from config.errors import TryLater

#: Opens a client of a service in a region ("" = the environment's).
ClientOpener = Callable[[EventService, str], AbstractAsyncContextManager[Any]]

_NAMES: Mapping[EventService, str] = {
    "cloudwatch": "CloudWatch",
    "events": "EventBridge",
    "firehose": "Firehose",
    "sns": "SNS",
}


class AwsFailed(TryLater):
    """A call that failed; `code` is the service's own, "" when it did not answer."""

    def __init__(self, reason: str, *, detail: str = "", code: str = "") -> None:
        super().__init__(reason, detail=detail)
        self.code = code


class AwsCalls(Protocol):
    """What the destinations need of AwsTargets."""

    async def call(self, service: EventService, region: str, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """One call of a client's method. Raises AwsFailed."""
        ...


class AwsTargets:
    """The clients of this process. `await close()` it on the event loop that used it."""

    def __init__(self, opener: ClientOpener | None = None) -> None:
        self._opener = opener or (lambda service, region: event_client(aws_session(region), service, region))
        self._clients: dict[tuple[EventService, str], Any] = {}
        self._open = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()

    async def call(self, service: EventService, region: str, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """One call of a client's method. Raises AwsFailed."""
        try:
            client = await self._client(service, region)
            answer: Mapping[str, Any] = await getattr(client, operation)(**parameters)
        except BotoErrors as error:
            raise _failed(_NAMES[service], error) from error
        except Exception as error:  # botocore lets through what its parsers stumble over, or an endpoint that is no URL
            name = type(error).__name__
            raise AwsFailed(f"{_NAMES[service]} cannot be called, or understood ({name})", detail=str(error)) from error
        return answer

    async def close(self) -> None:
        """Closes all clients."""
        self._clients.clear()
        await self._open.aclose()

    async def _client(self, service: EventService, region: str) -> Any:
        async with self._opening:
            place = (service, region)
            if place not in self._clients:
                self._clients[place] = await self._open.enter_async_context(self._opener(service, region))
            return self._clients[place]


def region_of(arn: str) -> str:
    """The region in an ARN, "" when there is none."""
    return arn.split(":", 4)[3] if arn.count(":") > 3 else ""


def results_of(answer: Mapping[str, Any], member: str, expected: int, place: str) -> list[Mapping[str, Any]]:
    """What a service says of each record of a request.

    Raises TryLater unless it says as much as expected: a 200 of a proxy, or an empty one, says nothing, and nothing is
    taken then.
    """
    results = answer.get(member)
    if not isinstance(results, list) or len(results) != expected or not all(isinstance(one, dict) for one in results):
        raise TryLater(f"{place} did not say what became of the events", detail=f"{member} is not a list of {expected}")
    return results


def _failed(name: str, error: Exception) -> AwsFailed:
    trouble = trouble_of(error)
    match trouble.kind:
        case "answer":
            return AwsFailed(f"{name} answered {trouble.code}", detail=trouble.detail, code=trouble.code)
        case "credentials":
            return AwsFailed(f"there are no AWS credentials for {name}", detail=trouble.detail)
        case "request":
            return AwsFailed(f"{name} cannot be called ({trouble.code})", detail=trouble.detail)
        case "unreachable":
            return AwsFailed(f"{name} did not answer ({trouble.code})", detail=trouble.detail)
