"""Targets on a provider: a client's path joined to the provider's base path. Pure.

Clients write a base URL with, without or with a doubled version, and some with the provider's whole own path: the
result has each part once. All escapes stay as they came.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote_plus

from gateway.dialects.endpoint import bare

_VERSION = re.compile(r"/v\d")
_VERSION_END = re.compile(r"/v\d[^/]*$")


def versioned(base: str) -> bool:
    """Whether a base path has a version."""
    return _VERSION.search(base) is not None


def join(base: str, path: str) -> str:
    """Join a dialect's base path and a request's path.

    >>> join("/v1", "/v1/v1/models")
    '/v1/models'
    >>> join("/openai/v1", "/models")
    '/openai/v1/models'
    >>> join("/openai/v1", "/openai/v1/models")
    '/openai/v1/models'
    """
    rest = bare(path)
    once = path if rest == path else f"/v1{rest}"
    if _VERSION.search(base) and f"{once}/".startswith(f"{base}/"):  # the provider's own whole path
        return once
    return base + rest


def loose(base: str, path: str) -> str:
    """Join a base path without a version and a request's path, whose version stays if it has one.

    >>> loose("/x", "/v1/v1/models"), loose("", "/models")
    ('/x/v1/models', '/models')
    """
    rest = bare(path)
    return base + (rest if rest == path or _VERSION_END.search(base) else f"/v1{rest}")


def below_root(base: str, path: str, root: str) -> str | None:
    """Join a path that has all that is below the host; None if it does not begin with the root, or has a version.

    >>> below_root("/openai/v1", "/openai/files?api-version=1", "/openai/")
    '/openai/files?api-version=1'
    """
    if not path.startswith(root) or path.startswith(f"{root}v1/"):
        return None
    return base.removesuffix(f"{root}v1") + path


def keys_in(query: str, names: Collection[str]) -> list[str]:
    """Return the keys in a query, which are the values of these parameters.

    >>> keys_in("?alt=sse&key=a%2Bb", {"key"})
    ['a+b']
    """
    if not names or "=" not in query:
        return []
    pairs = [pair.partition("=") for pair in query.removeprefix("?").split("&")]
    return [unquote_plus(value) for name, _, value in pairs if name in names and value]


def parameters(query: str) -> list[tuple[str, bytes]]:
    """Return the names of a query's parameters as they came, each with its value unescaped."""
    pairs = (pair.partition("=") for pair in query.removeprefix("?").split("&"))
    return [(name, unquote_plus(value).encode("utf-8", "surrogateescape")) for name, _, value in pairs if value]


def without_keys(query: str, names: Collection[str]) -> str:
    """Return a query without these parameters, the rest of it as it came.

    >>> without_keys("?key=a&alt=sse", {"key"}), without_keys("?key=a", {"key"}), without_keys("?", {"key"})
    ('?alt=sse', '', '?')
    """
    pairs = query.removeprefix("?").split("&")
    rest = [pair for pair in pairs if pair.partition("=")[0] not in names]
    return query if len(rest) == len(pairs) else "?" * bool(rest) + "&".join(rest)
