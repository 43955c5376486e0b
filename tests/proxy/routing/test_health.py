"""What a worker has seen of its candidates: circuits, keys that rest, and how quick they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import Circuit, Hedge
from gateway.errors import Kind
from gateway.proxy.routing.aliases import Candidate, Id
from gateway.proxy.routing.health import Health
from gateway.proxy.routing.request_options import Options
from tests.support.fleet import chosen, setup
from tests.support.routing_model import OF_THE_KEY, OF_THE_PROVIDER, RESTS

A: Id = ("a", "m")
CIRCUIT = Circuit(failures=3, open_seconds=10.0, max_open_seconds=35.0)
SERVER = Kind.SERVER


def failed(health: Health, times: int, now: float = 0.0, kind: Kind = SERVER) -> None:
    """Fail so often."""
    for _ in range(times):
        health.ended(A, kind, CIRCUIT, now)


# Circuits.


@given(st.integers(1, 8))
def test_a_circuit_opens_after_exactly_so_many_failures_in_a_row(count):
    """One less, or one that was interrupted by a success, leaves it closed."""
    circuit, health = Circuit(failures=count), Health()
    for n in range(3 * count):
        assert not health.is_open(A, circuit, 0.0)
        health.ended(A, None if n % count == count - 1 else SERVER, circuit, 0.0)
    for n in range(count):
        assert not health.is_open(A, circuit, 0.0), n
        health.ended(A, SERVER, circuit, 0.0)
    assert health.is_open(A, circuit, 0.0)


@pytest.mark.parametrize("kind", list(Kind))
def test_which_kinds_open_it(kind):
    """Failures of the provider, not of the request, its key or its limits: those show that somebody is there."""
    health = Health()
    failed(health, 3, kind=kind)
    assert health.is_open(A, CIRCUIT, 0.0) == (kind.value in OF_THE_PROVIDER)
    failed(health, 2)
    health.ended(A, kind, CIRCUIT, 0.0)
    assert health.is_open(A, CIRCUIT, 0.0) == (kind.value in OF_THE_PROVIDER)


def test_it_is_probed_again_and_again_at_doubled_times():
    """Until max_open_seconds; a success closes it, and the next opening is short again."""
    health, now = Health(), 0.0
    failed(health, 3)
    for seconds in (10.0, 20.0, 35.0, 35.0):
        assert health.is_open(A, CIRCUIT, now + seconds - 0.001)
        assert not health.begins(A, CIRCUIT, now + seconds - 0.001)
        now += seconds
        assert not health.is_open(A, CIRCUIT, now)
        assert health.begins(A, CIRCUIT, now)
        health.ended(A, SERVER, CIRCUIT, now)
    now += 35.0
    assert health.begins(A, CIRCUIT, now)
    health.ended(A, None, CIRCUIT, now)
    assert not health.is_open(A, CIRCUIT, now)
    assert not health.begins(A, CIRCUIT, now)
    failed(health, 3, now)
    assert health.is_open(A, CIRCUIT, now + 9.9)
    assert not health.is_open(A, CIRCUIT, now + 10.0)


def test_one_probe_at_a_time():
    """While it is under way the circuit is open to all others; one that was left, or takes too long, gives way."""
    health = Health()
    failed(health, 3)
    assert health.begins(A, CIRCUIT, 10.0)
    assert health.is_open(A, CIRCUIT, 11.0)
    assert not health.begins(A, CIRCUIT, 11.0)
    health.left(A, 10.0)
    assert not health.is_open(A, CIRCUIT, 12.0)
    assert health.begins(A, CIRCUIT, 12.0)
    assert not health.begins(A, CIRCUIT, 21.9)
    assert health.begins(A, CIRCUIT, 22.0)
    health.left(A, 12.0)  # which had taken too long
    assert not health.begins(A, CIRCUIT, 23.0)


def test_what_fails_while_it_is_open_does_not_prolong_it():
    """Attempts that were under way when it opened."""
    health = Health()
    failed(health, 3)
    failed(health, 5, 9.0)
    assert not health.is_open(A, CIRCUIT, 10.0)


def test_without_circuits_none_is_open():
    """By 0 failures, also where one had been open before the configuration changed."""
    off, health = Circuit(failures=0), Health()
    for _ in range(100):
        health.ended(A, SERVER, off, 0.0)
    assert not health.is_open(A, off, 0.0)
    failed(health, 3)
    assert health.is_open(A, CIRCUIT, 0.0)
    assert not health.is_open(A, off, 0.0)
    assert not health.begins(A, off, 99.0)


def test_a_first_opening_is_bounded_too():
    """Where open_seconds is more than max_open_seconds."""
    health, circuit = Health(), Circuit(failures=1, open_seconds=50.0, max_open_seconds=5.0)
    health.ended(A, SERVER, circuit, 0.0)
    assert not health.is_open(A, circuit, 5.0)


def test_candidates_are_apart():
    """Another model of the same provider is another candidate."""
    health = Health()
    failed(health, 3)
    assert not health.is_open(("a", "n"), CIRCUIT, 0.0)
    assert not health.is_open(("b", "m"), CIRCUIT, 0.0)


def test_no_more_is_remembered_than_there_is_room_for():
    """Models' names come from requests; what was used last is kept."""
    health = Health()
    for n in range(10_000):
        health.ended(("a", f"model-{n}"), None, CIRCUIT, 0.0)
        failed(health, 1)
    assert repr(health).startswith("<Health of 4096 candidates")
    assert health.is_open(A, CIRCUIT, 0.0)


# Keys.

TOML = """
[providers.pool]
base_url = "http://pool.test"
api_keys = ["k1", "k2", "k3"]
[providers.single]
base_url = "http://single.test"
api_key = "k"
[providers.clients]
base_url = "http://clients.test"
[requests]
api_keys = true
"""


def candidate(model: str, **options) -> Candidate:
    """Return a candidate of a provider."""
    (found,) = chosen(setup(toml=TOML), model, Options(**options))
    return found


def used(health: Health, pool: Candidate, now: float) -> str:
    """Return the keys in the order in which they would be used, by their last letters."""
    return "".join((each.key or "")[-1] for each in health.keys(pool, now))


def test_keys_go_round():
    """Each time another one is first, and all others follow in turn."""
    health, pool = Health(), candidate("pool/m")
    assert [used(health, pool, 0.0) for _ in range(4)] == ["123", "231", "312", "123"]


@pytest.mark.parametrize("kind", list(Kind))
def test_which_kinds_let_a_key_rest(kind):
    """Its limit, and that it was refused or has no money: another key may do."""
    health, pool = Health(), candidate("pool/m")
    health.rest(pool.providers[0], kind, 30.0, 0.0)
    assert health.rests(pool.providers[0], 29.9) == (kind.value in OF_THE_KEY)
    assert not health.rests(pool.providers[0], 30.0)
    assert not health.rests(pool.providers[1], 0.0)


@pytest.mark.parametrize(("kind", "seconds"), RESTS.items())
def test_how_long_a_key_rests_where_nobody_says(kind, seconds):
    """A limit may be over in a moment; a refused key is not mended as soon."""
    health, pool = Health(), candidate("pool/m")
    health.rest(pool.providers[0], Kind(kind), None, 100.0)
    assert health.rests_until(pool.providers[0]) == 100.0 + seconds


def test_keys_that_rest_come_last_the_soonest_free_first():
    """And as before once they have rested."""
    health, pool = Health(), candidate("pool/m")
    health.rest(pool.providers[0], Kind.RATE_LIMIT, 50.0, 0.0)
    health.rest(pool.providers[1], Kind.RATE_LIMIT, 20.0, 0.0)
    assert [used(health, pool, 1.0) for _ in range(3)] == ["321"] * 3
    assert {used(health, pool, 20.0) for _ in range(3)} == {"231", "321"}
    assert {used(health, pool, 50.0) for _ in range(3)} == {"123", "231", "312"}


def test_keys_of_clients_and_requests_do_not_rest():
    """They are not ours to spare, and what is said of one says nothing of another."""
    health = Health()
    for each in (candidate("clients/m"), candidate("pool/m", api_key="theirs")):
        health.rest(each.provider, Kind.RATE_LIMIT, 60.0, 0.0)
        assert not health.rests(each.provider, 1.0)
    assert repr(health) == "<Health of 0 candidates, 0 keys rest>"


# Who is asked first.


def test_who_is_unwell_comes_last_in_the_listed_order():
    """Whose circuit is open, and whose keys all rest; among them, and among the others, the order stays."""
    health = Health()
    pool, single, clients, other = (candidate(f"{name}/m") for name in ("pool", "single", "clients", "openai"))
    four = [single, pool, clients, other]
    assert health.arranged(four, None, CIRCUIT, 0.0) == tuple(four)
    health.rest(single.provider, Kind.RATE_LIMIT, 60.0, 0.0)
    health.rest(pool.providers[0], Kind.RATE_LIMIT, 60.0, 0.0)
    for _ in range(3):
        health.ended(clients.id(None), SERVER, CIRCUIT, 0.0)
    assert health.arranged(four, None, CIRCUIT, 1.0) == (pool, other, single, clients)
    assert health.arranged([clients], None, CIRCUIT, 1.0) == (clients,)
    assert health.arranged([], None, CIRCUIT, 1.0) == ()


# How quick they are.


def test_latency_is_the_mean_of_the_latest():
    """Nothing where nobody was asked; without end where nobody answered."""
    health = Health()
    assert health.latency(A) is None
    failed(health, 1)
    assert health.latency(A) == float("inf")
    for seconds, times in ((9.0, 200), (1.0, 96), (5.0, 32)):
        for _ in range(times):
            health.first_byte(A, seconds)
    assert health.latency(A) == 2.0


@given(st.lists(st.floats(0.001, 100.0), min_size=1, max_size=128), st.floats(0.01, 0.99))
def test_late_is_later_than_the_percentile(seconds, percentile):
    """At least that part of what was seen was not later, and no more than that was earlier; and some of it was seen."""
    health = Health()
    for each in seconds:
        health.first_byte(A, each)
    late = health.late(A, Hedge(percentile=percentile, min_ms=0.0, min_samples=1))
    assert late in seconds
    assert sum(each < late for each in seconds) <= percentile * len(seconds) <= sum(each <= late for each in seconds)


def test_nobody_is_late_before_enough_was_seen():
    """Or where nobody hedges; and never earlier than min_ms."""
    health, hedge = Health(), Hedge(percentile=0.9, min_ms=250.0, min_samples=3)
    assert health.late(A, hedge) is None
    for _ in range(2):
        health.first_byte(A, 0.01)
    assert health.late(A, hedge) is None
    health.first_byte(A, 0.01)
    assert health.late(A, hedge) == 0.25
    assert health.late(A, Hedge()) is None
    health.first_byte(A, 3.0)
    assert health.late(A, hedge) == 3.0


def test_the_oldest_candidate_is_forgotten_first():
    """Models come from requests, so the number of known candidates is bounded; the newest still opens its circuit."""
    health, circuit = Health(), Circuit(failures=1)
    models: list[Id] = [("a", f"m{number}") for number in range(5000)]
    for model in models:
        health.ended(model, SERVER, circuit, 0.0)
    assert health.is_open(models[-1], circuit, 0.0)
    assert not health.is_open(models[0], circuit, 0.0)
