"""The course of exchanges against a simulated fleet on a clock of its own, and against a model of the rules.

Hypothesis lets several exchanges run at once: their attempts fail in every way, answer, race, are left, die after the
first byte, and time passes. The model says in its own words what chronicle's rules and the circuits allow.
"""

import random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.config.model import Circuit, Config, Hedge
from gateway.config.retry import Additive, Exponential, RetryPolicy
from gateway.errors import Kind
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import Candidate, keyed
from gateway.proxy.routing.health import Health
from gateway.proxy.routing.retry import Ended, Stop
from gateway.proxy.routing.schedule import AttemptSchedule, ScheduledAttempt
from tests.support.examples import examples
from tests.support.routing_model import OF_THE_KEY, RESTS, RETRYABLE, Gate, Running, backoff, provider

ALMOST = 1e-5  # seconds

milliseconds = st.sampled_from([0.0, 1.0, 100.0, 200.0, 1000.0])
policies = st.builds(
    RetryPolicy,
    max_tries=st.integers(1, 7),
    initial_backoff=milliseconds,
    increase=st.sampled_from(["constant", Exponential(multiplier=2.0), Additive(amount=150.0)]),
    jitter=milliseconds,
    max_backoff=st.sampled_from([0.0, 150.0, 1000.0, 5000.0]),
    fail_if_rate_limit_exceeds_max_backoff=st.booleans(),
)
circuits = st.builds(
    Circuit,
    failures=st.sampled_from([0, 1, 1, 2, 3]),
    open_seconds=st.sampled_from([1.0, 5.0]),
    max_open_seconds=st.sampled_from([3.0, 20.0]),
)
hedges = st.sampled_from([Hedge(), Hedge(percentile=0.5, min_ms=10.0, min_samples=1)])
endings = st.builds(
    Ended,
    kind=st.sampled_from([*Kind, *[Kind.SERVER, Kind.RATE_LIMIT] * 6]),
    retry_after=st.none() | st.sampled_from([0.0, 0.05, 0.5, 2.0, 7.0, 3600.0]),
    should_retry=st.sampled_from([None, None, None, True, False]),
) | st.just(Ended(kind=Kind.CLOSED, stale=True))


class Fleet(RuleBasedStateMachine):
    """Drives courses as `attempts` does."""

    @initialize(
        keys=st.lists(st.integers(0, 3), min_size=4, max_size=4),
        circuit=circuits,
        hedge=hedges,
    )
    def start(self, keys: list[int], circuit: Circuit, hedge: Hedge) -> None:
        """Begin with a fleet of four."""
        self.now = 1000.0
        self.health = Health()
        self.config = Config(circuit=circuit, hedge=hedge)
        self.fleet = [
            Candidate(providers=keyed(provider(number, count)), model="m") for number, count in enumerate(keys)
        ]
        self.gates = {each.id(None): Gate(circuit) for each in self.fleet}
        for each in self.fleet:
            self.health.first_byte(each.id(None), 0.1)  # enough to know what is late
        self.resting: dict[str | None, float] = {}
        self.running: list[Running] = []

    # what the model knows

    def rests(self, each: Provider, at: float) -> bool:
        """Whether a key of ours rests."""
        return each.key is not None and self.resting.get(each.key, 0.0) > at

    def available(self, candidate: Candidate) -> bool:
        """Whether a candidate is one to be asked before others that are not."""
        shut = self.gates[candidate.id(None)].shut(self.now)
        return not shut and not all(self.rests(each, self.now) for each in candidate.providers)

    def settle(self, running: Running, from_: int) -> None:
        """Put those to come that are not available behind those that are."""
        coming = running.order[from_:]
        running.order[from_:] = sorted(coming, key=lambda each: not self.available(each))

    def made(self, running: Running, step: ScheduledAttempt, place: int, wait: float) -> None:
        """Check what is true of every attempt, and take it down."""
        running.tries += 1
        assert running.tries <= running.policy.max_tries
        assert step.candidate is running.order[place]
        start = self.now + wait
        # its key: never one that rests while there is a free one that was not tried in this round
        tried = running.tried.setdefault(place, set())
        free = [each.key for each in step.candidate.providers if not self.rests(each, start)]
        if untried := [key for key in free if key not in tried]:
            assert step.provider.key in untried
        else:
            tried.clear()
            assert not free or step.provider.key in free
        tried.add(step.provider.key)
        # at most one at a time probes a circuit
        gate = self.gates[step.of]
        probes = gate.opened is not None and not gate.shut(start)
        assert step.probe == (start if probes else None)
        if probes:
            gate.probe = step, start
        assert (step.reason == "probe") == (probes and running.tries == 1)
        assert step.late is None or not running.hedged
        running.underway.append(step)
        running.begins = start

    def ended(self, running: Running, step: ScheduledAttempt, kind: str | None, retry_after: float | None) -> None:
        """Take the end of an attempt."""
        running.underway = [each for each in running.underway if each is not step]
        self.gates[step.of].result(kind, self.now)
        key = step.provider.key
        if kind in OF_THE_KEY and key is not None:
            self.resting[key] = self.now + (RESTS[kind] if retry_after is None else retry_after)
        if kind is not None and retry_after is not None:
            longest = running.policy.max_backoff / 1000
            until = self.now + (retry_after if kind == "rate_limit" else min(retry_after, longest))
            others = [each.key for each in step.candidate.providers if each.key != key]
            if kind in OF_THE_KEY:  # then another key may be free before
                until = min([until, *(self.resting.get(each, 0.0) for each in others)])
            running.free_at[step.position % len(running.order)] = until

    def failed(self, running: Running, step: ScheduledAttempt, ended: Ended) -> None:
        """Take a failure; of a stale connection nothing is learnt, and its key may be used once more."""
        if not ended.stale:
            self.ended(running, step, ended.kind.value, ended.retry_after)
            return
        running.underway = [each for each in running.underway if each is not step]
        gate = self.gates[step.of]
        if gate.probe is not None and gate.probe[0] is step:
            gate.probe = None
        running.tried[step.position % len(running.order)].discard(step.provider.key)

    def over(self, running: Running) -> None:
        """Let an exchange end: what is still under way came to nothing."""
        for step in running.underway:
            gate = self.gates[step.of]
            if gate.probe is not None and gate.probe[0] is step:
                gate.probe = None
        running.course.over()
        self.running.remove(running)

    def one(self, data: st.DataObject, among: list[Running]) -> tuple[Running, ScheduledAttempt]:
        """Return an attempt that is under way; what it waited for is over."""
        running = data.draw(st.sampled_from(among))
        step = data.draw(st.sampled_from(running.underway))
        self.now = max(self.now, running.begins)
        return running, step

    def alone(self) -> list[Running]:
        """Return those of which one attempt is under way."""
        return [each for each in self.running if len(each.underway) == 1]

    def racing(self) -> list[Running]:
        """Return those of which an attempt may be late."""
        return [each for each in self.alone() if each.underway[0].late is not None and not each.hedged]

    # what happens

    @precondition(lambda self: len(self.running) < 4)
    @rule(data=st.data(), policy=policies, count=st.integers(1, 4))
    def begin(self, data: st.DataObject, policy: RetryPolicy, count: int) -> None:
        """Take a request: the first available candidate in the listed order is asked at once."""
        listed = data.draw(st.permutations(self.fleet))[:count]
        course = AttemptSchedule(
            listed, None, self.config, policy, self.health, self.now, order="listed", rng=random.Random(0)
        )
        running = Running(course, list(listed), policy)
        self.settle(running, 0)
        step = course.begin(self.now)
        assert step.wait == 0.0
        assert step.reason in {"first", "probe"}
        self.made(running, step, 0, 0.0)
        self.running.append(running)

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 4.0, 25.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """Let the clock go on."""
        self.now += seconds

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.floats(0.001, 10.0))
    def answers(self, data: st.DataObject, seconds: float) -> None:
        """Answer an attempt, and relay it to its end; another one beside it is given up."""
        running, step = self.one(data, self.running)
        running.course.answered(step, seconds)
        running.course.note(step, None, self.now)
        running.course.note(step, Kind.SERVER, self.now)  # a second word changes nothing
        self.ended(running, step, None, None)
        self.over(running)

    @precondition(lambda self: self.alone())
    @rule(
        data=st.data(), kind=st.sampled_from([Kind.CLOSED, Kind.TIMEOUT, Kind.SERVER, Kind.PARSING]), asks=st.booleans()
    )
    def dies_after_the_first_byte(self, data: st.DataObject, kind: Kind, asks: bool) -> None:
        """Break off what the client has had a part of: that is never tried again."""
        running, step = self.one(data, self.alone())
        if asks:
            then = running.course.failed(step, Ended(kind=kind, relayed=True), self.now, 0.5)
            assert isinstance(then, Stop)
        else:
            running.course.note(step, kind, self.now)
        self.ended(running, step, kind.value, None)
        self.over(running)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        """Let a client leave: nothing is learnt from that."""
        running, _ = self.one(data, self.running)
        self.over(running)

    @precondition(lambda self: self.racing())
    @rule(data=st.data())
    def is_late(self, data: st.DataObject) -> None:
        """Let a first byte be late: the next one is asked beside it, if a try is left, once in an exchange."""
        running, step = self.one(data, self.racing())
        beside = running.course.hedge(step, self.now)
        if running.tries == running.policy.max_tries:
            assert beside is None
            return
        assert beside is not None
        assert (beside.wait, beside.late) == (0.0, None)
        assert beside.reason.startswith("hedge after ")
        running.hedged = True
        if running.at + 1 < len(running.order):
            running.at += 1
            self.settle(running, running.at)
        self.made(running, beside, running.place, 0.0)
        assert running.course.hedge(step, self.now) is None

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ended=endings, jitter=st.floats(0, 1))
    def fails(self, data: st.DataObject, ended: Ended, jitter: float) -> None:
        """Let an attempt fail before the client has had a byte."""
        self.fail(*self.one(data, self.running), ended, jitter)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), times=st.lists(endings, min_size=2, max_size=8), jitter=st.floats(0, 1))
    def keeps_failing(self, data: st.DataObject, times: list[Ended], jitter: float) -> None:
        """Let one exchange fail again and again."""
        running, _ = self.one(data, self.running)
        for ended in times:
            if running in self.running:
                self.now = max(self.now, running.begins)
                self.fail(running, running.underway[-1], ended, jitter)

    def fail(self, running: Running, step: ScheduledAttempt, ended: Ended, jitter: float) -> None:
        """Let an attempt fail, and see what follows."""
        kind = ended.kind
        if len(running.underway) > 1:  # the other one is waited for
            running.course.note_failure(step, ended, self.now)
            self.failed(running, step, ended)
            return
        then = running.course.failed(step, ended, self.now, jitter)
        self.failed(running, step, ended)
        expected = self.follows(running, step, ended)
        if expected is None:
            assert isinstance(then, Stop), then
            self.over(running)
            return
        assert isinstance(then, ScheduledAttempt), (then, expected)
        moves, waits_for, reason = expected
        assert then.reason == (reason if reason == "stale connection" else f"{reason} after {kind.value}")
        assert then.position == running.at + moves
        if not waits_for:
            assert then.wait == 0.0
        else:
            self.check_wait(running, then.wait, (running.at + moves) % len(running.order), jitter)
            running.skipped |= moves > 1
            running.waited += 1
        running.at += moves
        if running.at < len(running.order):
            self.settle(running, running.at)
        self.made(running, then, running.place, then.wait)

    def follows(self, running: Running, step: ScheduledAttempt, ended: Ended) -> tuple[int, bool, str] | None:
        """Say what must follow: how many places further, whether after a wait, and why; None for giving up."""
        kind, policy = ended.kind.value, running.policy
        if running.tries == policy.max_tries:
            return None
        if ended.stale and step.position == running.at:
            return 0, False, "stale connection"
        if kind in OF_THE_KEY and step.position == running.at:
            tried = running.tried[running.place]
            if any(each.key not in tried and not self.rests(each, self.now) for each in step.candidate.providers):
                return 0, False, "another key"
        if running.at + 1 < len(running.order):
            return 1, False, "fallback"
        if ended.should_retry is False or not (kind in RETRYABLE or ended.should_retry):
            return None
        count = len(running.order)
        rests = [self.left(running, (running.at + moves) % count) for moves in range(1, count + 1)]
        within = [moves for moves, rest in enumerate(rests, 1) if rest <= policy.max_backoff / 1000 + ALMOST]
        if within:
            moves = within[0]
        elif policy.fail_if_rate_limit_exceeds_max_backoff:
            return None
        else:
            moves = rests.index(min(rests)) + 1
        return moves, True, "retry" if count == 1 else "another round"

    def left(self, running: Running, place: int) -> float:
        """Return for how many seconds a candidate has said to be left alone."""
        return max(0.0, running.free_at.get(place, 0.0) - self.now)

    def check_wait(self, running: Running, wait: float, place: int, jitter: float) -> None:
        """Require that a wait is by the rules: the longer of backoff and what was said."""
        policy, rest = running.policy, self.left(running, place)
        least = max(backoff(policy, running.waited + 1, jitter), rest)
        assert wait >= least - ALMOST
        assert wait <= max(policy.max_backoff / 1000, rest) + ALMOST
        if not running.skipped:
            assert abs(wait - least) < ALMOST

    @invariant()
    def the_circuits_are_as_the_model_says(self) -> None:
        """Open after exactly so many failures in a row, closed by a success, and each attempt counted once."""
        for of, gate in self.gates.items():
            assert self.health.is_open(of, self.config.circuit, self.now) == gate.shut(self.now)

    @invariant()
    def the_same_keys_rest(self) -> None:
        """Those whose limit was met, or that were refused, for as long as was said."""
        for candidate in self.fleet:
            for each in candidate.providers:
                assert self.health.rests(each, self.now) == self.rests(each, self.now)


TestFleet: Any = Fleet.TestCase
TestFleet.settings = examples(200, stateful_step_count=40)


def test_the_key_of_a_retry_is_one_that_is_free_after_the_wait():
    """A key that rests at the failure but not when the retry is sent is next in turn."""
    candidate = Candidate(providers=keyed(provider(0, 2)), model="m")
    policy = RetryPolicy(max_tries=3, initial_backoff=1000.0, increase="constant", jitter=0.0, max_backoff=5000.0)
    health = Health()
    schedule = AttemptSchedule([candidate], None, Config(), policy, health, 0.0, order="listed", rng=random.Random(0))
    first = schedule.begin(0.0)
    (other,) = (each for each in candidate.providers if each is not first.provider)
    health.rest(other, Kind.RATE_LIMIT, 0.5, 0.0)
    failed = Ended(kind=Kind.SERVER, retry_after=None, relayed=False, should_retry=None)
    second = schedule.failed(first, failed, 0.0, 0.0)
    assert isinstance(second, ScheduledAttempt)
    assert (second.wait, second.provider) == (1.0, other)
