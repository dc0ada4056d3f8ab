"""The ways to SES: one client for each route, its limits, and what is known of it without asking the spool.

The views come from the gate, which looks at least once a second in every process, a drained one too, so a cached word
about a route or a pause is a second old at most. They serve choices (which route, how large a batch, which recipients
to leave out); whether a call may be made is decided by the spool in the transaction that writes its intent.

A route is closed while it is in trouble, at the end of its daily quota, or paused by an operator. Newcomers leave it,
and what waits there may leave it, when it has been so for two seconds; only what is not closed at all is given the mail
of another.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack

from config.settings import RouteSettings, Settings
from spool.assembly import limits_of
from spool.sending_quota import Gate, Pause, RouteLimits, RouteView, Seat
from worker.relay.ses import SesClient

# What closed a moment ago may open again with the next probe or the next minute; only later mail is worth moving.
_CLOSED_MS = 2000
_EVERYTHING, _ROUTE_SCOPE = "all", "route:"
_LANE_SCOPE, _USER_SCOPE, _DOMAIN_SCOPE = "lane:", "user:", "domain:"


class Routes:
    """Build it on the event loop, `await open()`, `await close()`. Names that are no route's raise KeyError."""

    def __init__(self, settings: Settings, *, new_client: Callable[[RouteSettings], SesClient] | None = None) -> None:
        def client(route: RouteSettings) -> SesClient:
            return SesClient(settings.relay, concurrent_calls=settings.worker.concurrent_calls, route=route)

        self._settings = settings.routes_by_name
        self._limits = limits_of(settings)
        self._clients = {name: (new_client or client)(route) for name, route in self._settings.items()}
        self._views = {name: RouteView(name) for name in self._settings}
        #: Route → the probe that a message of this process was chosen for, by its instant.
        self._probed: dict[str, int] = {}
        #: Routes that are closed → since when, server's ms.
        self._closed_since: dict[str, int] = {}
        self._paused: frozenset[str] = frozenset()
        #: Scopes of lanes and senders.
        self._paused_seats: frozenset[str] = frozenset()
        self._stack = AsyncExitStack()
        #: Recipient domain → when its pause ends, server's ms; 0 = it is taken back by the operator.
        self.domain_pauses: Mapping[str, int] = {}
        self.paused_domains: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Opens every client. Raises botocore's errors."""
        for client in self._clients.values():
            await client.open()
            self._stack.push_async_callback(client.close)

    async def close(self) -> None:
        """Closes the connections."""
        await self._stack.aclose()

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the settings."""
        return tuple(self._settings)

    @property
    def all_limits(self) -> Sequence[RouteLimits]:
        """Of every route, for the gate."""
        return tuple(self._limits.values())

    def settings(self, name: str) -> RouteSettings:
        """With what it takes over from [relay]: region, configuration set, caps."""
        return self._settings[name]

    def ses(self, name: str) -> SesClient:
        """The route's client, with slots of its own."""
        return self._clients[name]

    def limits(self, name: str) -> RouteLimits:
        """For a take."""
        return self._limits[name]

    def view(self, name: str) -> RouteView:
        """What the gate saw last; before its first look a route without limits or troubles."""
        return self._views[name]

    def is_open(self, name: str) -> bool:
        """Whether mail may wait there: it has not been closed for longer than two seconds."""
        view = self._views[name]
        return view.taken_at_ms - self._closed_since.get(name, view.taken_at_ms) <= _CLOSED_MS

    def is_lane_open(self, seat: Seat) -> bool:
        """Whether this lane of the route is neither paused for the sender nor at the end of its part of the day."""
        if not self._paused_seats.isdisjoint({_LANE_SCOPE + seat.lane, _USER_SCOPE + seat.sender}):
            return False
        view, shares = self._views[seat.route], dict(self._limits[seat.route].lanes)
        return view.sent_last_24_hours < view.daily_limit * shares.get(seat.lane, 100) / 100

    def is_well(self, name: str) -> bool:
        """Whether mail of another route may be moved there: not closed, and the daily quota lasts for who waits."""
        view = self._views[name]
        return name not in self._closed_since and view.sent_last_24_hours + view.waiting_recipients < view.daily_limit

    def takes_mail(self, name: str) -> bool:
        """For the choice of a message's route: `is_open`, or this message may be the probe that closes the breaker.

        One for each probe in each process: the mail of a route that is left alone would never find it well again.
        """
        if self.is_open(name):
            return True
        trouble = self._views[name].trouble
        if trouble is None or not self.wants_probe(name) or self._probed.get(name) == trouble.probe_at_ms:
            return False
        self._probed[name] = trouble.probe_at_ms
        return True

    def wants_probe(self, name: str) -> bool:
        """Whether trouble alone closes it, and its next probe is due."""
        view = self._views[name]
        if view.trouble is None or view.daily_ended or name in self._paused:
            return False
        return view.taken_at_ms >= view.trouble.probe_at_ms

    def saw(self, gate: Gate) -> None:
        """Takes over what a look of the gate told."""
        self._views.update({name: view for name, view in gate.routes.items() if name in self._settings})
        scopes = {pause.scope: pause for pause in gate.pauses}
        pauses = {name: _pauses_of(name, scopes) for name in self._settings}
        self._paused = frozenset(name for name, found in pauses.items() if found)
        self._paused_seats = frozenset(scope for scope in scopes if scope.startswith((_LANE_SCOPE, _USER_SCOPE)))
        for name, view in self._views.items():
            since_ms = _closed_since_ms(view, pauses[name])
            if since_ms is None:
                self._closed_since.pop(name, None)
            else:
                self._closed_since[name] = min(since_ms, self._closed_since.get(name, since_ms))
        self.saw_pauses(gate.pauses)

    def saw_pauses(self, pauses: Iterable[Pause]) -> None:
        """Takes over which recipient domains are paused."""
        self.domain_pauses = _paused_domains(pauses)
        self.paused_domains = frozenset(self.domain_pauses)


def _pauses_of(route: str, scopes: Mapping[str, Pause]) -> tuple[Pause, ...]:
    """Those that keep everything of the route."""
    return tuple(scopes[scope] for scope in (_EVERYTHING, _ROUTE_SCOPE + route) if scope in scopes)


def _closed_since_ms(view: RouteView, pauses: Iterable[Pause]) -> int | None:
    """Since when it is known to be closed; None when it is not. When a daily quota ended nobody wrote down."""
    instants = [pause.since_ms for pause in pauses]
    if view.trouble:
        instants.append(view.trouble.since_ms)
    if view.daily_ended:
        instants.append(view.taken_at_ms)
    return min(instants, default=None)


def _paused_domains(pauses: Iterable[Pause]) -> Mapping[str, int]:
    return {
        pause.scope.removeprefix(_DOMAIN_SCOPE).lower(): pause.until_ms
        for pause in pauses
        if pause.scope.startswith(_DOMAIN_SCOPE)
    }
