"""Span attributes of requests, attempts, responses and usage, as pure functions of values."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from gateway.dialects.conversation import ChatRequest, ChatResponse, Usage
from gateway.dialects.shared.billing import Billing
from gateway.dialects.wire.json import count
from gateway.ids import known
from gateway.providers.route import Route
from gateway.redaction import bare_url
from gateway.semconv import ERROR_BODY, USAGE_OBJECT
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.metadata import FIELDS, INTEGERS, Metadata, valid_extra, whole_number
from gateway.tracing.secrets import ExchangeSecrets
from gateway.tracing.truncate import as_utf8, truncate_json, truncate_messages

# Attributes by the field of `Metadata`.
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
# Attributes by the request option that sets them, and those that only headers set.
_OPTIONS = {option: _FIELDS[field] for option, field in FIELDS.items()} | {
    "session": "session.id",
    "session-id": "session.id",
    "tags": "gateway.tags",
}
_INTEGERS = frozenset(_FIELDS[field] for field in INTEGERS)
# Normalized as the ids in events of runs and steps are.
_IDS = frozenset({"gateway.run.id", "gateway.step.id"})
# Attributes by a header that agents and SDKs already send.
_CLIENT_HEADERS = (
    ("x-claude-code-session-id", "session.id"),
    ("helicone-session-id", "session.id"),
    ("session-id", "session.id"),  # Codex
    ("x-session-id", "session.id"),  # opencode
    ("x-session-affinity", "session.id"),
    ("helicone-user-id", "user.id"),
    ("x-stainless-retry-count", "gateway.client.retry_count"),
    ("user-agent", "user_agent.original"),
)

ERROR_BODY_MAX = 4096
"""Characters of a provider's error body that are recorded."""
USAGE_MAX = 8192
"""Bytes of a provider's usage object that are recorded."""

_NO_OPTIONS: Mapping[str, tuple[str, str]] = {}

Attributes = dict[str, Any]

_encoder = msgspec.json.Encoder()


def client_of(user_agent: str) -> str:
    """Return a short name for the client: the first product of its User-Agent, without the version.

    >>> client_of("OpenAI/Python 3.54.0")
    'OpenAI/Python'
    >>> client_of("litellm-sdk/2.1 x")
    'litellm-sdk'
    """
    first, _, rest = user_agent.partition(" ")
    name, _, version = first.partition("/")
    return first if rest and version.isalpha() else name


def of_client(
    method: str,
    target: str,
    headers: Mapping[str, str],
    options: Mapping[str, tuple[str, str]] = _NO_OPTIONS,
    secrets: ExchangeSecrets | None = None,
) -> Attributes:
    """Return the attributes of a request's head, without the query and a URL's user, which may hold keys.

    `options`: (header, value) by option; an invalid number is ignored. `secrets`: the request's own keys, which
    a user or a path may repeat.
    """
    path = bare_url(target)
    attributes: Attributes = {"http.request.method": method, "url.path": as_utf8(path)}
    for option, (_, text) in options.items():
        name = _OPTIONS.get(option)
        if name is not None and name not in attributes:
            value = whole_number(text) if name in _INTEGERS else known(text) if name in _IDS else text
            if option == "extra-meta" and not valid_extra(text):
                continue
            if value is not None:
                attributes[name] = value
    for header, attribute in _CLIENT_HEADERS:
        value = headers.get(header)
        if value and attribute not in attributes:
            attributes[attribute] = as_utf8(value)
    if secrets is not None:
        secrets.scrub_attributes(attributes)
    agent = attributes.get("user_agent.original")
    if agent:
        attributes["gateway.client"] = client_of(agent)
    return attributes


def of_metadata(metadata: Metadata) -> Attributes:
    """Return the attributes of the metadata in a request's body."""
    attributes = {_FIELDS[name]: value for name, value in structs.asdict(metadata).items() if value is not None}
    for name in _IDS & attributes.keys():
        if (own_id := known(attributes[name])) is None:
            del attributes[name]
        else:
            attributes[name] = own_id
    if metadata.extra is not None:
        attributes["gateway.extra"] = _encoder.encode(metadata.extra).decode()
    return attributes


def is_retry(reason: str) -> bool:
    """Return whether an attempt made for this reason resends a request that failed."""
    return reason not in {"first", "listing", "probe"} and not reason.startswith("hedge")


def of_attempt(route: Route, method: str, index: int, reason: str, backoff: float) -> Attributes:
    """Return the attributes of an attempt that are known before it is made. `backoff`: seconds waited before it."""
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
    if (reader := route.upstream_reader) is not None:
        attributes["gen_ai.operation.name"] = route.operation
        attributes["gen_ai.provider.name"] = provider.genai_name
        attributes["gateway.dialect"] = reader.traced
        if route.model:
            attributes["gen_ai.request.model"] = route.rename or route.model
    return attributes


def of_request(request: ChatRequest, capture_policy: CapturePolicy) -> Attributes:
    """Return a request's parameters, and its content as far as the policy captures it."""
    attributes: Attributes = dict(request.parameters)
    if request.conversation_id:
        attributes["gen_ai.conversation.id"] = request.conversation_id
    attributes |= _content("gen_ai.system_instructions", request.system_instructions, capture_policy)
    attributes |= _content("gen_ai.input.messages", request.input_messages, capture_policy)
    attributes |= _content("gen_ai.tool.definitions", request.tool_definitions, capture_policy)
    return attributes


def of_response(response: ChatResponse, capture_policy: CapturePolicy) -> Attributes:
    """Return the attributes of a response except its usage, and its content as far as the policy captures it."""
    attributes: Attributes = {}
    if response.id:
        attributes["gen_ai.response.id"] = response.id
    if response.model:
        attributes["gen_ai.response.model"] = response.model
    if response.conversation_id:
        attributes["gen_ai.conversation.id"] = response.conversation_id
    if response.finish_reasons:
        attributes["gen_ai.response.finish_reasons"] = response.finish_reasons
    attributes |= _content("gen_ai.output.messages", response.output_messages, capture_policy)
    return attributes


def of_error_body(body: bytes, secrets: ExchangeSecrets, capture_policy: CapturePolicy) -> Attributes:
    """Return the body of a provider's error as redacted text, if content is captured: an error may repeat it."""
    if not body or not capture_policy.content:
        return {}
    # Redaction shortens the text: more than the limit is read, so that as much as the limit may be left.
    text = secrets.scrub(body[: 4 * ERROR_BODY_MAX].decode("utf-8", "replace"))
    text = capture_policy.redaction.text(text)
    limit = min(ERROR_BODY_MAX, capture_policy.limit)
    cut: Attributes = {"gateway.content.truncated": True} if len(text) > limit else {}
    return {ERROR_BODY: text[:limit], **cut}


def interrupted(response: ChatResponse) -> ChatResponse:
    """Return an incomplete response with the finish reason `error`; some consumers drop messages without a reason."""
    messages = [
        message if message.finish_reason else structs.replace(message, finish_reason="error")
        for message in response.output_messages
    ]
    return structs.replace(response, output_messages=messages, finish_reasons=response.finish_reasons or ["error"])


def of_usage(usage: Usage) -> Attributes:
    """Return the token counts that are known, and their source; a sum that no column can hold is unknown."""
    tokens = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cache_read.input_tokens": usage.cache_read_tokens,
        "cache_write.input_tokens": usage.cache_write_tokens,
        "reasoning.output_tokens": usage.reasoning_tokens,
    }
    counts = {f"gen_ai.usage.{name}": number for name, number in tokens.items() if count(number) is not None}
    return {"gateway.usage.source": usage.source, **counts}


def of_billing(billing: Billing) -> Attributes:
    """Return the facts of the bill that are known, and the usage object as JSON text, in about `USAGE_MAX` bytes."""
    facts = {
        "gen_ai.usage.audio.input_tokens": count(billing.audio_input_tokens),
        "gen_ai.usage.audio.output_tokens": count(billing.audio_output_tokens),
        "gen_ai.usage.cost": billing.cost_usd,
        "gateway.usage.cache_write_5m.input_tokens": count(billing.cache_write_5m_tokens),
        "gateway.usage.cache_write_1h.input_tokens": count(billing.cache_write_1h_tokens),
        "gateway.usage.web_search_requests": count(billing.web_search_requests),
        "gateway.usage.server_tool_requests": count(billing.server_tool_requests),
        "gateway.usage.service_tier": billing.service_tier,
    }
    reported = truncate_json(_encoder.encode(billing.reported), USAGE_MAX).decode()
    return {USAGE_OBJECT: reported} | {name: value for name, value in facts.items() if value is not None}


def of_route(route: Route) -> Attributes:
    """Return the attributes of the last attempt's route that the root span repeats, under names of our own."""
    attributes: Attributes = {"gateway.provider": route.provider.name}
    if route.dialect is not None:
        attributes["gateway.dialect"] = route.dialect.traced
    if route.model:
        attributes["gateway.request.model"] = route.model
    return attributes


def _content(key: str, value: Any, capture_policy: CapturePolicy) -> Attributes:
    if not value or not capture_policy.content:
        return {}
    encoded = _encoder.encode(value)
    if capture_policy.redaction:  # before truncation, which could leave half a secret
        decoded = msgspec.json.decode(encoded)
        if (redacted := capture_policy.redaction.value(decoded)) is not decoded:
            encoded = _encoder.encode(redacted)
    if len(encoded) <= capture_policy.limit:
        return {key: encoded.decode()}
    return {key: truncate_messages(encoded, capture_policy.limit), "gateway.content.truncated": True}
