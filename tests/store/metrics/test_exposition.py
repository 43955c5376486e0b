"""The page in both formats: names, exemplars, escapes, and the format that an Accept header asks for."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from gateway.store.metrics import instruments
from gateway.store.metrics.exposition import Page, name_of, negotiate, sample_names
from gateway.store.metrics.instruments import FOLDED, OBSERVED
from gateway.store.metrics.series import OVERFLOW, Family
from tests.support.metrics_pages import SPAN, START_NS, TRACE, folded, line, page_of, samples

PLAIN, OPEN_METRICS = "text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0"


def test_names_are_made_by_opentelemetrys_rules():
    """The unit is written out behind the name, a counter ends in _total, and no two metrics have one name."""
    assert name_of(instruments.OPERATION_DURATION) == "gen_ai_client_operation_duration_seconds"
    assert sample_names(instruments.BACKOFF) == ("gateway_attempt_backoff_seconds_total",)
    assert sample_names(instruments.STORE_BYTES) == ("gateway_store_size_bytes",)
    assert sample_names(instruments.TOKEN_USAGE)[1] == "gen_ai_client_token_usage_sum"
    names = [name for instrument in (*FOLDED, *OBSERVED) for name in sample_names(instrument)]
    assert len(names) == len(set(names))


def test_openmetrics_has_exemplars_and_ends():
    """A bucket and a counter lead to the latest trace that they count, with its value; the plain format has none."""
    fold = folded(line("start"), line("attempt"), line("exchange"))
    opened, plain = page_of(fold, opened=True), page_of(fold)
    exemplars = [sample for sample in samples(opened) if sample.exemplar is not None]
    assert {sample.exemplar["trace_id"] for sample in exemplars} == {TRACE}
    assert {sample.exemplar["span_id"] for sample in exemplars} == {SPAN}
    (bucket,) = [each for each in exemplars if each.name.startswith("gen_ai_client_operation_duration")]
    assert (bucket.labels["le"], bucket.exemplar["value"]) == ("2.56", "1.5")
    assert opened.endswith("# EOF\n")
    assert "# TYPE gateway_exchange_ended counter" in opened.splitlines()
    assert "# UNIT gen_ai_client_operation_duration_seconds seconds" in opened.splitlines()
    assert "# {" not in plain
    assert "# TYPE gateway_exchange_ended_total counter" in plain.splitlines()


_TEXTS = st.text(max_size=60) | st.text(alphabet='\\n"a\n,{}= ', max_size=8)


@given(_TEXTS)
@example("a\\")
@example("\\n")
@example('\\"')
@example("a\nb")
def test_any_model_can_be_read_back(model):
    """By the parsers of Prometheus's own library: quotes, backslashes and line ends are escaped, in both formats."""
    fold = folded(line("attempt", request_model=model))
    for opened, read in ((False, read_plain), (True, read_openmetrics)):
        (family,) = [each for each in read(page_of(fold, opened=opened)) if each.name == "gateway_attempt_ended"]
        (sample,) = family.samples
        assert sample.labels.get("gen_ai_request_model", "") == model


def test_a_page_of_every_metric_is_one_that_the_library_reads():
    """Types, suffixes, buckets and units are as OpenMetrics wants them; numbers arrive as they were counted."""
    families = [Family(instrument) for instrument in (*FOLDED, *OBSERVED)]
    for family in families:
        labels = tuple(f"v{index}" for index, _ in enumerate(family.instrument.labels))
        if family.instrument.sort == "histogram":
            family.record(labels, 0.3)
        else:
            family.add(labels, 2.5)
    encode, _ = negotiate("application/openmetrics-text")
    read = {each.name: each for each in read_openmetrics(encode(Page(families, {})).decode())}
    assert read.keys() == {*(name_of(family.instrument) for family in families), "target"}
    for family in families:
        found = read[name_of(family.instrument)]
        assert found.type == family.instrument.sort
        assert found.unit == {"s": "seconds", "By": "bytes"}.get(family.instrument.unit, "")
        assert {sample.name for sample in found.samples} == set(sample_names(family.instrument))
        assert [sample.value for sample in found.samples][-2:] in ([2.5], [0.3, 1.0], [1.0, 0.3])


def test_the_bounds_of_buckets_are_spelled_alike_in_both_formats():
    """Another spelling would be another series; large ones have no exponent."""
    fold = folded(line("attempt", input_tokens=10))
    plain, opened = ({each.labels["le"] for each in samples(page_of(fold, opened=form)) if "le" in each.labels}
                     for form in (False, True))  # fmt: skip
    assert plain == opened
    assert {"0.01", "81.92", "1.0", "67108864.0", "+Inf"} <= plain


def test_an_exemplar_has_the_time_of_its_span_to_the_nanosecond():
    """The span's end, in seconds."""
    page = page_of(folded(line("attempt", start_ns=START_NS, duration_ns=1_500_000_001)), opened=True)
    assert f'span_id="{SPAN}",trace_id="{TRACE}"}} 1.0 1700000001.500000001' in page


def test_values_that_are_no_text_are_written_as_opentelemetry_has_them():
    """A truth value in small letters, as that of the series beyond the limit."""
    family = Family(instruments.ATTEMPTS, series_max=0)
    family.add(("ok", "first", "p", "m"))
    encode, _ = negotiate("")
    page = encode(Page([family], {"host.cores": 4})).decode()
    assert f'{OVERFLOW.replace(".", "_")}="true"' in page
    assert 'target_info{host_cores="4"} 1.0' in page


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
ACCEPT = [
    ("", PLAIN),
    ("*/*", PLAIN),
    ("text/*", PLAIN),
    ("text/plain", PLAIN),
    ("text/html,application/xhtml+xml,*/*;q=0.8", PLAIN),
    ("text/html,application/openmetrics-text;q=0.9", OPEN_METRICS),
    ("application/openmetrics-text", OPEN_METRICS),
    ("Application/OpenMetrics-Text", OPEN_METRICS),
    ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPEN_METRICS),
    (PROMETHEUS_3, OPEN_METRICS),
    ("text/plain;version=1.0.0", "text/plain; version=1.0.0"),
    ("application/openmetrics-text;q=0.2,text/plain;q=0.9", PLAIN),
    ("text/plain;q=0.9,application/openmetrics-text;q=0.2", PLAIN),
    ("application/openmetrics-text;q=0", PLAIN),
    ("application/openmetrics-text;q=1.2.3", OPEN_METRICS),
    ("text/plain;q=.", PLAIN),
    ("text/plain;q=", PLAIN),
    ("text/plain;q=nan", PLAIN),
    ("application/openmetrics-text;version=x", PLAIN),
    (";,;=,q", PLAIN),
]


@pytest.mark.parametrize(("accept", "style"), ACCEPT)
def test_the_format_is_the_one_that_is_preferred(accept, style):
    """By the qualities of an Accept header, malformed ones included; Prometheus's own prefers OpenMetrics."""
    encode, content_type = negotiate(accept)
    assert content_type.startswith(style)
    assert encode(Page([], {})).endswith(b"# EOF\n") == (style == OPEN_METRICS)


@given(st.text(max_size=40) | st.text(alphabet="application/openmetrics-text;q=.,version*1 ", max_size=80))
def test_no_accept_header_is_an_error(accept):
    """Whatever stands in it, there is a page."""
    encode, content_type = negotiate(accept)
    assert encode(Page([], {}))
    assert content_type.startswith(("text/plain", "application/openmetrics-text"))
