"""One credential, cached until shortly before it expires and refreshed by one task at a time.

A refresh may take seconds: requests that come while the old credential is good use it, the others wait for the one
refresh. A request that is cancelled does not cancel it. A failure is remembered for five seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from gateway.errors import ExchangeError, Kind

_REREAD_SECONDS = 300.0  # after which the source of a credential that does not expire is read again
_FAILURE_SECONDS = 5.0  # for which a failure is remembered


class CredentialError(Exception):
    """No credential could be obtained; the text continues a sentence and has no secret.

    `retryable`: the same request may succeed later.
    """

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable


class Expiring(Protocol):
    """A credential; `expires` is a Unix time, None if it does not expire."""

    @property
    def expires(self) -> float | None: ...  # noqa: D102


C = TypeVar("C", bound=Expiring)


class _Failure(NamedTuple):
    until: float
    message: str
    kind: Kind


class Refresher(Generic[C]):
    """Caches what `find` returns. Times are Unix times.

    Args:
        find: Obtains a credential at a time. Raises CredentialError.
        early: Seconds before the expiry at which a credential is refreshed, or half its life if that is shorter.
        code: The error code for clients.
        remedy: The sentence that ends the error message.

    """

    def __init__(self, find: Callable[[float], Awaitable[C]], *, early: float, code: str, remedy: str) -> None:
        self._find = find
        self._early = early
        self._code = code
        self._remedy = remedy
        self._task: asyncio.Task[C | _Failure] | None = None
        self._refresh_at = 0.0
        self._failure: _Failure | None = None
        self.current: C | None = None

    def __repr__(self) -> str:
        return f"<Refresher {self.current!r}>"

    async def get(self, now: float) -> C:
        """Return a credential that is good at `now`. Raises ExchangeError with the remedy."""
        current = self.current
        if current is not None and (now < self._refresh_at or (_good(current, now) and self._task is not None)):
            return current
        if current is None and self._failure is not None and now < self._failure.until:
            raise self._error(self._failure)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh(now))
        found = await asyncio.shield(self._task)
        if isinstance(found, _Failure):
            raise self._error(found)
        return found

    def forget(self, credential: C) -> None:
        """Refresh at the next request: the provider refused this credential."""
        if self.current == credential:
            self.current = None

    async def _refresh(self, now: float) -> C | _Failure:
        try:
            found = await self._find(now)
            if not _good(found, now):
                raise CredentialError("the credentials found have expired")
        except CredentialError as error:
            return self._failed(error, now)
        finally:
            self._task = None
        self.current, self._failure = found, None
        self._refresh_at = now + _REREAD_SECONDS
        if found.expires is not None:
            self._refresh_at = found.expires - min(self._early, (found.expires - now) / 2)
        return found

    def _failed(self, error: CredentialError, now: float) -> C | _Failure:
        """Return the old credential while it is good, else the failure."""
        again = now + _FAILURE_SECONDS
        if self.current is not None and _good(self.current, now):
            self._refresh_at = min(again, self.current.expires or again)
            return self.current
        self.current = None
        kind = Kind.SENDING if error.retryable else Kind.AUTH
        self._failure = _Failure(again, f"{error} {self._remedy}", kind)
        return self._failure

    def _error(self, failure: _Failure) -> ExchangeError:
        """Return an error of its own for each exchange."""
        return ExchangeError(failure.kind, failure.message, code=self._code)


def _good(credential: Expiring, now: float) -> bool:
    return credential.expires is None or now < credential.expires
