"""What runs and steps have in common: they begin, are stood in, and end; as context managers and as decorators."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from uuid import UUID

from gateway.client import otel, scope
from gateway.client.decorators import decorated
from gateway.client.delivery import this_process
from gateway.client.ids import uuid7
from gateway.client.scope import Place
from gateway.client.settings import Metadata, known
from gateway.client.values import text

# Characters of an id, or of an event's type: the gateway takes no more.
LONGEST_ID = 256

P = ParamSpec("P")
R = TypeVar("R")


def new_id() -> str:
    """Return a new id of a run or a step."""
    return uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)))


def time_of(nanoseconds: int) -> str:
    """Return a time since 1970 in RFC 3339, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"


class Scope(ABC):
    """What a run and a step have in common.

    Attributes:
        id: Its own, a UUID.
        output: Set it: what came out.

    """

    id: str
    output: object = None

    def __init__(self, name: str, own_id: str | UUID | None, given: dict[str, Any], metadata: Metadata) -> None:
        self.name = text(name)
        self.id = text(str(own_id))[:LONGEST_ID] if own_id else new_id()
        self._given = {**given, **known(metadata)}
        self._metadata = metadata
        self._info: dict[str, Any] = {}
        self._place: Place | None = None
        self._before: Place | None = None
        self._bridge: otel.Bridge | None = None
        self._opened = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.id}>"

    @property
    def trace_id(self) -> str | None:
        """Its trace, 32 hex digits; None before it has begun."""
        return self._place.trace_id if self._place else None

    @property
    def span_id(self) -> str | None:
        """Its span, 16 hex digits; None before it has begun."""
        return self._place.span_id if self._place else None

    def add_info(self, info: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Remember what is known only now; it is sent at the end, and merged with what was given at the start."""
        self._info.update(info or {}, **more)

    def __enter__(self) -> Self:
        self.open()
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.leave()
        self.close(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, where)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Make each call of a function a run or a step of its own, which has the function's name where it has none.

        A generator's lasts until it is exhausted or closed. What it yields is not recorded; what stands between its
        yields belongs to it, what its caller does meanwhile does not.
        """
        return decorated(function, self.again, capture=self._given["capture"])

    def again(self, name: str, arguments: Mapping[str, Any] | None) -> Self:
        """Return another one like this, that has not begun. `arguments` are its input where it has none."""
        given = dict(self._given)
        if arguments is not None and given["input"] is None:
            given["input"] = arguments
        return type(self)(self.name or name, **given)

    def open(self) -> None:
        """Begin. Raises RuntimeError where it has begun before."""
        if self._opened:
            kind = type(self).__name__.lower()
            raise RuntimeError(f"this {kind} has begun already; call {kind}() again for another one")
        self._opened = True
        self._started, self._clock = time.time_ns(), time.perf_counter_ns()
        try:
            self._begin(time_of(self._started))
        except Exception:
            this_process().say("begin", "%r could not be begun", self, exc_info=True)

    def enter(self) -> None:
        """Stand in it, until `leave`."""
        if self._place is not None:
            self._before = scope.enter(self._place)
            if self._bridge is not None:
                self._bridge.enter()

    def leave(self) -> None:
        """Stand where it was before."""
        if self._place is not None:
            if self._bridge is not None:
                self._bridge.leave()
            scope.leave(self._place, self._before)

    def close(self, error: BaseException | None) -> None:
        """End, by an error or without."""
        if isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
            error = None
        if self._place is not None:
            self._place.left = True
            try:
                self._end(time_of(self._started + time.perf_counter_ns() - self._clock), error)
            except Exception:
                this_process().say("end", "%r could not be ended", self, exc_info=True)
        if self._bridge is not None:
            self._bridge.end(error)

    def returned(self, output: object) -> None:
        """End without an error; what came out is this where nothing else was said."""
        if self.output is None:
            self.output = output
        self.close(None)

    @abstractmethod
    def _begin(self, now: str) -> None:
        """Tell the gateway, and take a place in the trace. `now`: RFC 3339."""

    @abstractmethod
    def _end(self, now: str, error: BaseException | None) -> None:
        """Tell the gateway how it ended."""
