"""The keys of one exchange: what is found of them in a request, and what is left of a text."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tracing.attributes import REDACTED
from gateway.tracing.secrets import Keys

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
        (
            {"authorization": "Basic dXNlcjpwYXNzLXdvcmQ="},
            "/",
            {"Basic dXNlcjpwYXNzLXdvcmQ=", "dXNlcjpwYXNzLXdvcmQ=", "user:pass-word", "pass-word"},
        ),
        ({"authorization": "Basic no-base64"}, "/", {"Basic no-base64", "no-base64"}),
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


SLASHED = "sk-aB3/dE+9xQ=7hGt2LmZ0042/zz"
FORMS = {
    "as JSON": json.dumps,
    "as JSON with its slashes escaped": lambda key: key.replace("/", "\\/"),
    "percent-encoded": lambda key: quote(key, safe=""),
    "percent-encoded, in lower case": lambda key: (
        quote(key, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")
    ),
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_taken_out_in_every_form_that_a_provider_may_repeat_it_in(form):
    """Errors quote what they were sent, each in its own way."""
    keys = Keys({"x-api-key": SLASHED}, "/")
    said = FORMS[form](SLASHED)
    assert said.strip('"') not in keys.scrub(f"no such key: {said}.")
    assert keys.scrub("no such key") == "no such key"


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_key_within_base64_is_taken_out_wherever_it_stands(before, after):
    """But for the one or two bytes at its ends that share their letters with something else."""
    for encode, decode in ((base64.b64encode, base64.b64decode), (base64.urlsafe_b64encode, base64.urlsafe_b64decode)):
        said = encode(before + SLASHED.encode() + after).decode()
        left = Keys({"x-api-key": SLASHED}, "/").scrub(said)
        assert REDACTED in left
        for part in left.split(REDACTED):
            assert SLASHED[3:9].encode() not in decode(part + "=" * (-len(part) % 4) if len(part) % 4 != 1 else "")
