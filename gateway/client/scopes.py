"""The base class of runs and steps: begun and ended as context managers and as decorators, under UUIDs of version 7."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from uuid import UUID

from gateway.client import context
from gateway.client.context import Bridge, Position
from gateway.client.decorators import decorated
from gateway.client.delivery import this_process
from gateway.client.settings import Metadata, known
from gateway.client.values import text

LONGEST_ID = 256
"""Characters of an id, or of an event's type; the gateway accepts no more."""

RANDOM_BITS = 74

P = ParamSpec("P")
R = TypeVar("R")


def uuid7(milliseconds: int, random: int) -> str:
    """Return a UUID of version 7 (RFC 9562) of a Unix time and `RANDOM_BITS` random bits."""
    value = (
        (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 62 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    )
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def new_id() -> str:
    """Return a new id of a run or a step."""
    return uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)))


def time_of(nanoseconds: int) -> str:
    """Return a Unix time in RFC 3339, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"


class Scope(ABC):
    """The base class of `Run` and `Step`.

    Attributes:
        id: Its id, a UUID unless one was given.
        output: Its output, to be set by the application.

    """

    id: str
    output: object = None

    def __init__(self, name: str, own_id: str | UUID | None, given: dict[str, Any], metadata: Metadata) -> None:
        self.name = text(name)
        self.id = text(str(own_id))[:LONGEST_ID] if own_id else new_id()
        self._given = {**given, **known(metadata)}
        self._metadata = metadata
        self._info: dict[str, Any] = {}
        self._position: Position | None = None
        self._before: Position | None = None
        self._bridge: Bridge | None = None
        self._opened = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.id}>"

    @property
    def trace_id(self) -> str | None:
        """The trace id, 32 hex digits; None before it has begun."""
        return self._position.trace_id if self._position else None

    @property
    def span_id(self) -> str | None:
        """The span id, 16 hex digits; None before it has begun."""
        return self._position.span_id if self._position else None

    def add_info(self, info: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Add info; it is sent at the end, and merged with the info given at the start."""
        self._info.update(info or {}, **more)

    def __enter__(self) -> Self:
        self.open()
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()
        self.close(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Make each call of a function a run or step of its own, named after the function if it has no name.

        A generator's lasts until it is exhausted or closed. Items that it yields are not recorded; code between its
        yields is within the run or step, and its caller's code meanwhile is not.
        """
        return decorated(function, self.again, capture=self._given["capture"])

    def again(self, name: str, arguments: Mapping[str, Any] | None) -> Self:
        """Return a copy that has not begun. `arguments` become its input if it has none."""
        given = dict(self._given)
        if arguments is not None and given["input"] is None:
            given["input"] = arguments
        return type(self)(self.name or name, **given)

    def open(self) -> None:
        """Begin. Raises RuntimeError if it has begun before."""
        if self._opened:
            kind = type(self).__name__.lower()
            raise RuntimeError(f"this {kind} has begun already; call {kind}() again for another one")
        self._opened = True
        self._started, self._clock = time.time_ns(), time.perf_counter_ns()
        try:
            self._begin(time_of(self._started))
        except Exception:
            this_process().warn_once("begin", "%r could not be begun", self, exc_info=True)

    def enter(self) -> None:
        """Make it current, until `leave`."""
        if self._position is not None:
            self._before = context.enter(self._position)
            if self._bridge is not None:
                self._bridge.enter()

    def leave(self) -> None:
        """Restore the run or step before it."""
        if self._position is not None:
            if self._bridge is not None:
                self._bridge.leave()
            context.leave(self._position, self._before)

    def close(self, error: BaseException | None) -> None:
        """End, with an error or without."""
        if isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
            error = None
        if self._position is not None:
            self._position.ended = True
            try:
                self._end(time_of(self._started + time.perf_counter_ns() - self._clock), error)
            except Exception:
                this_process().warn_once("end", "%r could not be ended", self, exc_info=True)
        if self._bridge is not None:
            self._bridge.end(error)

    def returned(self, output: object) -> None:
        """End without an error; `output` is the output if the application has set none."""
        if self.output is None:
            self.output = output
        self.close(None)

    @abstractmethod
    def _begin(self, now: str) -> None:
        """Queue the event of the start, and set the position. `now`: RFC 3339."""

    @abstractmethod
    def _end(self, now: str, error: BaseException | None) -> None:
        """Queue the event of the end."""
