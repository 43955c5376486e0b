"""Content codings: a copy is decoded for its reader, in any pieces, within bounds."""

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.wire.content_coding import decode, decoder, zstd

CODERS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress, "identity": bytes}


@given(st.sampled_from(sorted(CODERS)), st.binary(max_size=5000), st.lists(st.integers(0, 5000), max_size=5))
def test_any_pieces_give_the_same_bytes(coding, body, cuts):
    """Wherever the coded bytes are split, the decoded ones are the same."""
    coded = CODERS[coding](body)
    points = sorted({0, len(coded), *(cut for cut in cuts if cut < len(coded))})
    inner = decoder(coding)
    assert inner is not None
    pieces = [inner.feed(coded[a:b]) for a, b in itertools.pairwise(points)]
    assert b"".join(pieces) == body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_not_unpacked(coding):
    """A body that decodes to more than the limit is given up."""
    assert decode(CODERS[coding](bytes(3_000_000)), coding, limit=1_000_000) is None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br", "nonsense"])
def test_what_cannot_be_read_gives_none(coding):
    """Garbage, and codings unknown here, are relayed unread instead of raising."""
    assert decode(b"garbage", coding) is None
