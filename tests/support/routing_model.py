"""Reference model of circuits, backoff and key selection, against which the schedule is checked."""

from gateway.config.model import Circuit
from gateway.config.retry import Additive, Exponential, RetryPolicy
from gateway.providers.http.client import Origin
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import Candidate
from gateway.proxy.routing.schedule import AttemptSchedule, ScheduledAttempt

RETRYABLE = {"server", "sending", "parsing", "upstream_abort", "rate_limit", "generic"}
OF_THE_PROVIDER = {"server", "sending", "parsing", "upstream_abort", "timeout", "generic"}
OF_THE_KEY = {"rate_limit", "auth", "out_of_credits"}
RESTS = {"rate_limit": 1.0, "auth": 60.0, "out_of_credits": 60.0}
"""Seconds that a key rests where nobody says how long."""


def provider(number: int, keys: int) -> Provider:
    """Return a provider with so many keys; with 0 the client's own is shown."""
    ours = tuple(f"key-{number}-{n}" for n in range(keys))
    return Provider(
        name=f"p{number}",
        origin=Origin("http", f"p{number}.test", 80),
        base_path="/v1",
        paths={"openai-chat": "/v1"},
        genai_name="test",
        key=ours[0] if ours else None,
        keys=ours,
    )


def backoff(policy: RetryPolicy, number: int, jitter: float) -> float:
    """Return the seconds of the n-th wait, in milliseconds chronicle's way."""
    wait = policy.initial_backoff
    for _ in range(number - 1):
        if isinstance(policy.increase, Exponential):
            wait *= policy.increase.multiplier
        elif isinstance(policy.increase, Additive):
            wait += policy.increase.amount
    return min(wait + policy.jitter * jitter, policy.max_backoff) / 1000


class Gate:
    """The model of one candidate's circuit."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.in_a_row = 0
        self.opened: tuple[float, float] | None = None  # until when, and how long that is
        self.probe: tuple[ScheduledAttempt | None, float] | None = None  # who probes, since when

    def probed(self, now: float) -> bool:
        """Whether somebody is just probing it."""
        return self.probe is not None and now < self.probe[1] + self.circuit.open_seconds

    def shut(self, now: float) -> bool:
        """Whether it is open, in a circuit's words: nobody should pass who may go elsewhere."""
        return self.opened is not None and (now < self.opened[0] or self.probed(now))

    def result(self, kind: str | None, now: float) -> None:
        """Take the end of an attempt."""
        self.probe = None
        if kind not in OF_THE_PROVIDER:
            self.in_a_row, self.opened = 0, None
            return
        self.in_a_row += 1
        circuit = self.circuit
        if self.opened is not None:
            if now >= self.opened[0]:
                longer = min(2 * self.opened[1], circuit.max_open_seconds)
                self.opened = now + longer, longer
        elif circuit.failures and self.in_a_row == circuit.failures:
            first = min(circuit.open_seconds, circuit.max_open_seconds)
            self.opened = now + first, first


class Running:
    """One exchange, and what the model knows of it."""

    def __init__(self, course: AttemptSchedule, order: list[Candidate], policy: RetryPolicy) -> None:
        self.course = course
        self.policy = policy
        self.order = order  # as it stands: the first so many were asked
        self.at = 0  # of the latest attempt, in the order repeated without end
        self.tries = 0
        self.waited = 0
        self.skipped = False
        self.hedged = False
        self.begins = 0.0  # when the latest attempt is made
        self.underway: list[ScheduledAttempt] = []
        self.free_at: dict[int, float] = {}  # by place in the order
        self.tried: dict[int, set[str | None]] = {}  # keys, by place in the order

    @property
    def place(self) -> int:
        """Where in the order the latest attempt is."""
        return self.at % len(self.order)
