"""Redaction of keys, addresses, cards, phone numbers and matches of a user's patterns, and of nothing else."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.redaction import (
    NOTHING,
    REDACTED,
    TOOL_SECRETS,
    PatternError,
    Redaction,
    bare_url,
    compiled,
    is_secret_variable,
    without_secrets,
    without_tool_secrets,
)

ALL = Redaction(["keys", "emails", "cards", "phones"], {"ticket": r"TICKET-\d+"})
KEYS = [
    "sk-proj-abc123def456ghi789", "sk-ant-api03-Zk2_abcdef-ghijklmnop", "sk_live_4eC39HqLyjWDarjtT1zd",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456",
    "glpat-ABCDEFGHIJKLMNOPqr12", "xoxb-123456789012-abcdefGHIJ", "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "ya29.a0AfH6SMBx123456789012345", "hf_abcdefghijklmnopqrstuvwxyz012345", "gsk_abcdefghijklmnopqrstuvwxyz0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "Bearer abcdef0123456789ghij", "bearer abcdef0123456789ghij==",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA1",
]  # fmt: skip
OTHERS = {
    "email": ["bob@example.com", "o'neil+list@mail.example.co.uk", "B_0%b@x-y.io"],
    "card": ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "5500005555555559", "378282246310005",
             "6011111111111117", "3530111333300000", "30569309025904", "2223000048400011"],
    "phone": ["+49 30 1234567", "+14155552671", "+44 (0)20 7946 0958", "(415) 555-2671", "415-555-2671",
              "415.555.2671"],
    "ticket": ["TICKET-7", "TICKET-00042"],
}  # fmt: skip
FOUND = [*((each, "key") for each in KEYS), *((each, kind) for kind, many in OTHERS.items() for each in many)]
KEPT = [
    "2026-11-25T18:00:00.123456Z", "550e8400-e29b-41d4-a716-446655440000", "$1,234.56 and 12.5 %", "1764000000000",
    "1764000000000000001", "192.168.100.200:4317", "x = 4 + 1000000 + 20", "sk-learn-pipelines-and-more",
    "range(0, 12345678)",
    "4111111111111112", "4111 1111 1111 1112", "0.30000000000000004", "3.141592653589793", "@decorator def f(a @ b)",
    "user@localhost",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "v1.2.3-rc.4+build.5",
    "SELECT * FROM t WHERE a > 41",
    "a bearer of news", "TICKETS-7", "-----BEGIN CERTIFICATE-----\nMIIB1\n-----END CERTIFICATE-----",
    "東京 100-0001 naïve ☃",
    "chatcmpl-9XkQ2wT0aBcDeFgHiJkLmNoP", "call_abc123DEF456", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
]  # fmt: skip


@pytest.mark.parametrize(("secret", "kind"), FOUND)
@pytest.mark.parametrize("around", ["{}", "before {} after", '"{}"', "({})", "={}\n", "é{}é", "a\n{}"])
def test_a_match_is_redacted(secret, kind, around):
    """Each kind is found in any surroundings, and the rest of the text stays."""
    before, after = around.split("{}")
    made = ALL.text(around.format(secret))
    if "PRIVATE KEY" in secret and "END" not in secret:  # one without an end takes all behind it
        assert made == f"{before}[redacted: key]"
    else:
        assert made == f"{before}[redacted: {kind}]{after}"


@pytest.mark.parametrize("text", KEPT)
def test_a_text_that_merely_resembles_a_match_stays(text):
    """Times, ids, numbers, code, hashes and certificates are no secrets."""
    assert ALL.text(text) == text


def test_several_matches_in_one_text_are_redacted():
    """Each match has its kind's placeholder; a number after a card's is no part of it."""
    made = ALL.text("bob@example.com paid with 4111 1111 1111 1111 123 for TICKET-9, TICKET-10")
    assert made == "[redacted: email] paid with [redacted: card] 123 for [redacted: ticket], [redacted: ticket]"


@pytest.mark.parametrize("pattern", ["^only$", r"\Aonly", r"only\z", r"\Bnly"])
def test_an_anchored_pattern_is_matched_against_each_text(pattern):
    """Other texts of the same value make no difference."""
    made = Redaction(["emails"], {"p": pattern}).value({"a": "x", "b": ["only", "y"]})
    assert "[redacted: p]" in made["b"][0]
    assert (made["a"], made["b"][1]) == ("x", "y")


def test_a_value_without_a_match_is_returned_itself():
    """Callers need not encode it again."""
    value = {"a": ["b", {"c": "bob at example"}]}
    assert ALL.value(value) is value


def test_each_kind_is_its_own_choice():
    """Matches of kinds that are not configured stay."""
    text = "bob@example.com +14155552671 4111111111111111 sk-proj-abc123def456ghi789"
    assert Redaction(["emails"]).text(text) == text.replace("bob@example.com", "[redacted: email]")
    assert Redaction(["phones"]).text(text) == text.replace("+14155552671", "[redacted: phone]")
    assert Redaction().text(text) is text
    assert not NOTHING


plain = st.text(st.characters(categories=["L", "Z", "P"], exclude_characters="@+-_.("), max_size=30)


@given(
    st.recursive(plain, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(plain, inner, max_size=3)))
)
def test_a_value_without_a_match_is_unchanged(value):
    """Its JSON is the same, byte for byte."""
    assert json.dumps(ALL.value(value)) == json.dumps(value)


@given(st.data())
def test_a_secret_is_redacted_anywhere_in_a_value(data):
    """Texts, lists, objects and their keys are searched at any depth, and JSON stays valid."""
    secret = data.draw(st.sampled_from([each for each, _ in FOUND]))
    around = st.tuples(plain, plain).map(lambda pair: f"{pair[0]} {secret} {pair[1]}")
    inner = st.one_of(
        around, st.lists(st.one_of(plain, around), max_size=3), st.dictionaries(around, around, max_size=2)
    )
    value = {
        "role": "user",
        "parts": [{"type": "text", "content": data.draw(inner)}, {"type": "x", "y": data.draw(inner)}],
    }
    made = ALL.value(value)
    said = msgspec.json.encode(made).decode()
    assert secret not in said
    assert json.dumps(secret)[1:-1] not in said
    assert json.loads(said) == made
    assert (made["role"], made["parts"][0]["type"]) == ("user", "text")


def test_a_secret_in_a_tool_calls_arguments_is_redacted():
    """Arguments are JSON within a text, and stay valid."""
    arguments = json.dumps({"to": "bob@example.com", "pay": "4111 1111 1111 1111"})
    made = ALL.value({"type": "tool_call", "arguments": arguments})
    assert json.loads(made["arguments"]) == {"to": "[redacted: email]", "pay": "[redacted: card]"}


def test_binary_data_and_numbers_stay():
    """Base64 may match a pattern by chance, and numbers are no texts."""
    blob = {"type": "blob", "mime_type": "image/png", "content": "AKIAIOSFODNN7EXAMPLE"}
    assert ALL.value([blob, "bob@example.com"]) == [blob, "[redacted: email]"]
    sent = {"otlp.bytes": "AKIAIOSFODNN7EXAMPLE"}
    assert ALL.value({"a": sent, "bob@example.com": 1}) == {"a": sent, "[redacted: email]": 1}
    assert ALL.value({"n": 4111111111111111, "yes": True, "none": None}) == {
        "n": 4111111111111111,
        "yes": True,
        "none": None,
    }


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing )"),
        (r"a(?=b)", "no lookaround"),
        (r"(a)\1", "no back-references"),
        ("x*", "matches the empty text"),
        ("", "empty"),
    ],
)
def test_an_unusable_pattern_is_refused_with_a_reason(pattern, why):
    """Invalid RE2 syntax and patterns that match the empty text raise PatternError."""
    with pytest.raises(PatternError, match=why.replace("(", r"\(").replace(")", r"\)")):
        compiled(pattern)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r".*.*=.*", r"(\w+\s?)+:"])
def test_no_pattern_takes_exponential_time(pattern):
    """Patterns on which backtracking engines hang are matched in linear time."""
    redaction = Redaction([], {"slow": pattern})
    assert redaction.text("a" * 200_000 + "!").endswith("!")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("see x.sk-proj-abc123def456ghi789 here", "see x.[redacted: key] here"),
        ("ok.AKIAIOSFODNN7EXAMPLE", "ok.[redacted: key]"),
        (".eve@example.com", ".[redacted: email]"),
        ("no. +14155552671", "no. [redacted: phone]"),
        ("v.TICKET-7", "v.[redacted: ticket]"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("1.415-555-2671", "1.415-555-2671"),
    ],
)
def test_only_digits_after_a_point_are_a_fraction(text, redacted):
    """A key or an address right after a full stop is redacted."""
    assert ALL.text(text) == redacted


@pytest.mark.parametrize("field", sorted(TOOL_SECRETS))
def test_every_secret_field_of_a_remote_tool_is_redacted(field):
    """Clients send credentials for MCP servers within tool definitions; tools of other types are left alone."""
    server = {"type": "mcp", "server_label": "x", "server_url": "https://u:p@x.example/mcp?key=k1"}
    function = {"type": "function", "name": "f", field: "a parameter"}
    assert without_tool_secrets([{**server, field: "secret"}, function, "junk"]) == [
        {**server, "server_url": "https://x.example/mcp", field: REDACTED},
        function,
        "junk",
    ]
    assert without_tool_secrets({"no": "list"}) == {"no": "list"}


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://user:pass@host:1/v1?key=k#f", "https://host:1/v1"),
        ("https://host/v1#access_token=t", "https://host/v1"),
        ("/v1/models?key=k", "/v1/models"),
        ("http://host/v1/@me", "http://host/v1/@me"),
        ("no url at all", "no url at all"),
        ("http://[::bad", "http://[::bad"),
    ],
)
def test_a_bare_url_has_no_user_query_or_fragment(url, bare):
    """Each may hold a secret; an invalid URL raises nothing."""
    assert bare_url(url) == bare


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("github_token", True),
        ("CLIENT_SECRET", True),
        ("DB_PASSWORD", True),
        ("GOOGLE_APPLICATION_CREDENTIALS", True),
        ("BASIC_AUTH", True),
        ("HOME", False),
        ("OPENAI_BASE_URL", False),
    ],
)
def test_secret_variables_are_known_by_their_names(name, secret):
    """The configuration report shows no defaults of these variables."""
    assert is_secret_variable(name) is secret


def test_known_secrets_are_redacted_plain_and_percent_encoded():
    """The longest goes first, and an empty one matches nothing."""
    assert without_secrets("k/1 k%2F1 k/12", ["", "k/1", "k/12"]) == " ".join([REDACTED] * 3)
