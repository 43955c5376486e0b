"""The keys of one exchange: what is found of them in a request, and what is left of a text."""

import pytest

from gateway.attributes import REDACTED
from gateway.keys import Keys

LONG = "sk-0123456789-0123456789"


@pytest.mark.parametrize(
    ("headers", "target", "found"),
    [
        ({"authorization": f"Bearer {LONG}"}, "/", {f"Bearer {LONG}", LONG}),
        ({"x-api-key": LONG}, "/", {LONG}),
        ({"x-goog-api-key": LONG}, "/", {LONG}),
        ({"x-gateway-token": LONG}, "/", {LONG}),
        ({"cookie": f"a=one-cookie; b={LONG}"}, "/", {f"a=one-cookie; b={LONG}", "one-cookie", f"b={LONG}", LONG}),
        ({}, f"/v1beta/models?alt=sse&key={LONG}", {LONG}),
        ({}, "/x?access_token=a%2Bbcdef", {"a%2Bbcdef", "a+bcdef"}),
        ({"authorization": "Bearer short"}, "/", {"Bearer short"}),
        ({"user-agent": LONG}, f"/{LONG}?model={LONG}", set()),
    ],
)
def test_what_a_request_has_that_may_be_a_key(headers, target, found):
    """In its headers, its cookies and its query; what is too short cannot be told from a word."""
    assert set(Keys(headers, target).all) == found


def test_keys_of_ours_are_known_from_when_they_are_sent():
    """Also where a text was scrubbed before: credentials of a cloud are known when a request was signed."""
    keys = Keys({"x-api-key": "client-key"}, "/")
    assert keys.scrub("client-key first-key later-key") == f"{REDACTED} first-key later-key"
    keys.ours = ("first-key",)
    assert keys.scrub("client-key first-key later-key") == f"{REDACTED} {REDACTED} later-key"
    keys.ours = ("first-key", "later-key")
    assert keys.scrub("client-key first-key later-key") == " ".join([REDACTED] * 3)


def test_the_longest_goes_first():
    """A key that begins with another is taken out as a whole."""
    keys = Keys({}, "/")
    keys.ours = ("secret", "secret-and-more")
    assert keys.scrub("secret-and-more") == REDACTED
    assert keys.all == ("secret-and-more", "secret")
    assert repr(keys) == "<Keys>"


def test_a_text_that_is_no_unicode_can_be_written():
    """What a header had that is no UTF-8 stands as a question mark."""
    assert Keys({}, "/").scrub("a\udcffb") == "a?b"
