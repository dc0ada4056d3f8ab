"""Which services there are on the port, and which of their operations are carried out, by what function.

The models are botocore's own, the same files that boto3 is made of; so names, places, limits and error statuses are
not written down a second time. A service may be known with few of its operations or none: a request for another one
is then refused by its name.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Protocol

from aiohttp import web
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from aws_api.wire.access_keys import AccessKey
from aws_api.wire.memory import Reservation

#: Operations of the message flow hold a few names; a service that takes mail says its own limit.
SMALL_BODY_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One request for an operation, read and admitted."""

    #: As the model has them; every one was checked against it.
    parameters: Mapping[str, Any]
    #: None = a caller of this machine that needs none.
    access_key: AccessKey | None
    request_id: str
    #: For handlers that need the door's tools: `call.request.app[...]`.
    request: web.Request
    #: What the request may hold in memory; the door gives it back after the answer.
    memory: Reservation


class Chunks(Protocol):
    """An answer that is longer than memory should hold; a member of the output may be one."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def chunks(self) -> AsyncGenerator[bytes, None]: ...


#: Returns the members of the operation's output.
Handler = Callable[[Call], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Offer:
    """How one operation is carried out, and what in its model is taken otherwise."""

    handler: Handler
    #: Parameter (`content.s3Reference.key`) → error when the model does not allow its value; else `refusal`.
    refusals: Mapping[str, str] = field(default_factory=dict)
    #: Names of shapes whose pattern and enumeration are not asked for; required members and lengths are.
    lenient_shapes: frozenset[str] = frozenset()
    refusal: str = "ValidationException"
    #: It is about everybody's mail, so a key that is limited to some senders may not ask for it.
    is_about_all: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the port."""

    #: botocore's name of it.
    name: str
    offers: Mapping[str, Offer] = field(default_factory=dict)
    max_body_bytes: int = SMALL_BODY_BYTES

    @property
    def model(self) -> ServiceModel:
        return model_of(self.name)

    @property
    def protocol(self) -> str:
        """For instance rest-json."""
        return str(self.model.metadata["protocol"])

    @property
    def signing_name(self) -> str:
        """The service in the scope of a signature."""
        return self.model.signing_name


@dataclass(frozen=True, slots=True)
class Addressed:
    """An operation that a request is for, with what its path said."""

    service: Service
    operation: OperationModel
    #: Name in the path → text as it came, percent-encoded.
    in_path: Mapping[str, str]

    @property
    def offer(self) -> Offer | None:
        return self.service.offers.get(self.operation.name)


@cache
def model_of(name: str) -> ServiceModel:
    """The model that botocore brings; read once, some hundredths of a second for a large one."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), service_name=name)
