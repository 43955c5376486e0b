"""Lines of journals as counts: the metric that counts each, and its labels."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.metrics.folding import MODELS_MAX, Fold
from gateway.store.metrics.instruments import (
    EVENT_TYPES,
    EVENTS,
    EVENTS_DROPPED,
    JOURNAL_DROPS,
    OTHER_EVENT,
    RECEIVED_DROPPED,
    RECEIVED_DROPS,
    ZEROS,
)
from tests.support.metrics_pages import folded, line, page_of, samples, total


def test_an_attempt_is_counted_by_the_conventions_names():
    """Duration, first chunk and tokens, with operation, provider and models; unknown tokens are not 0 but nothing."""
    page = page_of(
        folded(
            line("attempt", ttfc_s=0.5, stream=True, input_tokens=10, output_tokens=21, usage_source="reported"),
            line("attempt", input_tokens=None, output_tokens=None),
        )
    )
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "gpt",
        "gen_ai_response_model": "gpt-1",
    }
    duration = "gen_ai_client_operation_duration_seconds"
    assert total(page, f"{duration}_count", **labels) == 2
    assert total(page, f"{duration}_sum", **labels) == 3.0
    assert total(page, f"{duration}_bucket", **labels, le="1.28") == 0
    assert total(page, f"{duration}_bucket", **labels, le="2.56") == 2
    assert total(page, "gen_ai_client_operation_time_to_first_chunk_seconds_count", **labels) == 1
    assert total(page, "gen_ai_server_time_per_output_token_seconds_sum", **labels) == pytest.approx(0.05)
    usage = "gen_ai_client_token_usage"
    assert total(page, f"{usage}_sum", **labels, gen_ai_token_type="input", gateway_usage_source="reported") == 10
    assert total(page, f"{usage}_sum", **labels, gen_ai_token_type="output") == 21
    assert total(page, f"{usage}_count") == 2


def test_what_did_not_go_well_has_an_error_type():
    """That of the span, or what became of an attempt that nobody calls an error: percentiles of good ones stay pure."""
    page = page_of(
        folded(
            line("attempt", outcome="rate_limit", error_type="429"),
            line("attempt", outcome="client_abort"),
            line("attempt"),
        )
    )
    name = "gen_ai_client_operation_duration_seconds_count"
    said = Counter(sample.labels.get("error_type") for sample in samples(page) if sample.name == name)
    assert said == {"429": 1, "client_abort": 1, None: 1}


def test_tokens_that_were_only_counted_are_not_used():
    """The operation has a duration and no usage."""
    page = page_of(folded(line("attempt", operation="count_tokens", input_tokens=10, usage_source="reported")))
    assert total(page, "gen_ai_client_operation_duration_seconds_count", gen_ai_operation_name="count_tokens") == 1
    assert not [sample for sample in samples(page) if sample.name.startswith("gen_ai_client_token_usage")]


def test_an_attempt_of_a_dialect_that_is_not_read_is_no_operation():
    """It is an attempt and no more."""
    page = page_of(folded(line("attempt", operation=None)))
    assert total(page, "gateway_attempt_ended_total") == 1
    assert not [sample for sample in samples(page) if sample.name.startswith("gen_ai")]


REASONS = [
    ("first", "first", None, 0, 0),
    ("probe", "probe", None, 0, 0),
    ("listing", "listing", None, 0, 0),
    ("retry after server", "retry", "server", 1, 0),
    ("fallback after rate_limit", "fallback", "rate_limit", 1, 1),
    ("another key after auth", "another key", "auth", 1, 0),
    ("another round after timeout", "another round", "timeout", 1, 0),
    ("hedge after 100 ms", "hedge", None, 0, 0),
]


@pytest.mark.parametrize(("reason", "why", "after", "retries", "fallbacks"), REASONS)
def test_why_an_attempt_was_made_is_counted(reason, why, after, retries, fallbacks):
    """As a kind of reason and what went before; no number in it becomes a series of its own."""
    page = page_of(folded(line("attempt", reason=reason, backoff_ms=250.0)))
    assert total(page, "gateway_attempt_ended_total", gateway_attempt_reason=why) == 1
    assert total(page, "gateway_attempt_retries_total") == retries
    assert total(page, "gateway_attempt_fallbacks_total") == fallbacks
    assert total(page, "gateway_attempt_backoff_seconds_total") == 0.25 * retries
    if retries:
        assert total(page, "gateway_attempt_retries_total", gateway_attempt_after=after) == 1


def test_rate_limits_and_parts_of_the_usage_are_counted():
    """Cached and reasoning tokens by themselves, since they are in the input and output already."""
    page = page_of(
        folded(
            line("attempt", outcome="rate_limit"),
            line("attempt", cache_read_tokens=5, cache_write_tokens=6, reasoning_tokens=7),
        )
    )
    asked = {"gateway_provider": "openai", "gen_ai_request_model": "gpt"}
    assert total(page, "gateway_attempt_rate_limits_total", **asked) == 1
    assert total(page, "gateway_usage_cache_read_total", **asked) == 5
    assert total(page, "gateway_usage_cache_write_total", **asked) == 6
    assert total(page, "gateway_usage_reasoning_total", **asked) == 7


def test_an_exchange_is_counted_with_its_overhead():
    """By outcome, provider and dialect; its duration by HTTP's convention."""
    said = {"provider": "openai", "dialect": "openai-chat", "overhead_us": 300, "stream": True}
    page = page_of(folded(line("start"), line("exchange", **said)))
    ended = {"gateway_outcome": "ok", "gateway_provider": "openai", "gateway_dialect": "openai-chat"}
    assert total(page, "gateway_exchange_ended_total", **ended) == 1
    http = {"http_request_method": "POST", "http_response_status_code": "200", "url_scheme": "http"}
    assert total(page, "http_server_request_duration_seconds_sum", **http) == 1.5
    assert total(page, "gateway_exchange_overhead_seconds_bucket", gateway_stream="true", le="0.00025") == 0
    assert total(page, "gateway_exchange_overhead_seconds_bucket", gateway_stream="true", le="0.0005") == 1


def test_exchanges_that_were_read_on_are_counted():
    """Those whose span has the time for which they were."""
    page = page_of(folded(line("exchange", attributes={"gateway.drained_ms": 0.5}), line("exchange")))
    assert total(page, "gateway_exchange_drained_total") == 1


def test_overhead_is_counted_by_its_phases():
    """Those of the exchange from its span, those of an attempt from the attempt's."""
    page = page_of(
        folded(
            line("exchange", attributes={"gateway.overhead.accept_us": 120, "gateway.overhead.record_us": 30}),
            line("attempt", attributes={"gateway.attempt.overhead.send_us": 60}),
            line("attempt", attributes={"gateway.attempt.overhead.send_us": 50}),
            line("attempt", attributes={"gateway.attempt.overhead.relay_us": 9}),
        )
    )
    seconds = {"accept": 120e-6, "record": 30e-6, "send": 110e-6, "relay": 9e-6}
    for phase, taken in seconds.items():
        assert total(page, "gateway_overhead_phase_seconds_sum", gateway_phase=phase) == pytest.approx(taken)
    assert total(page, "gateway_overhead_phase_seconds_count", gateway_phase="send") == 2


def test_events_and_what_was_dropped_are_counted():
    """Known types of events by name, any other as one; what could not be stored by its reason."""
    page = page_of(
        folded(
            line("event"),
            line("event", type="my own"),
            b'{"t":"events_dropped","reason":"disk_full","count":3}\n',
            line("dropped"),
            line("dropped", kind="CLIENT"),
        )
    )
    assert total(page, "gateway_event_stored_total", gateway_event_type="run:start") == 1
    assert total(page, "gateway_event_stored_total", gateway_event_type="other") == 1
    assert total(page, "gateway_event_dropped_total", gateway_reason="disk_full") == 3
    assert total(page, "gateway_exchange_dropped_total", gateway_reason="disk_full") == 1


DAMAGED = [
    b'{"t":"span","span_id":"1"\n',
    line("attempt", start_ns="yesterday"),
    line("attempt", kind="NOTHING"),
    b"\xff\xfe\n",
    b'"closed"}\n',
    b'{"t":"span","span_id":"' + b"[" * 3 + b"\n",
]


@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_damaged_line_is_counted_and_passed_over(damaged):
    """What comes behind it is counted too."""
    page = page_of(folded(damaged, line("exchange")))
    assert total(page, "gateway_journal_damaged_total") == 1
    assert total(page, "gateway_exchange_ended_total") == 1


@pytest.mark.parametrize("passed", [b"\n", b'{"t":"journal","version":1}\n', b'{"t":"closed"}\n', b'{"t":"later"}\n'])
def test_other_lines_are_no_damage(passed):
    """A journal's head and end, and kinds of lines that are still to be invented."""
    assert total(page_of(folded(passed)), "gateway_journal_damaged_total") == 0


def test_a_line_with_bad_ids_is_counted_without_an_exemplar():
    """An exemplar that no trace answers to would break a whole page."""
    page = page_of(folded(line("exchange", trace_id='no"id')), opened=True)
    assert total(page, "gateway_exchange_ended_total") == 1
    assert all(sample.exemplar is None for sample in samples(page))


_STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "exchange", "dropped", "closed"]), st.integers(0, 5), st.integers(0, 1)),
    max_size=40,
)


@given(_STEPS)
def test_started_is_ended_and_dropped_and_active(steps):
    """Whatever is said in whichever order: an end without a start has started as well."""
    fold, seen = Fold(), set()
    for kind, number, journal in steps:
        if kind == "closed":
            fold.closed(f"w{journal}")
        elif (kind, number) not in seen:  # each line is written once
            seen.add((kind, number))
            fold.line(line(kind, span_id=f"{number:016x}"), f"w{journal}")
    page = page_of(fold)
    started, ended = total(page, "gateway_exchange_started_total"), total(page, "gateway_exchange_ended_total")
    assert started == ended + total(page, "gateway_exchange_dropped_total") + fold.in_flight


def test_what_is_open_in_a_closed_journal_was_interrupted():
    """Only in that one, and it is no longer in flight."""
    fold = Fold()
    fold.line(line("start", span_id="1" * 16), "w0")
    fold.line(line("start", span_id="2" * 16), "w1")
    fold.closed("w0")
    assert fold.in_flight == 1
    assert total(page_of(fold), "gateway_exchange_ended_total", gateway_outcome="interrupted") == 1


def test_models_are_named_up_to_a_limit():
    """What nobody answered to may take but half of the places, so that nonsense does not hide what is real."""
    nonsense = [line("attempt", outcome="bad_input", request_model=f"no-{n}", response_model=None) for n in range(500)]
    real = [line("attempt", request_model=f"yes-{n}", response_model=None) for n in range(500)]
    page = page_of(folded(*nonsense, *real))
    named = [
        each.labels["gen_ai_request_model"] for each in samples(page) if each.name == "gateway_attempt_ended_total"
    ]
    assert len(set(named)) == MODELS_MAX + 1
    assert sum(name.startswith("no-") for name in named) == MODELS_MAX // 2
    assert total(page, "gateway_attempt_ended_total", gen_ai_request_model="other") == 1000 - MODELS_MAX
    assert total(page, "gateway_attempt_ended_total") == 1000


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_each_type_of_event_is_a_series(kind):
    """Counted under its own name, beside a series at 0 for every other."""
    fold = folded(line("event", type=kind))
    assert {labels: count.value for labels, count in fold.families[EVENTS.name].counts.items()} == {
        (each,): float(each == kind) for each in (*EVENT_TYPES, OTHER_EVENT)
    }


@pytest.mark.parametrize("instrument", ZEROS, ids=lambda each: each.name)
def test_series_that_are_known_begin_at_0(instrument):
    """Without a line yet, so that the first drop, damage or interruption is an increase."""
    counts = Fold().families[instrument.name].counts
    assert counts
    assert {labels: count.value for labels, count in counts.items()} == dict.fromkeys(ZEROS[instrument], 0)


@pytest.mark.parametrize("reason", JOURNAL_DROPS)
def test_a_dropped_exchange_or_event_is_counted_in_the_series_that_began_at_0(reason):
    """No reason of the journal makes a series of its own."""
    fold = folded(line("dropped", reason=reason), b'{"t":"events_dropped","reason":"%b","count":3}' % reason.encode())
    exchanges, events = (fold.families[name].counts for name in ("gateway.exchange.dropped", EVENTS_DROPPED.name))
    assert {labels[0]: count.value for labels, count in exchanges.items() if count.value} == {reason: 1}
    assert {labels[0]: count.value for labels, count in events.items() if count.value} == {reason: 3}
    assert len(exchanges) == len(events) == len(JOURNAL_DROPS)


@pytest.mark.parametrize("reason", RECEIVED_DROPS)
def test_a_dropped_span_of_an_application_is_counted_in_the_series_that_began_at_0(reason):
    """Reasons found before the journal as well."""
    fold = folded(b'{"t":"received_dropped","reason":"%b","count":2}' % reason.encode())
    counts = fold.families[RECEIVED_DROPPED.name].counts
    assert {labels[0]: count.value for labels, count in counts.items()} == dict.fromkeys(RECEIVED_DROPS, 0) | {
        reason: 2
    }


def test_a_label_that_is_empty_is_one_that_is_missing():
    """Prometheus takes both for one series, and refuses a page that has it twice."""
    fold = folded(line("attempt", request_model=""), line("attempt", request_model=None))
    (count,) = fold.families["gateway.attempt.ended"].counts.values()
    assert count.value == 2
