"""The health of candidates and their keys as one worker observes it: failures, rests after rate limits, latency.

A circuit per candidate: closed; open after failures in a row; then half open, where one exchange probes it, and its
end closes or opens it again. An open one is only put behind the others: what has nowhere else to go is never refused.
Pure but for what it remembers: times are arguments, in seconds of any one clock.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Sequence

from msgspec import Struct

from gateway.config.model import Circuit, Hedge
from gateway.errors import Kind
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import OF_THE_REQUEST, Candidate, Id

FAILURES = frozenset({Kind.SERVER, Kind.SENDING, Kind.PARSING, Kind.CLOSED, Kind.TIMEOUT, Kind.GENERIC})
"""Errors of the provider, not of the request or its key."""
OF_THE_KEY = frozenset({Kind.RATE_LIMIT, Kind.AUTH, Kind.CREDITS})
"""Errors of a key, which another key of the same provider may not get."""

# Seconds that a key rests if the provider names none: after a rate limit, and after a refusal.
_LIMITED_SECONDS, _REFUSED_SECONDS = 1.0, 60.0
_SAMPLES = 128
# Models come from requests, so their number is bounded; the one used longest ago is forgotten.
_KNOWN_MAX = 4096


class _Record(Struct):
    """Observations of one candidate. `until`: when its open circuit may be probed; None: it is closed."""

    first_bytes: deque[float]
    failures: int = 0
    until: float | None = None
    open_for: float = 0.0
    probed_at: float | None = None


class Health:
    """One worker's observations, which outlive reloads of the configuration."""

    def __init__(self) -> None:
        self._records: OrderedDict[Id, _Record] = OrderedDict()
        self._rests: dict[tuple[str, str], float] = {}
        self._turn: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Health of {len(self._records)} candidates, {len(self._rests)} keys rest>"

    def is_open(self, of: Id, circuit: Circuit, now: float) -> bool:
        """Whether a candidate's circuit is open, or another exchange is just probing it."""
        record = self._records.get(of)
        if record is None or record.until is None or not circuit.failures:
            return False
        probing = record.probed_at is not None and now - record.probed_at < circuit.open_seconds
        return now < record.until or probing

    def begins(self, of: Id, circuit: Circuit, now: float) -> bool:
        """Note the start of an attempt; return whether it probes an open circuit, which one attempt at a time does."""
        record = self._records.get(of)
        if record is None or record.until is None or not circuit.failures or self.is_open(of, circuit, now):
            return False
        record.probed_at = now
        return True

    def ended(self, of: Id, kind: Kind | None, circuit: Circuit, now: float) -> None:
        """Note the end of an attempt. `kind`: None if it was answered. Whatever is no failure closes the circuit."""
        record = self._of(of)
        record.probed_at = None
        if kind not in FAILURES:
            record.failures, record.until, record.open_for = 0, None, 0.0
            return
        record.failures += 1
        if record.until is not None and now >= record.until:  # the probe failed
            record.open_for = min(record.open_for * 2, circuit.max_open_seconds)
            record.until = now + record.open_for
        elif record.until is None and circuit.failures and record.failures >= circuit.failures:
            record.open_for = min(circuit.open_seconds, circuit.max_open_seconds)
            record.until = now + record.open_for

    def left(self, of: Id, began: float) -> None:
        """Note a probe without a result: its client left, or another attempt won."""
        record = self._records.get(of)
        if record is not None and record.probed_at == began:  # one that took too long has given way to another
            record.probed_at = None

    def first_byte(self, of: Id, seconds: float) -> None:
        """Note how long a response's first byte took."""
        self._of(of).first_bytes.append(seconds)

    def latency(self, of: Id) -> float | None:
        """Return the mean seconds to the latest first bytes: inf if none came, None if no attempt was made."""
        record = self._records.get(of)
        if record is None:
            return None
        return sum(record.first_bytes) / len(record.first_bytes) if record.first_bytes else math.inf

    def late(self, of: Id, hedge: Hedge) -> float | None:
        """Return after how many seconds a first byte is late; None without hedging or with too few samples."""
        record = self._records.get(of)
        if hedge.percentile is None or record is None or len(record.first_bytes) < hedge.min_samples:
            return None
        ranked = sorted(record.first_bytes)
        return max(ranked[min(int(hedge.percentile * len(ranked)), len(ranked) - 1)], hedge.min_ms / 1000)

    def rest(self, provider: Provider, kind: Kind, retry_after: float | None, now: float) -> None:
        """Let a key of ours rest after a failure that is about it."""
        if provider.key is None or provider.key_name == OF_THE_REQUEST or kind not in OF_THE_KEY:
            return
        usual = _LIMITED_SECONDS if kind is Kind.RATE_LIMIT else _REFUSED_SECONDS
        self._rests[_key(provider)] = now + (usual if retry_after is None else retry_after)
        if len(self._rests) > _KNOWN_MAX:
            self._rests = {key: until for key, until in self._rests.items() if until > now}

    def rests(self, provider: Provider, now: float) -> bool:
        """Whether the key of a provider rests."""
        return self.rests_until(provider) > now

    def rests_until(self, provider: Provider) -> float:
        """Return the time until which a provider's key rests; a past one if it does not rest."""
        return self._rests.get(_key(provider), -math.inf)

    def keys(self, candidate: Candidate, now: float) -> tuple[Provider, ...]:
        """Return a candidate's keys in the order to use them: in turn, and those last that rest."""
        providers = candidate.providers
        if len(providers) == 1:
            return providers
        name = candidate.provider.name
        turn = self._turn[name] = (self._turn.get(name, -1) + 1) % len(providers)
        in_turn = providers[turn:] + providers[:turn]
        return tuple(sorted(in_turn, key=lambda each: max(self.rests_until(each), now)))

    def arranged(
        self, candidates: Sequence[Candidate], model: str | None, circuit: Circuit, now: float
    ) -> tuple[Candidate, ...]:
        """Return candidates as they came, but those last that fail or whose keys all rest."""

        def unwell(each: Candidate) -> bool:
            return self.is_open(each.id(model), circuit, now) or all(self.rests(one, now) for one in each.providers)

        return tuple(sorted(candidates, key=unwell)) if len(candidates) > 1 else tuple(candidates)

    def _of(self, of: Id) -> _Record:
        record = self._records.get(of)
        if record is None:
            record = self._records[of] = _Record(deque(maxlen=_SAMPLES))
            if len(self._records) > _KNOWN_MAX:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(of)
        return record


def _key(provider: Provider) -> tuple[str, str]:
    return provider.name, provider.key_name or ""
