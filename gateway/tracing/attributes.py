"""What was seen, as span attributes. Pure: values in, a dict of attributes out."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from gateway.dialects.conversation import ChatRequest, ChatResponse, Usage
from gateway.ids import known
from gateway.providers.route import Route
from gateway.redaction import bare_url
from gateway.semconv import ERROR_BODY
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.metadata import FIELDS, INTEGERS, Metadata, whole_number
from gateway.tracing.secrets import ExchangeSecrets
from gateway.tracing.truncate import as_utf8, bounded

# What a request belongs to, by the field of `options.Metadata`.
_FIELDS = {
    "application": "gateway.application",
    "environment": "gateway.environment",
    "organization_id": "gateway.organization.id",
    "project_id": "gateway.project.id",
    "user_id": "user.id",
    "workflow_id": "gateway.workflow.id",
    "workflow_name": "gateway.workflow.name",
    "run_id": "gateway.run.id",
    "step_id": "gateway.step.id",
    "step_index": "gateway.step.index",
    "prompt_id": "gateway.prompt.id",
    "prompt_version": "gateway.prompt.version",
    "extra": "gateway.extra",
}
# The same by the option that says it (`options.said_in`), and what only headers say.
_BELONGING = {option: _FIELDS[field] for option, field in FIELDS.items()} | {
    "session": "session.id",
    "session-id": "session.id",
    "tags": "gateway.tags",
}
_INTEGERS = frozenset(_FIELDS[field] for field in INTEGERS)
# Written as what was told of the run and the step is.
_IDS = frozenset({"gateway.run.id", "gateway.step.id"})
# Headers that agents already send.
_OTHERS = (
    ("x-claude-code-session-id", "session.id"),
    ("helicone-session-id", "session.id"),
    ("helicone-user-id", "user.id"),
    ("x-stainless-retry-count", "gateway.client.retry_count"),
    ("user-agent", "user_agent.original"),
)

# How many characters are kept of the body of a provider's error.
ERROR_BODY_KEPT = 4096

_NOTHING: Mapping[str, tuple[str, str]] = {}

Attributes = dict[str, Any]

_encoder = msgspec.json.Encoder()


def client_of(user_agent: str) -> str:
    """Return a short name for the client: the first product of its User-Agent, without the version.

    >>> client_of("OpenAI/Python 3.54.0")
    'OpenAI/Python'
    >>> client_of("anthropic-sdk/2.1 x")
    'anthropic-sdk'
    """
    first, _, rest = user_agent.partition(" ")
    name, _, version = first.partition("/")
    return first if rest and version.isalpha() else name


def of_client(
    method: str, target: str, headers: Mapping[str, str], said: Mapping[str, tuple[str, str]] = _NOTHING
) -> Attributes:
    """Return what the request's head says. The query is left out, and a user: they may carry keys.

    `said`: the options among its headers; a number that is none is left out.
    """
    path = bare_url(target)
    attributes: Attributes = {"http.request.method": method, "url.path": as_utf8(path)}
    for option, (_, text) in said.items():
        belonging = _BELONGING.get(option)
        if belonging is not None and belonging not in attributes:
            value = whole_number(text) if belonging in _INTEGERS else known(text) if belonging in _IDS else text
            if value is not None:
                attributes[belonging] = value
    for header, attribute in _OTHERS:
        value = headers.get(header)
        if value and attribute not in attributes:
            attributes[attribute] = as_utf8(value)
    agent = attributes.get("user_agent.original")
    if agent:
        attributes["gateway.client"] = client_of(agent)
    return attributes


def of_metadata(metadata: Metadata) -> Attributes:
    """Return what a request's body says that it belongs to."""
    said = structs.asdict(metadata)
    attributes = {_FIELDS[name]: value for name, value in said.items() if value is not None}
    for name in _IDS & attributes.keys():
        if (own_id := known(attributes[name])) is None:
            del attributes[name]
        else:
            attributes[name] = own_id
    if metadata.extra is not None:
        attributes["gateway.extra"] = _encoder.encode(metadata.extra).decode()
    return attributes


def is_retry(reason: str) -> bool:
    """Whether an attempt that is made for this reason sends again what was sent before."""
    return reason not in {"first", "listing", "probe"} and not reason.startswith("hedge")


def of_attempt(route: Route, method: str, index: int, reason: str, backoff: float) -> Attributes:
    """Return what is known of an attempt before it is made. `backoff`: seconds waited for it."""
    provider = route.provider
    attributes: Attributes = {
        "http.request.method": method,
        "gateway.attempt.index": index,
        "gateway.attempt.reason": reason,
        "gateway.provider": provider.name,
        "server.address": provider.origin.host,
        "server.port": provider.origin.port,
        "url.full": as_utf8(bare_url(provider.url + route.target)),
    }
    if provider.key_name is not None:
        attributes["gateway.attempt.key"] = provider.key_name
    if is_retry(reason):
        attributes["http.request.resend_count"] = index
        attributes["gateway.attempt.backoff_ms"] = round(backoff * 1000, 3)
    if route.dialect is not None:
        attributes["gen_ai.operation.name"] = route.operation
        attributes["gen_ai.provider.name"] = provider.genai_name
        attributes["gateway.dialect"] = route.upstream_dialect
        if route.model:
            attributes["gen_ai.request.model"] = route.rename or route.model
    return attributes


def of_asked(asked: ChatRequest, capture_policy: CapturePolicy) -> Attributes:
    """Return what was asked: parameters, and as much content as is kept."""
    attributes: Attributes = dict(asked.parameters)
    if asked.conversation_id:
        attributes["gen_ai.conversation.id"] = asked.conversation_id
    attributes |= _content("gen_ai.system_instructions", asked.system_instructions, capture_policy)
    attributes |= _content("gen_ai.input.messages", asked.input_messages, capture_policy)
    attributes |= _content("gen_ai.tool.definitions", asked.tool_definitions, capture_policy)
    return attributes


def of_answered(answered: ChatResponse, capture_policy: CapturePolicy) -> Attributes:
    """Return what came back, but for its usage."""
    attributes: Attributes = {}
    if answered.id:
        attributes["gen_ai.response.id"] = answered.id
    if answered.model:
        attributes["gen_ai.response.model"] = answered.model
    if answered.conversation_id:
        attributes["gen_ai.conversation.id"] = answered.conversation_id
    if answered.finish_reasons:
        attributes["gen_ai.response.finish_reasons"] = answered.finish_reasons
    attributes |= _content("gen_ai.output.messages", answered.output_messages, capture_policy)
    return attributes


def of_error_body(body: bytes, secrets: ExchangeSecrets, capture_policy: CapturePolicy) -> Attributes:
    """Return the body of a provider's error as redacted text, if content is captured: an error may repeat it."""
    if not body or not capture_policy.content:
        return {}
    # Redaction shortens the text: more than the limit is read, so that as much as the limit may be left.
    text = secrets.scrub(body[: 4 * ERROR_BODY_KEPT].decode("utf-8", "replace"))
    text = capture_policy.redaction.text(text)
    limit = min(ERROR_BODY_KEPT, capture_policy.limit)
    cut: Attributes = {"gateway.content.truncated": True} if len(text) > limit else {}
    return {ERROR_BODY: text[:limit], **cut}


def broken_off(answered: ChatResponse) -> ChatResponse:
    """Return what came of a response that broke off, with the conventions' finish reason for that.

    Some consumers drop output messages without one.
    """
    messages = [
        message if message.finish_reason else structs.replace(message, finish_reason="error")
        for message in answered.output_messages
    ]
    return structs.replace(answered, output_messages=messages, finish_reasons=answered.finish_reasons or ["error"])


def of_usage(usage: Usage) -> Attributes:
    """Return the tokens that are known, and where that is known from."""
    tokens = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cache_read.input_tokens": usage.cache_read_tokens,
        "cache_write.input_tokens": usage.cache_write_tokens,
        "reasoning.output_tokens": usage.reasoning_tokens,
    }
    known = {f"gen_ai.usage.{name}": count for name, count in tokens.items() if count is not None}
    return {"gateway.usage.source": usage.source, **known}


def of_route(route: Route) -> Attributes:
    """Return what the root span repeats of where the exchange went, under our own names."""
    attributes: Attributes = {"gateway.provider": route.provider.name}
    if route.client_dialect is not None:
        attributes["gateway.dialect"] = route.client_dialect
    if route.model:
        attributes["gateway.request.model"] = route.model
    return attributes


def _content(key: str, value: Any, capture_policy: CapturePolicy) -> Attributes:
    if not value or not capture_policy.content:
        return {}
    encoded = _encoder.encode(value)
    if capture_policy.redaction:  # before it is cut: a half of a secret is still one
        said = msgspec.json.decode(encoded)
        if (kept := capture_policy.redaction.value(said)) is not said:
            encoded = _encoder.encode(kept)
    if len(encoded) <= capture_policy.limit:
        return {key: encoded.decode()}
    return {key: bounded(encoded, capture_policy.limit), "gateway.content.truncated": True}
