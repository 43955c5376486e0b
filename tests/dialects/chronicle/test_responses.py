"""Chronicle's responses: `meta` in a body or on a stream's first chunk, whole streams marked, broken ones reported."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dialects.chronicle.responses import MetaStream, meta_of, rewrite_whole, with_meta
from gateway.dialects.endpoint import ResponseFacts

META = b'{"id":"i","num_retries":0}'
FIRST = b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"\\u00fc"}}]}\n\n'
CHANGED = b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"\\u00fc"}}],"meta":%b}\n\n' % META
NEXT = b'data: {"choices":[{"index":0,"delta":{"content":"error, \\"error\\", [DONE]"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"No.","type":"server_error"}}\n\n'
ERROR_OUT = b'event: error\ndata: {"error":{"message":"No.","type":"server_error"},"message":"No."}\n\n'


def passed(pieces: list[bytes], *, whole: bool = True) -> bytes:
    """Return what becomes of a stream that comes in these pieces."""
    stream = MetaStream(META, lambda: whole)
    return b"".join([*map(stream.feed, pieces), stream.flush()])


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ([FIRST, NEXT, DONE], [CHANGED, NEXT, DONE]),
        ([FIRST, NEXT], [CHANGED, NEXT, DONE]),
        ([b": hello\n\n", FIRST, b": still here\n\n", DONE], [b": hello\n\n", CHANGED, b": still here\n\n", DONE]),
        ([b"\xef\xbb\xbf" + FIRST, DONE], [CHANGED, DONE]),
        ([FIRST.replace(b"\n", b"\r\n"), NEXT.replace(b"\n", b"\r\n")], [CHANGED, NEXT.replace(b"\n", b"\r\n"), DONE]),
        ([b'data: {"a":1,\ndata: "b":2}\n\n'], [b'data: {"a":1,\ndata: "b":2,"meta":%b}\n\n' % META, DONE]),
        ([b"event: chunk\nid: 1\ndata: {}\n\n"], [b'event: chunk\ndata: {"meta":%b}\n\n' % META, DONE]),
        ([b"data: no json\n\n", FIRST], [b"data: no json\n\n", CHANGED, DONE]),
        ([FIRST, b"data: [DONE]"], [CHANGED, DONE]),
        ([FIRST, b"data: [DONE]\n"], [CHANGED, DONE]),
        ([FIRST, NEXT[:-2]], [CHANGED, NEXT, DONE]),
        ([FIRST, NEXT[:-4]], [CHANGED, DONE]),
        ([FIRST, ERROR], [CHANGED, ERROR_OUT]),
        ([ERROR, DONE], [ERROR_OUT, DONE]),
        ([FIRST, b'event: error\ndata: {"message":"No."}\n\n'],
         [CHANGED, b'event: error\ndata: {"error":{"message":"No."},"message":"No."}\n\n']),
        ([FIRST, b"event: error\ndata: oops\n\n"],
         [CHANGED, b'event: error\ndata: {"error":{"message":"oops"},"message":"oops"}\n\n']),
        ([b'data: {"error":null,"choices":[]}\n\n'], [b'data: {"error":null,"choices":[],"meta":%b}\n\n' % META, DONE]),
        ([FIRST, b'data: {"error":{},"choices":[{}]}\n\n'], [CHANGED, b'data: {"error":{},"choices":[{}]}\n\n', DONE]),
        ([FIRST, b'data: {"error":{"a":1},"choices":[{}]}\n\n'],
         [CHANGED, b'data: {"error":{"a":1},"choices":[{}]}\n\n']),
        ([b'data: {"meta":1,"a":2}\n\n'], [b'data: {"meta":%b,"a":2}\n\n' % META, DONE]),
        ([], [DONE]),
    ],
)  # fmt: skip
def test_streams(stream: list[bytes], expected: list[bytes]):
    """Only the first chunk, the provider's errors and the end become others; what was cut off is left out."""
    assert passed(stream) == b"".join(expected)
    assert passed([b"".join(stream)]) == b"".join(expected)


def test_a_stream_that_is_not_whole_does_not_look_so():
    """It gets no `[DONE]`; the failure is written as an event, readable at once for a client that waits for more."""
    assert passed([FIRST], whole=False) == CHANGED
    stream = MetaStream(META, lambda: False)
    assert stream.feed(FIRST + NEXT[:20]) == CHANGED
    assert stream.broken("It died.") == (
        b'event: error\ndata: {"error":{"message":"It died."},"message":"It died."}\n\n\n'
    )


EVENTS = st.sampled_from(
    [FIRST, NEXT, DONE, ERROR, b": c\n\n", b"data: {}\r\n\r\n", b"data: x\r\r", b"\n", b"\r", b"data: {", b"\n\n\n"]
)


@given(st.lists(EVENTS, max_size=6).map(b"".join), st.lists(st.integers(0, 1000), max_size=8))
@example(b"data: x\r\r\n" + FIRST, [9])
@example(FIRST + b"data: {}\n\n\n" + ERROR, [len(FIRST), len(FIRST) + 11])
@example(FIRST + ERROR + DONE, list(range(300)))
def test_a_stream_cut_anywhere_gives_the_same(stream: bytes, cuts: list[int]):
    """However its bytes come, the client gets the same ones."""
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    assert passed([stream[a:b] for a, b in pairwise(at)]) == passed([stream])


def test_an_event_leaves_when_it_is_whole():
    """Nothing of it waits for the next one."""
    stream = MetaStream(META, lambda: True)
    assert [stream.feed(FIRST[:30]), stream.feed(FIRST[30:]), stream.feed(NEXT)] == [b"", CHANGED, NEXT]


@pytest.mark.parametrize("size", [1000, 65_536, 10**6])
def test_a_long_event_is_not_held(size: int):
    """Some images come in one chunk; what is too long to be held passes as it came, and the next has `meta`."""
    long = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 200_000)
    whole = long + FIRST + DONE
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert passed(pieces) == long + CHANGED + DONE
    stream = MetaStream(META, lambda: False)
    assert len(stream.feed(long[:150_000])) == 150_000
    assert stream.broken("x").startswith(b"\n\nevent: error\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": [1, {"meta": 2}] }\n', b'{"a": [1, {"meta": 2}] ,"meta":%b}\n' % META),
        (b" {} ", b' {"meta":%b} ' % META),
        (b'{"meta" : 3, "a":4}', b'{"meta":%b,"a":4}' % META),
        (b"[]", None),
        (b"", None),
        (b"{", None),
        (b"<html>", None),
    ],
)
def test_whole_bodies(body: bytes, expected: bytes | None):
    """An object gets `meta` as its last member; nothing else is changed, and what is no object is none."""
    assert with_meta(body, META) == expected


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_object_has_meta_and_all_else(value: dict[str, Any]):
    """Whatever is in it."""
    changed = with_meta(json.dumps(value, indent=1).encode(), META)
    assert changed is not None
    assert json.loads(changed) == value | {"meta": json.loads(META)}


FACTS = ResponseFacts(id="i", provider="p", model="m", retries=2, rate_limited=True)


def test_meta_has_the_facts_of_the_exchange():
    """Under the names that chronicle's clients read."""
    assert json.loads(meta_of(FACTS)) == {
        "id": "i", "provider": "p", "model": "m", "num_retries": 2, "was_rate_limited": True,
    }  # fmt: skip


def test_a_response_of_the_gateways_own_has_meta():
    """A response that is all there gets it too, as a stream or not."""
    meta = meta_of(FACTS)
    assert rewrite_whole(FIRST + DONE, FACTS, True) == CHANGED.replace(META, meta) + DONE
    assert rewrite_whole(b"{}", FACTS, False) == b'{"meta":%b}' % meta
    assert rewrite_whole(b"no object", FACTS, False) == b"no object"
