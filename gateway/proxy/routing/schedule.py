"""The course of one exchange: which candidate, and which of its keys, each attempt goes to, when, and why.

`retry.next_step` has the rules; this module has their inputs, and notes results for other exchanges. It does
nothing by itself, and reads no clock: who drives it makes the attempts and waits.
"""

import random
from collections.abc import Sequence

from msgspec import Struct, structs

from gateway.config.model import Config, Order
from gateway.config.retry import RetryPolicy
from gateway.errors import Kind
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import Candidate, Id, ordered
from gateway.proxy.routing.health import OF_THE_KEY, Health
from gateway.proxy.routing.retry import Ended, Stop, next_step


class ScheduledAttempt(Struct, frozen=True, kw_only=True):
    """The next attempt: its candidate (`provider` has the key to send), the seconds to wait before it, and its reason.

    `position`: of its candidate, if their list were repeated without end. `probe`: since when its candidate's circuit
    waits for its result; None if it does not. `late`: after how many further seconds another attempt is to be
    made beside it; None for never.
    """

    candidate: Candidate
    provider: Provider
    of: Id
    position: int
    wait: float
    reason: str
    probe: float | None = None
    late: float | None = None


class AttemptSchedule:
    """The attempts of one exchange. `model`: the one that its request names; `now`: seconds of one clock."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        model: str | None,
        config: Config,
        policy: RetryPolicy,
        health: Health,
        now: float,
        *,
        order: Order,
        rng: random.Random,
    ) -> None:
        """Order the candidates by `order`; those that fail or rest come last."""
        self._model = model
        self._config = config
        self._policy = policy
        self._health = health
        in_order = ordered(candidates, order, lambda each: health.latency(each.id(model)), rng)
        self.candidates = health.arranged(in_order, model, config.circuit, now)
        self._position = 0
        self._tries = 0
        self._hedged = False
        self._may_pass = False
        self._keys: dict[int, list[Provider]] = {}
        self._until = [0.0] * len(self.candidates)  # when each may be tried again
        self._underway: list[ScheduledAttempt] = []

    def __repr__(self) -> str:
        return f"<AttemptSchedule {self._tries} tries, at {self._position} of {len(self.candidates)} candidates>"

    @property
    def hopeless(self) -> bool:
        """Whether the same request would fail again everywhere: no attempt's failure was of a kind that may pass."""
        return not self._may_pass

    def begin(self, now: float) -> ScheduledAttempt:
        """Return the first attempt."""
        return self._step(0.0, "first", now)

    def failed(self, step: ScheduledAttempt, ended: Ended, now: float, jitter: float) -> ScheduledAttempt | Stop:
        """Return the next step after a failed attempt. `jitter`: a random number from 0 to 1."""
        self.note_failure(step, ended, now)
        if ended.stale and step.position != self._position:  # a race has gone on to another candidate meanwhile
            ended = structs.replace(ended, stale=False)
        then = next_step(
            ended,
            tries=self._tries,
            position=self._position,
            rests=[round(max(0.0, until - now), 6) for until in self._until],  # a difference of clocks, not quite exact
            policy=self._policy,
            jitter=jitter,
            other_key=ended.kind in OF_THE_KEY and step.position == self._position and self._has_fresh_key(now),
        )
        if isinstance(then, Stop):
            return then
        self._move(then.moves, now)
        return self._step(then.wait, then.reason, now)

    def hedge(self, step: ScheduledAttempt, now: float) -> ScheduledAttempt | None:
        """Return the attempt to make beside a late one: the next candidate's; None if no try is left."""
        if self._hedged or self._tries >= self._policy.max_tries:
            return None
        self._hedged = True
        if self._position + 1 < len(self.candidates):
            self._move(1, now)
        return self._step(0.0, f"hedge after {round((step.late or 0.0) * 1000)} ms", now)

    def note(self, step: ScheduledAttempt, kind: Kind | None, now: float, retry_after: float | None = None) -> None:
        """Note the end of an attempt, once. `kind`: None if it was answered. `retry_after`: in seconds."""
        if not self._settled(step):
            return
        self._health.ended(step.of, kind, self._config.circuit, now)
        if kind is None:
            return
        self._may_pass = self._may_pass or not kind.fact.final
        self._health.rest(step.provider, kind, retry_after, now)
        if retry_after is not None:
            longest = self._policy.max_backoff / 1000
            until = now + (retry_after if kind is Kind.RATE_LIMIT else min(retry_after, longest))
            if kind in OF_THE_KEY:  # then whichever of the keys is free first
                others = [each for each in step.candidate.providers if each is not step.provider]
                until = min([until, *(self._health.rests_until(each) for each in others)])
            self._until[step.position % len(self.candidates)] = until

    def note_failure(self, step: ScheduledAttempt, ended: Ended, now: float) -> None:
        """Note a failed attempt. A stale connection reveals nothing of its candidate, and leaves its key in turn."""
        if not ended.stale:
            self.note(step, ended.kind, now, ended.retry_after)
            return
        self._may_pass = True
        self.left(step)
        self._keys.get(step.position % len(self.candidates), []).insert(0, step.provider)

    def answered(self, step: ScheduledAttempt, seconds: float) -> None:
        """Note how long the first byte of a good response took, or for how long there was none."""
        self._health.first_byte(step.of, seconds)

    def left(self, step: ScheduledAttempt) -> None:
        """Note an attempt whose end reveals nothing of its candidate."""
        if self._settled(step) and step.probe is not None:
            self._health.left(step.of, step.probe)

    def over(self) -> None:
        """End the schedule: of attempts still under way no result will come."""
        for step in self._underway:
            self.left(step)

    def _settled(self, step: ScheduledAttempt) -> bool:
        """Return whether an attempt was still under way, and end it."""
        before = len(self._underway)
        self._underway = [each for each in self._underway if each is not step]
        return len(self._underway) < before

    def _move(self, moves: int, now: float) -> None:
        """Move on in the list, whose untried rest is arranged anew by the health observed meanwhile."""
        self._position += moves
        head, rest = self.candidates[: self._position], self.candidates[self._position :]
        self.candidates = head + self._health.arranged(rest, self._model, self._config.circuit, now)

    def _step(self, wait: float, reason: str, now: float) -> ScheduledAttempt:
        index = self._position % len(self.candidates)
        candidate = self.candidates[index]
        of = candidate.id(self._model)
        self._tries += 1
        probe = self._health.begins(of, self._config.circuit, now + wait)
        step = ScheduledAttempt(
            candidate=candidate,
            provider=self._key(index, now + wait),
            of=of,
            position=self._position,
            wait=wait,
            reason="probe" if probe and reason == "first" else reason,
            probe=now + wait if probe else None,
            late=None if self._hedged else self._health.late(of, self._config.hedge),
        )
        self._underway.append(step)
        return step

    def _key(self, index: int, now: float) -> Provider:
        """Return the candidate with the next of its keys: of those not tried in this round, one that does not rest."""
        candidate = self.candidates[index]
        if len(candidate.providers) == 1:
            return candidate.provider
        left = self._keys.get(index, [])
        free = [each for each in left if not self._health.rests(each, now)]
        if not free:
            left = free = list(self._health.keys(candidate, now))
        self._keys[index] = [each for each in left if each is not free[0]]
        return free[0]

    def _has_fresh_key(self, now: float) -> bool:
        """Whether the present candidate has a key that was not tried in this round, and does not rest."""
        left = self._keys.get(self._position % len(self.candidates), [])
        return not all(self._health.rests(each, now) for each in left)
