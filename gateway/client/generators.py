"""Generators whose every step is made within a run or a step, and nothing that their caller does between.

A generator shares its caller's context: what it would enter by `with`, its caller would stand in too.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Scope(Protocol):
    """What a call begins, stands in, and ends."""

    def open(self) -> None:
        """Begin."""

    def enter(self) -> None:
        """Stand in it."""

    def leave(self) -> None:
        """Stand where it was before."""

    def close(self, error: BaseException | None) -> None:
        """End."""

    def returned(self, output: object) -> None:
        """End, and what came out is this where nothing else was said."""


Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Scope]


@contextmanager
def standing(scope: Scope) -> Iterator[None]:
    """Stand in a scope meanwhile."""
    scope.enter()
    try:
        yield
    finally:
        scope.leave()


@contextmanager
def ended_by_errors(scope: Scope) -> Iterator[None]:
    """End a scope by whatever is raised meanwhile."""
    try:
        yield
    except BaseException as error:
        scope.close(error)
        raise


def of_generator(function: Callable[..., Any], begin: Begin, capture: bool) -> Callable[..., Any]:
    """Return a generator function like another one, in a scope."""

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = begin(args, kwargs)
        with ended_by_errors(scope):
            generator = function(*args, **kwargs)
            sent, thrown = None, None
            while True:
                try:
                    with standing(scope):
                        item = generator.throw(thrown) if thrown else generator.send(sent)
                except StopIteration as stop:
                    output = stop.value
                    break
                sent, thrown = None, None
                try:
                    sent = yield item
                except BaseException as error:  # what is thrown in, which closing does too
                    thrown = error
        scope.returned(output if capture else None)
        return output

    return wrapper


def of_async_generator(function: Callable[..., Any], begin: Begin, capture: bool) -> Callable[..., Any]:  # noqa: ARG001
    """Return an asynchronous generator function like another one, in a scope. Such a one returns nothing."""

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = begin(args, kwargs)
        with ended_by_errors(scope):
            generator = function(*args, **kwargs)
            sent, thrown = None, None
            while True:
                try:
                    with standing(scope):
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
