"""All client APIs, one line each, and the lookups that are made from them."""

import re

from gateway.dialects import (
    Dialect,
    anthropic,
    azure_openai,
    bedrock,
    chronicle,
    cohere,
    gemini,
    ollama,
    openai_chat,
    openai_responses,
)
from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.anthropic.vertex import VERTEX
from gateway.dialects.endpoint import OPTION_PREFIX, Endpoint, Headers, PathOperation, PathPrefix, TokenCount, bare
from gateway.dialects.openai_chat import CHAT_COMPLETIONS
from gateway.dialects.openai_responses import RESPONSES
from gateway.dialects.shared.failure import Failure, FailureReader, read_failure
from gateway.dialects.shared.rate_limits import RateLimit
from gateway.dialects.shared.writer import Writer
from gateway.dialects.wire.edit import Peek

BUILT_IN = (
    openai_chat.ENDPOINT,  # the first one is the default
    openai_responses.ENDPOINT,
    anthropic.ENDPOINT,
    VERTEX,  # before Gemini, whose paths its own are among
    gemini.ENDPOINT,
    ollama.ENDPOINT,
    bedrock.ENDPOINT,
    cohere.ENDPOINT,
    azure_openai.ENDPOINT,
    chronicle.ENDPOINT,
)

ENDPOINTS: dict[str, Endpoint] = {}
"""The endpoints by name."""

DIALECTS: dict[str, Dialect] = {}
"""The operations that are read, by name."""

WRITERS: dict[str, Writer] = {}
"""The writers of the dialects that providers speak, by name."""


class _Tables:
    """The registered endpoints, by each kind of lookup; rebuilt if an endpoint is added or removed."""

    default: Endpoint
    tails: dict[tuple[str, ...], Dialect]
    path_readers: tuple[Endpoint, ...]
    reserved: tuple[Endpoint, ...]
    claiming: tuple[Endpoint, ...]
    versioned: tuple[Endpoint, ...]
    rooted: tuple[Endpoint, ...]
    below_v1: tuple[Endpoint, ...]
    known: tuple[Endpoint, ...]
    resources: tuple[tuple[Endpoint, re.Pattern[str]], ...]
    prefixes: tuple[tuple[PathPrefix, Endpoint], ...]
    marked: dict[bytes, Endpoint]
    token_counts: tuple[TokenCount, ...]
    dialects: tuple[str, ...]
    stream_types: tuple[str, ...]
    framed_types: tuple[str, ...]
    header_prefixes: tuple[bytes, ...]
    option_prefixes: tuple[bytes, ...]
    uuid_headers: frozenset[str]
    query_keys: frozenset[str]
    health_paths: frozenset[str]
    statuses: dict[int, int]
    rate_limits: tuple[RateLimit, ...]
    failure_readers: tuple[FailureReader, ...]

    def build(self) -> None:
        """Join the tables of all endpoints, in the order in which they were registered."""
        every = tuple(ENDPOINTS.values())
        self.default = every[0]
        self.tails = {tail: dialect for each in every for tail, dialect in each.operations.items()}
        self.path_readers = tuple(each for each in every if each.read_path is not None)
        self.reserved = tuple(each for each in self.path_readers if each.reserved)
        self.claiming = tuple(each for each in every if each.claims is not None)
        self.versioned = tuple(each for each in every if each.version is not None)
        own = tuple(each for each in every if each.paths is not None)
        self.rooted = tuple(each for each in own if not (each.below_v1 or each.operations_only))
        self.known = tuple(each for each in own if each.below_v1)
        self.below_v1 = tuple(each for each in self.known if each is not self.default)
        listed = ((each, each.resources or each.paths) for each in every)
        self.resources = tuple((each, pattern) for each, pattern in listed if pattern is not None)
        self.prefixes = tuple((prefix, each) for each in every for prefix in each.prefixes)
        self.marked = {each.headers[0][0]: each for each in reversed(every) if each.headers}
        self.token_counts = tuple(each.token_count for each in every if each.token_count is not None)
        self.stream_types = tuple({each.stream_type for each in every})
        self.framed_types = tuple({each.stream_type for each in every if each.framed})
        self.header_prefixes = tuple(prefix for each in every for prefix in each.header_prefixes)
        others = (each.option_prefix for each in every if each.option_prefix is not None)
        self.option_prefixes = (OPTION_PREFIX, *others)
        self.uuid_headers = frozenset(name for each in every for name in each.uuid_headers)
        self.query_keys = frozenset(name for each in every for name in each.query_keys)
        self.health_paths = frozenset(path for each in every for path in each.health_paths)
        self.statuses = {status: other for each in every for status, other in each.statuses.items()}
        self.rate_limits = tuple(limit for each in every for limit in each.rate_limits)
        self.failure_readers = tuple(each.read_failure for each in every if each.read_failure is not None)
        DIALECTS.clear()
        for endpoint in every:
            read = (*endpoint.operations.values(), *endpoint.path_operations)
            DIALECTS.update((each.name, each) for each in read)
        WRITERS.clear()
        own_dialects = [each for each in every if each.name == each.dialect]
        self.dialects = tuple(each.name for each in own_dialects)
        WRITERS.update((each.name, each.writer) for each in own_dialects if each.writer is not None)


TABLES = _Tables()


def register(*endpoints: Endpoint) -> None:
    """Add endpoints. Raises ValueError for a name that is taken."""
    for each in endpoints:
        if each.name in ENDPOINTS:
            raise ValueError(f"there is an endpoint {each.name!r} already")
        ENDPOINTS[each.name] = each
    TABLES.build()


def unregister(name: str) -> None:
    """Remove an endpoint. Raises KeyError if there is none of that name."""
    del ENDPOINTS[name]
    TABLES.build()


register(*BUILT_IN)


def classify(method: str, path: str) -> Dialect | None:
    """Return the reader of a request and its response by the last segments of its path; None if it is only relayed.

    A mount, a version or a deployment before the operation's own segments makes no difference.
    """
    if method.upper() != "POST":
        return None
    segments = tuple(s for s in path.partition("?")[0].split("/") if s)
    if "threads" in segments:  # the Assistants API's messages are none of Anthropic's
        return None
    tails = TABLES.tails
    return tails.get(segments[-2:]) or tails.get(segments[-1:])


def in_path(method: str, path: str) -> PathOperation | None:
    """Return the operation on a model that a path names; None for a path of another API."""
    for each in TABLES.path_readers:
        if each.read_path is not None and (operation := each.read_path(method, path)) is not None:
            return operation
    return None


def has_resource(endpoint: Endpoint, path: str) -> bool:
    """Whether a bare path begins as a resource of an API's maker does."""
    rest = bare(path)
    for each, resources in TABLES.resources:
        below = rest if each.version is None else each.version.sub("", rest)
        if each.provider == endpoint.provider and resources.match(below):
            return True
    return endpoint.reserved


def by_headers(headers: Headers) -> Endpoint:
    """Return the endpoint whose clients send one of these headers, else the default one."""
    marked = TABLES.marked
    return next((found for name, _ in headers if (found := marked.get(name.lower())) is not None), TABLES.default)


def token_count(method: str, path: str) -> TokenCount | None:
    """Return the counting operation of a path, if it is one."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    return next((each for each in TABLES.token_counts if path.endswith(each.tail)), None)


def failure_in(body: bytes) -> Failure:
    """Return the facts in a provider's error body that decide on further attempts."""
    return read_failure(body, TABLES.failure_readers)


def by_shape(dialect: Dialect, peeked: Peek) -> Dialect:
    """Return the dialect of a body, if it is not the path's: some clients post one's body to another's path.

    Cursor sends bodies of the Responses API to `/chat/completions`, and expects a chat completion.
    """
    fields = peeked.fields
    if dialect in (CHAT_COMPLETIONS, MESSAGES) and "input" in fields and "messages" not in fields:
        return RESPONSES
    if (
        dialect in (CHAT_COMPLETIONS, MESSAGES, RESPONSES)
        and "contents" in fields
        and not fields & {"messages", "input"}
    ):
        return gemini.GEMINI
    if dialect is RESPONSES and "messages" in fields and "input" not in fields:
        return MESSAGES if "system" in fields else CHAT_COMPLETIONS
    if dialect is MESSAGES and fields & {"max_completion_tokens", "response_format"}:
        return CHAT_COMPLETIONS
    return dialect
