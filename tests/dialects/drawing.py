"""Hypothesis strategies that several dialects share."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from gateway.dialects.conversation import Blob, Citation, Extra, ResponseFormat, TokenLogprob, ToolCall, Usage
from gateway.dialects.shared import parameters as name

# Half of a surrogate pair is no text that can be sent.
LETTERS = st.characters(exclude_categories=["Cs"])
WORDS = st.text(LETTERS, min_size=1, max_size=12)
PROSE = st.text(LETTERS, min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**40)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | st.text(LETTERS, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(LETTERS, max_size=6), VALUES, max_size=4)
BASE64 = st.binary(min_size=1, max_size=24).map(lambda data: b64encode(data).decode())
ADDRESSES = st.sampled_from(["https://example.com/a", "https://example.com/b?c=1"])
MARKS = st.sampled_from(["default", "5m", "1h"])

LEVELS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
OUTPUT = {"text": "text", "json": "json", "json_schema": "json"}

TOKENS = st.builds(TokenLogprob, token=WORDS, logprob=FLOATS)
LIKELY = st.builds(TokenLogprob, token=WORDS, logprob=FLOATS, top=st.lists(TOKENS, max_size=2))

STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def of(dialect: str, fields: dict[str, Any]) -> Extra:
    """Make an `extra`."""
    return {dialect: fields} if fields else {}


def maybe(dialect: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Extra]:
    """Draw an `extra` of some of these fields."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda drawn: of(dialect, drawn))


def images(**more: Any) -> st.SearchStrategy[Blob]:
    """Draw an image that is inline."""
    kinds = st.sampled_from(["image/png", "image/jpeg", "image/gif", "image/webp"])
    return st.builds(Blob, modality=st.just("image"), mime_type=kinds, content=BASE64, **more)


def documents(**more: Any) -> st.SearchStrategy[Blob]:
    """Draw a document that is inline."""
    return st.builds(
        Blob,
        modality=st.just("document"),
        mime_type=st.just("application/pdf"),
        content=BASE64,
        name=st.sampled_from(["a.pdf", "b.pdf"]),
        **more,
    )


def calls(ids: Iterator[int], **more: Any) -> st.SearchStrategy[ToolCall]:
    """Draw a call of a function, with an id of its own."""
    made = st.builds(lambda: f"call-{next(ids)}")
    return st.builds(ToolCall, id=made, name=NAMES, arguments=OBJECTS, **more)


def custom_calls(ids: Iterator[int]) -> st.SearchStrategy[ToolCall]:
    """Draw a call of a tool that takes any text."""
    made = st.builds(lambda: f"call-{next(ids)}")
    return st.builds(ToolCall, id=made, name=NAMES, arguments=WORDS, custom=st.just(value=True))


def cited(text: str, uri: st.SearchStrategy[str], **more: Any) -> st.SearchStrategy[Citation]:
    """Draw where a part of a text comes from."""
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    return places.flatmap(
        lambda place: st.builds(Citation, uri=uri, title=WORDS, start=st.just(place[0]), end=st.just(place[1]), **more)
    )


@st.composite
def usages(draw: st.DrawFn, **more: Any) -> Usage:
    """Draw counts, of which all that are drawn are known."""
    asked, answered = draw(COUNTS), draw(COUNTS)
    return Usage(
        input_tokens=asked,
        output_tokens=answered,
        total_tokens=asked + answered,
        **{key: draw(value) for key, value in more.items()},
    )


def parameters(
    draw: st.DrawFn, known: dict[str, st.SearchStrategy[Any]], *, stream: bool, form: ResponseFormat | None
) -> dict[str, Any]:
    """Draw a request's parameters; some follow from what else is asked."""
    drawn: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=known))
    drawn |= {name.STREAM: True} if stream else {}
    return drawn | ({name.OUTPUT_TYPE: OUTPUT[form.type]} if form is not None else {})


def joined(parts: list[Any], *kinds: type) -> list[Any]:
    """Return parts without those that follow one of their own kind, for dialects that cannot keep them apart."""
    kept: list[Any] = []
    for part in parts:
        if not (kept and isinstance(part, kinds) and type(part) is type(kept[-1])):
            kept.append(part)
    return kept
