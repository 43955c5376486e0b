"""Content that is too long is made to fit and stays valid."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.tracing.truncate import as_utf8, truncate_messages

parts = st.fixed_dictionaries({"type": st.just("text"), "content": st.text(max_size=300)})
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "parts": st.lists(parts, max_size=4)}),
    max_size=12,
)


@given(messages, st.integers(2, 5000))
def test_what_is_cut_is_valid_and_fits(value, limit):
    """Whatever the limit, the result is a JSON list of messages of at most that many bytes."""
    encoded = json.dumps(value, ensure_ascii=False).encode()
    text = truncate_messages(encoded, limit)
    assert len(text.encode()) <= limit
    for message in json.loads(text):
        assert message["role"] in {"user", "assistant"}
        assert all(part["type"] == "text" for part in message["parts"])
    if len(encoded) <= limit:
        assert json.loads(text) == value


def test_a_long_text_says_how_much_is_missing():
    """The reader of a cut text knows that it is one."""
    text = truncate_messages(
        json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 1000}]}]).encode(), 400
    )
    content = json.loads(text)[0]["parts"][0]["content"]
    assert content.startswith("xxx")
    assert content.endswith("[800 more characters]")


@given(st.text())
def test_any_text_can_be_encoded(text):
    """A header's bytes that are no UTF-8 become question marks, and a valid text is unchanged."""
    raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    valid = as_utf8(raw)
    assert valid.encode().decode() == valid
    if raw.encode("utf-8", "ignore").decode() == raw:
        assert valid == raw
