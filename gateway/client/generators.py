"""Generators that run within a run or step, which is not current while their caller runs.

A generator shares its caller's context: a scope that it entered by `with` would be current for its caller, too.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Scope(Protocol):
    """A run or step of one call."""

    def open(self) -> None:
        """Begin."""

    def enter(self) -> None:
        """Make it current."""

    def leave(self) -> None:
        """Restore the one before it."""

    def close(self, error: BaseException | None) -> None:
        """End."""

    def returned(self, output: object) -> None:
        """End; `output` is the output if the application has set none."""


Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Scope]


@contextmanager
def entered(scope: Scope) -> Iterator[None]:
    """Make a scope current within the block."""
    scope.enter()
    try:
        yield
    finally:
        scope.leave()


@contextmanager
def ended_by_errors(scope: Scope) -> Iterator[None]:
    """End a scope with the exception raised in the block, if any."""
    try:
        yield
    except BaseException as error:
        scope.close(error)
        raise


def of_generator(function: Callable[..., Any], begin: Begin, capture: bool) -> Callable[..., Any]:
    """Wrap a generator function."""

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = begin(args, kwargs)
        with ended_by_errors(scope):
            generator = function(*args, **kwargs)
            sent, thrown = None, None
            while True:
                try:
                    with entered(scope):
                        item = generator.throw(thrown) if thrown else generator.send(sent)
                except StopIteration as stop:
                    output = stop.value
                    break
                sent, thrown = None, None
                try:
                    sent = yield item
                except BaseException as error:  # thrown in by the caller, also on close
                    thrown = error
        scope.returned(output if capture else None)
        return output

    return wrapper


def of_async_generator(function: Callable[..., Any], begin: Begin, capture: bool) -> Callable[..., Any]:  # noqa: ARG001
    """Wrap an asynchronous generator function, which has no return value."""

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = begin(args, kwargs)
        with ended_by_errors(scope):
            generator = function(*args, **kwargs)
            sent, thrown = None, None
            while True:
                try:
                    with entered(scope):
                        item = await (generator.athrow(thrown) if thrown else generator.asend(sent))
                except StopAsyncIteration:
                    break
                sent, thrown = None, None
                try:
                    sent = yield item
                except BaseException as error:
                    thrown = error
        scope.returned(None)

    return wrapper
