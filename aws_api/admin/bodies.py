"""What /admin/ is sent: JSON objects with known members, each mistake told by the member's name. Pure."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aws_api.admin.filters import Filter, State
from aws_api.admin.pausing import LONGEST_SECONDS, Scope
from config.errors import Refused

#: Ids of one call; each costs a few round trips.
MOST_IDS = 1000

Text = Annotated[str, Field(max_length=1000)]
Name = Annotated[str, Field(max_length=320)]
Age = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]


class Body(BaseModel):
    """Unknown members are mistakes; nothing is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ScopeBody(Body):
    """POST /admin/resume, and the beginning of /admin/pause."""

    lane: Name | None = None
    user: Name | None = None
    domain: Name | None = None
    route: Name | None = None
    why: Text = ""

    def scope(self) -> Scope:
        return Scope(self.lane, self.user, self.domain, self.route)


class PauseBody(ScopeBody):
    """POST /admin/pause."""

    for_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)] | None = None


class FilterBody(Body):
    """Which messages; see aws_api/admin/filters.py."""

    states: Annotated[list[State], Field(min_length=1, max_length=10)] | None = None
    sender: Name | None = None
    recipient_domain: Name | None = None
    older_than_seconds: Age | None = None
    newer_than_seconds: Age | None = None
    reason: Text | None = None
    user: Name | None = None
    lane: Name | None = None
    route: Name | None = None

    def filter(self) -> Filter:
        values = self.model_dump()
        return Filter(**{**values, "states": None if self.states is None else tuple(self.states)})


class MessagesBody(Body):
    """POST /admin/messages/{hold,release,cancel,retry}: ids, or a filter."""

    ids: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(min_length=1, max_length=MOST_IDS)] | None = None
    filter: FilterBody | None = None
    dry_run: bool = True
    why: Text = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> "MessagesBody":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("must have either ids or filter")
        if self.ids is not None and "dry_run" in self.model_fields_set:
            raise ValueError("dry_run goes with filter only")
        return self


class DrainBody(Body):
    """POST /admin/workers/{name}/drain."""

    undo: bool = False
    why: Text = ""


Wanted = TypeVar("Wanted", bound=Body)


def read(kind: type[Wanted], raw: bytes) -> Wanted:
    """The object of these bytes; none at all is the empty object. Raises Refused with every mistake."""
    try:
        return kind.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise Refused("; ".join(_told(one["loc"], one["msg"]) for one in error.errors())) from error


def _told(place: Sequence[int | str], words: str) -> str:
    member = ".".join(map(str, place))
    text = words.removeprefix("Value error, ")
    return f"{member}: {text}" if member else text
