"""The decision on a request: a pure function from its context to candidates with routes and refusals."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.config.model import parse
from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError
from gateway.proxy.decide import Decision, Listing, decide
from gateway.proxy.routing.context import RequestContext, RuntimeConfig, build_runtime
from gateway.proxy.routing.request_options import NONE, Named, Options
from gateway.proxy.routing.routes import parse_path

KEY = "sk-ours-0123456789abcdef"
FLEET = f"""
[providers.one]
base_url = "http://one.test/v1"
api_key = "{KEY}"
dialect = "openai-chat"
[providers.two]
base_url = "http://two.test"
dialect = "anthropic-messages"
api_keys = ["{KEY}-a", "{KEY}-b"]
[providers.three]
base_url = "http://three.test/v1beta"
dialect = "gemini"
"""
PATHS = [
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/responses",
    "/one/v1/chat/completions",
    "/v1beta/models/smart:generateContent",
    "/openai/deployments/smart/chat/completions",
    "/v1/files",
]
PAGE = ((b"Origin", b"https://evil.example"),)


def runtime(more: str = "", fleet: str = FLEET) -> RuntimeConfig:
    """Return the configuration of a fleet of three providers, each with a dialect of its own."""
    return build_runtime(parse(fleet + more, {}, "test.toml"), {})


def requested(
    built: RuntimeConfig, path: str, model: str | None = None, options: Options = NONE, **more: Any
) -> RequestContext:
    """Return the context of a POST."""
    parsed = parse_path("POST", path, (), built.providers)
    peeked = Peek(model=model, stream=False)
    return RequestContext(method="POST", path=parsed, peeked=peeked, options=options, runtime=built, **more)


def decided(context: RequestContext) -> Decision | tuple[str, str, int]:
    """Return the decision, or the facts of the error that is raised instead."""
    try:
        return decide(context)
    except ExchangeError as error:
        return error.code, error.message, error.status


def facts(decision: Decision | tuple[str, str, int]) -> Any:
    """Return a decision as a value: refusals, which are exceptions, by their facts."""
    if not isinstance(decision, Decision):
        return decision
    refusals = [each.refusal and (each.refusal.code, each.refusal.message) for each in decision.candidates]
    bare = [structs.replace(each, refusal=None) for each in decision.candidates]
    return bare, refusals, decision.order, decision.policy, decision.estimates


@st.composite
def contexts(draw: st.DrawFn) -> RequestContext:
    """Draw a fleet with an alias, and a request to it."""
    providers = ("one", "two", "three")
    members = draw(st.lists(st.sampled_from(providers), min_size=1, max_size=5))
    order = draw(st.sampled_from(["listed", "random", "fastest"]))
    candidates = ", ".join(f'"{name}/m{n}"' for n, name in enumerate(members))
    built = runtime(f'[aliases.smart]\norder = "{order}"\ncandidates = [{candidates}]\n')
    model = draw(st.sampled_from(["smart", "one/m", "gpt-5", "nobody/m", "two/", None]))
    named = st.builds(Named, model=st.sampled_from(["one/m", "three/g", "claude-x"]))
    options = draw(
        st.builds(
            Options,
            model=st.sampled_from([None, "smart", "one/other"]),
            provider=st.sampled_from([None, *providers]),
            models=st.lists(named, max_size=3).map(tuple),
            random_choice=st.booleans(),
        )
        | st.just(NONE)
    )
    headers, valid = draw(st.sampled_from([(), PAGE])), draw(st.booleans())
    return requested(built, draw(st.sampled_from(PATHS)), model, options, headers=headers, token_valid=valid)


@given(context=contexts())
def test_a_decision_is_pure(context: RequestContext):
    """The same context gives an equal decision, however often it is made, and is not changed by it."""
    before = copy.copy(context.runtime.aliases), context.headers, context.options
    first = facts(decided(context))
    assert facts(decided(context)) == first
    assert facts(decided(structs.replace(context))) == first
    assert (context.runtime.aliases, context.headers, context.options) == before


@given(context=contexts())
def test_every_candidate_has_a_route(context: RequestContext):
    """A candidate has a route to its own provider, refused or not, so that its attempt can be recorded."""
    decision = decided(context)
    if isinstance(decision, Decision):
        assert decision.candidates
        for each in decision.candidates:
            assert each.route is not None
            assert each.route.provider == each.provider
            assert each.refusal is None or each.refusal.message


@given(context=contexts())
def test_pages_are_refused_only_without_our_token(context: RequestContext):
    """With a valid token the `Origin` of a request decides nothing."""
    alone = structs.replace(context, headers=(), token_valid=True)
    assert facts(decided(structs.replace(context, headers=PAGE, token_valid=True))) == facts(decided(alone))


def test_a_refused_candidate_keeps_its_reason():
    """A candidate that cannot be sent the request stays in its place, with the reason and its own model."""
    built = runtime('[aliases.smart]\ncandidates = ["two/m", "one/n"]\n')
    refused, sent = decide(requested(built, "/v1/embeddings", "smart", token_valid=True)).candidates
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.refusal.status) == ("dialect_mismatch", 400)
    assert "'two'" in refused.refusal.message
    assert refused.route is not None
    assert (refused.route.model, refused.route.rename, refused.route.dialect is not None) == ("smart", "m", True)
    assert sent.refusal is None
    assert sent.route is not None
    assert (sent.route.target, sent.route.rename) == ("/v1/embeddings", "n")


@pytest.mark.parametrize(
    ("valid", "headers", "refused"),
    [
        pytest.param(False, PAGE, True, id="a page without the token"),
        pytest.param(True, PAGE, False, id="a page with the token"),
        pytest.param(False, (), False, id="no page"),
    ],
)
def test_a_page_is_refused_without_our_token(valid: bool, headers: Any, refused: bool):
    """A page of another site may not use a key of ours, unless it has our token."""
    context = requested(runtime(), "/v1/chat/completions", "one/m", headers=headers, token_valid=valid)
    (candidate,) = decide(context).candidates
    assert (candidate.refusal is not None) == refused
    if candidate.refusal is not None:
        assert (candidate.refusal.code, candidate.refusal.status) == ("origin_refused", 403)


def test_each_candidate_is_refused_by_itself():
    """Of an alias only the candidates whose key is ours are closed to a page."""
    built = runtime('[aliases.smart]\ncandidates = ["one/m", "three/g"]\n')
    context = requested(built, "/v1/chat/completions", "smart", headers=PAGE)
    assert [each.refusal is not None for each in decide(context).candidates] == [True, False]


@pytest.mark.parametrize(
    ("path", "model", "estimated"),
    [
        pytest.param("/v1/messages/count_tokens", "two/m", False, id="the provider counts"),
        pytest.param("/v1/messages/count_tokens", "one/m", True, id="the provider does not"),
        pytest.param("/v1/messages", "one/m", False, id="another operation"),
    ],
)
def test_tokens_are_estimated_for_providers_that_do_not_count(path: str, model: str, estimated: bool):
    """A token count is estimated if the first candidate's provider lacks the operation, and never otherwise."""
    estimates = decide(requested(runtime(), path, model, token_valid=True)).estimates
    assert (estimates is not None) == estimated


@pytest.mark.parametrize("order", ["listed", "random", "fastest"])
def test_an_alias_has_its_order(order: str):
    """The candidates are listed as configured, and the alias's order is for the schedule to apply."""
    built = runtime(f'[aliases.smart]\norder = "{order}"\ncandidates = ["one/m", "two/n"]\n')
    decision = decide(requested(built, "/v1/chat/completions", "smart", token_valid=True))
    assert decision.order == order
    assert [(each.provider.name, each.model) for each in decision.candidates] == [("one", "m"), ("two", "n")]


def test_the_requests_retries_have_precedence():
    """The retry policy is the configuration's, with the fields replaced that the request sets."""
    built = runtime("[retry]\nmax_tries = 7\njitter = 3.0\n")
    plain = decide(requested(built, "/v1/chat/completions", "one/m")).policy
    assert (plain.max_tries, plain.jitter) == (7, 3.0)
    own = decide(requested(built, "/v1/chat/completions", "one/m", Options(retry={"max_tries": 2}))).policy
    assert (own.max_tries, own.jitter) == (2, 3.0)


def test_a_request_without_a_candidate_is_an_error():
    """A model that is a prefix alone leads nowhere: the decision is an error, not an empty list."""
    assert decided(requested(runtime(), "/v1/chat/completions", "one/"))[0] == "model_not_found"  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        pytest.param("GET", "/v1/models", {"openai", "one", "two", "three"}, id="the bare list"),
        pytest.param("GET", "/v1/models/", {"openai", "one", "two", "three"}, id="with a slash"),
        pytest.param("POST", "/v1/models", None, id="another method"),
        pytest.param("GET", "/v1/models/gpt-5", None, id="one model"),
        pytest.param("GET", "/one/v1/models", None, id="below a mount"),
    ],
)
def test_model_lists_of_all_providers(method: str, path: str, names: set[str] | None):
    """Only a bare `GET /v1/models` is answered by the path's own provider and all that were set up."""
    built = runtime()
    context = RequestContext(method=method, path=parse_path(method, path, (), built.providers), runtime=built)
    decision = decide(context)
    listed = {each.name for each in decision.providers} if isinstance(decision, Listing) else None
    assert listed == names
