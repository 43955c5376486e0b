"""Decorators for functions of any kind, each call of which becomes a run or a step."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from gateway.client.generators import Begin, Scope, ended_by_errors, entered, of_async_generator, of_generator

P = ParamSpec("P")
R = TypeVar("R")


def decorated(
    function: Callable[P, R], create: Callable[[str, Mapping[str, Any] | None], Scope], *, capture: bool
) -> Callable[P, R]:
    """Return a function of the same kind and signature. `create` returns a new scope for a name and arguments."""
    name = getattr(function, "__name__", type(function).__name__)
    signature = _signature(function) if capture else None

    def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
        scope = create(name, _arguments(signature, args, kwargs) if capture else None)
        scope.open()
        return scope

    wrapper = _kind(function)(function, begin, capture)
    return cast("Callable[P, R]", functools.wraps(function)(wrapper))


def _kind(function: Callable[..., Any]) -> Callable[[Callable[..., Any], Begin, bool], Callable[..., Any]]:
    """Return the wrapper for functions of this kind."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner) and not inspect.isclass(inner):
        inner = type(inner).__call__
    if inspect.isasyncgenfunction(inner):
        return of_async_generator
    if inspect.isgeneratorfunction(inner):
        return of_generator
    return _of_coroutine if inspect.iscoroutinefunction(inner) else _of_function


def _of_coroutine(function: Callable[..., Any], begin: Begin, capture: bool) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = begin(args, kwargs)
        with ended_by_errors(scope), entered(scope):
            output = await function(*args, **kwargs)
        scope.returned(output if capture else None)
        return output

    return wrapper


def _of_function(function: Callable[..., Any], begin: Begin, capture: bool) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = begin(args, kwargs)
        with ended_by_errors(scope), entered(scope):
            output = function(*args, **kwargs)
        scope.returned(output if capture else None)
        return output

    return wrapper


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _arguments(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return arguments by their names, without `self` or `cls`."""
    try:
        if signature is None:
            raise TypeError
        named = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:  # the call will raise the same
        return {"args": args, "kwargs": kwargs}
    if (first := next(iter(signature.parameters), "")) in {"self", "cls"}:
        named.pop(first, None)
    return named
