"""Every metric is listed once, and no label names a person or repeats a request."""

from gateway.store.metrics import instruments
from gateway.store.metrics.instruments import FOLDED, OBSERVED, Instrument

# Whatever is added to these must be bounded, and tell nothing of a person.
LABELS = {
    "error.type",
    "gateway.attempt.after",
    "gateway.attempt.reason",
    "gateway.dialect",
    "gateway.event.type",
    "gateway.outcome",
    "gateway.phase",
    "gateway.provider",
    "gateway.reason",
    "gateway.state",
    "gateway.stream",
    "gateway.usage.source",
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.token.type",
    "http.request.method",
    "http.response.status_code",
    "url.scheme",
}


def test_no_label_says_who_or_what_was_asked():
    """No user, session, path or key."""
    assert {label for instrument in (*FOLDED, *OBSERVED) for label in instrument.labels} == LABELS


def test_an_instrument_is_listed_once():
    """What is defined is emitted."""
    defined = {value for value in vars(instruments).values() if isinstance(value, Instrument)}
    assert defined == {*FOLDED, *OBSERVED}
    assert len(FOLDED) + len(OBSERVED) == len(defined)
