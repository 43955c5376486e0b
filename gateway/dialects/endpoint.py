"""One client API as a value: the paths it has, the errors it sends, and the headers and streams of its requests.

Code outside `dialects` and `providers` asks the endpoint, and branches on no dialect's name; `registry` lists them all.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NoReturn, Protocol

import msgspec
from msgspec import Struct

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.shared.failure import FailureReader
from gateway.dialects.shared.model_list import Listed
from gateway.dialects.shared.rate_limits import RateLimit
from gateway.dialects.shared.tool_names import NameForm
from gateway.dialects.shared.writer import Writer
from gateway.errors import ExchangeError, Kind

Headers = Iterable[tuple[bytes, bytes]]
ErrorWriter = Callable[[Kind, int, str, str | None, str], bytes]
"""Writes an error: its kind, the HTTP status, the message, a word for it or None, and the request's id."""

ErrorWrapper = Callable[[Kind, str, str], bytes]
"""Writes a provider's error inside another one: its kind, the message, and the text of the provider's body."""

SERVER_SENT = "text/event-stream"
"""The media type of server-sent events."""

OPTION_PREFIX = b"x-gateway-"
"""The prefix of the gateway's option headers; an endpoint may have another one as well."""

_V1 = re.compile(r"^(?:/+v1(?=/|$))+")


def bare(path: str) -> str:
    """Return a path without the `/v1` that it begins with, however often.

    >>> bare("/v1/v1/models")
    '/models'
    """
    return _V1.sub("", path)


class PathOperation(Struct, frozen=True):
    """An operation whose path names its model.

    Attributes:
        endpoint: The name of the endpoint.
        dialect: The reader of the operation; None if it is only relayed.
        model: The model; empty if the body names it.

    """

    endpoint: str
    dialect: Dialect | None
    model: str
    stream: bool = False


class PathPrefix(Struct, frozen=True, kw_only=True):
    """A place in a provider's own API, below which it speaks other dialects too.

    Attributes:
        pattern: Matches the beginning of such a path.
        provider: The default provider of a bare path that matches.
        stripped: Whether the prefix is removed, so that the rest is read as a path of the other dialect. If it stays,
            the path is sent as it is, and the models in it have no provider's prefix.

    """

    pattern: re.Pattern[str]
    provider: str
    stripped: bool


class TokenCount(Struct, frozen=True, kw_only=True):
    """An operation that counts a request's tokens; the gateway estimates them for providers that lack it.

    Attributes:
        dialect: The dialect that has it.
        tail: The end of its path.
        read: Reads the request's body.
        write: Returns the response's body for a number of tokens.

    """

    dialect: str
    tail: str
    read: Callable[[bytes], ChatRequest]
    write: Callable[[int], bytes]


def read_field(kind: Any, expected: str, field: str, value: bytes) -> Any:
    """Return a field of a request's body as a type. Raises ExchangeError, which repeats nothing of the value."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse_field(field, f"{expected} ({error})")


def refuse_field(field: str, expected: str) -> NoReturn:
    """Raise the ExchangeError for a field of a request's body that cannot be used."""
    raise ExchangeError(
        Kind.BAD_INPUT, f"The body's field {field!r} is wrong: expected {expected}.", code="bad_body"
    ) from None


class BodyOptions(Protocol):
    """A request's body, and the gateway's options that were fields of it."""

    @property
    def options(self) -> Mapping[str, bytes]:
        """The raw JSON of each option, by name."""

    @property
    def model(self) -> str | None:
        """The model that the body names, if any."""

    @property
    def private_headers(self) -> frozenset[bytes]:
        """Lower-case names of request headers that are not sent to providers."""

    def body(self, model: str) -> bytes:
        """Return the body without the options; `model` is set if it names none."""


class ResponseFacts(Struct, frozen=True, kw_only=True):
    """The facts of an exchange that an API adds to its responses."""

    id: str
    provider: str
    model: str
    retries: int
    rate_limited: bool


class Received(Protocol):
    """A provider's response as far as it has been read."""

    @property
    def streamed(self) -> bool:
        """Whether it is a stream."""

    @property
    def ended(self) -> bool:
        """Whether the stream's own last event has passed."""

    def response(self) -> ChatResponse | None:
        """Return the parsed values; None if the body cannot be parsed."""


class StreamFilter(Protocol):
    """Changes a response on its way to the client, in pieces."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, and return those that may be relayed."""

    def flush(self) -> bytes:
        """Return the rest, at the end."""


class ResponseRewriter(StreamFilter, Protocol):
    """Writes another response from a provider's."""

    @property
    def content_type(self) -> str:
        """The media type of the written response."""

    @property
    def dropped(self) -> list[str]:
        """Names of the content that could not be expressed."""

    def broken(self, message: str) -> bytes:
        """Return the event that reports a stream that broke off."""


class Rewriting(Struct, frozen=True, kw_only=True):
    """A response that an endpoint rewrites.

    Attributes:
        request: The client's request, with the model and `stream` resolved.
        coding: The content coding of the provider's response.
        limit: How many bytes of it are decoded at most.
        inner: The translation into the endpoint's dialect, if the provider speaks another one.
        now: Unix time.

    """

    facts: ResponseFacts
    request: ChatRequest
    received: Received
    coding: str
    limit: int
    inner: ResponseRewriter | None
    now: float


def server_sent(error: ErrorWriter, name: bytes = b"") -> ErrorWriter:
    """Return a writer of errors as server-sent events, named if `name` is not empty."""
    head = b"event: %b\n" % name if name else b""

    def write(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:
        return b"%bdata: %b\n\n" % (head, error(kind, status, message, word, request_id))

    return write


def no_headers(kind: Kind, status: int) -> dict[str, str]:  # noqa: ARG001
    """Return the headers of an error whose API has none."""
    return {}


class Endpoint(Struct, frozen=True, kw_only=True, eq=False):
    """A client API: a dialect as configurations name it, or another API that has its requests in a dialect.

    Attributes:
        name: A dialect's name (`openai-chat`), or that of an API which no provider speaks.
        dialect: The dialect of its requests and responses; its own name if it is one.
        writer: Writes the dialect, for providers and clients; None: nothing is translated into it or from it.
        provider: The name of the default provider of its bare paths.
        operations: The operations that are read, by the last segments of their paths (`("chat", "completions")`).
        path_operations: The operations of `read_path` that are read.
        read_path: Reads an operation whose path names the model: (method, path) -> PathOperation, or None.
        write_path: Returns such a path with another model: (path, model) -> path.
        model_in_body: Whether the body of an operation of `read_path` may name the model as well.
        resource: The word before a model's name in a body, if that repeats the path's model (`models/`).
        elsewhere: Returns an operation's path for providers that lack the endpoint's own paths.
        reserved: Whether its operations are recognised before a provider's mount.
        claims: Returns the path to send for a request of this API, None for others: (method, path, headers). It goes
            before everything else.
        version: Matches a path with a version that this API alone has.
        paths: Matches a bare path that begins as this API's do.
        resources: Matches a path that the API is known to have, without `/v1` or the version; by default as `paths`.
        operations_only: Whether `paths` counts for operations only, as other APIs' paths begin likewise.
        below_v1: Whether any path below `/v1` may be this API's. The `paths` of the first such endpoint decide only
            whether a path is known without `/v1`.
        bare_base: Whether base URLs of the API leave out `/v1`, which is thus added to its paths without one.
        prefixes: Paths in the API at which other dialects are served.
        join: Joins a provider's base path and a request's path, unless by the rules of `urls`.
        base_path: The path below a base URL without a version.
        stream_type: The media type of its streams.
        framed: Whether its streams are binary frames, of which only the reader knows the ends.
        key_header: The header in which a provider that speaks this dialect alone expects its key.
        query_keys: Query parameters that hold a key.
        headers: Headers that the API requires. A client that sends the first one is this API's.
        header_prefixes: Beginnings of header names that no other API's provider is sent.
        option_prefix: The API's own prefix of option headers, instead of `x-gateway-`.
        uuid_headers: Option headers whose values must be UUIDs.
        private_model: Whether a model is the default provider's own, though another one claims its name.
        prefers_claims: Whether a provider that claims a model's name wins over a default provider with its own address.
        error: Writes an error body.
        error_event: Writes an error in the middle of a stream, framed.
        error_headers: Headers of an error response, by kind and status.
        wrap_error: Writes a provider's error; None: clients get the provider's bytes, or a translation.
        statuses: HTTP statuses that only this API's clients know, and those that others get instead.
        rate_limits: Headers by which a provider reports its limits.
        read_failure: Reads what an error body has about further attempts: a used up quota, a wait.
        models_path: The list of models, below the dialect's path; None if there is none.
        write_models: Writes the list of all providers' models (Unix time); None if a list is always relayed.
        token_count: The operation that counts tokens.
        ask_for_usage: Returns a streamed request with usage asked for, or None if the client mentions it.
        usage_filter: Makes the filter that withholds the usage that was asked for.
        reports_usage: Whether its streams always report usage.
        reads_on: Whether a response is read to its end, for the trace, after the client has left.
        has_quirks: Whether providers differ in their reading of the dialect (`providers.quirks`).
        cache_writer: Writes the dialect with cache marks, for providers that take them.
        tool_names: The limits on names of tools; None without limits.
        stores_conversations: Whether a provider stores conversations that a request may continue.
        writer_for: Returns the writer for a client, by the target of its request, if that decides.
        read_options: Reads the gateway's options in a body: (body without coding or None, target).
        exchange_id: Returns the id that clients know an exchange by, from the Unix time.
        rewrite: Makes the rewriter of a successful response; None, or a None from it: it is relayed.
        rewrite_whole: Rewrites a response that the gateway has written itself: body, facts, whether it is streamed.
        health_paths: Paths that report whether the gateway runs.

    """

    name: str
    dialect: str
    writer: Writer | None = None
    provider: str
    operations: dict[tuple[str, ...], Dialect] = {}
    path_operations: tuple[Dialect, ...] = ()
    read_path: Callable[[str, str], PathOperation | None] | None = None
    write_path: Callable[[str, str], str] | None = None
    model_in_body: bool = False
    resource: str | None = None
    elsewhere: Callable[[str], str] | None = None
    reserved: bool = False
    claims: Callable[[str, str, Headers], str | None] | None = None
    version: re.Pattern[str] | None = None
    paths: re.Pattern[str] | None = None
    resources: re.Pattern[str] | None = None
    operations_only: bool = False
    below_v1: bool = False
    bare_base: bool = False
    prefixes: tuple[PathPrefix, ...] = ()
    join: Callable[[str, str], str] | None = None
    base_path: str = ""
    stream_type: str = SERVER_SENT
    framed: bool = False
    key_header: Literal["bearer", "x-api-key", "x-goog-api-key"] = "bearer"
    query_keys: frozenset[str] = frozenset()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    header_prefixes: tuple[bytes, ...] = ()
    option_prefix: bytes | None = None
    uuid_headers: frozenset[str] = frozenset()
    private_model: Callable[[str], bool] | None = None
    prefers_claims: bool = False
    error: ErrorWriter
    error_event: ErrorWriter
    error_headers: Callable[[Kind, int], dict[str, str]] = no_headers
    wrap_error: ErrorWrapper | None = None
    statuses: dict[int, int] = {}
    rate_limits: tuple[RateLimit, ...] = ()
    read_failure: FailureReader | None = None
    models_path: str | None = None
    write_models: Callable[[Iterable[Listed], float], bytes] | None = None
    token_count: TokenCount | None = None
    ask_for_usage: Callable[[bytes], bytes | None] | None = None
    usage_filter: Callable[[], StreamFilter] | None = None
    reports_usage: bool = False
    reads_on: bool = False
    has_quirks: bool = False
    cache_writer: Writer | None = None
    tool_names: NameForm | None = NameForm()
    stores_conversations: bool = False
    writer_for: Callable[[str], Writer] | None = None
    read_options: Callable[[bytes | None, str], BodyOptions] | None = None
    exchange_id: Callable[[float, random.Random], str] | None = None
    rewrite: Callable[[Rewriting], ResponseRewriter | None] | None = None
    rewrite_whole: Callable[[bytes, ResponseFacts, bool], bytes] | None = None
    health_paths: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}>"

    def error_body(self, error: ExchangeError, request_id: str) -> bytes:
        """Return the body of an error response of the gateway's own."""
        return self.error(error.kind, error.status, error.message, error.code, request_id)

    def broken_stream(self, error: ExchangeError, request_id: str) -> bytes:
        """Return the event that reports an error in the middle of a stream."""
        return self.error_event(error.kind, error.status, error.message, error.code, request_id)

    def client_writer(self, target: str) -> Writer:
        """Return the writer of responses to a request with this target. The endpoint must have one."""
        writer = self.writer if self.writer_for is None else self.writer_for(target)
        if writer is None:
            raise RuntimeError(f"nothing is translated for clients of {self.name}")
        return writer


def json_tokens(field: str) -> Callable[[int], bytes]:
    """Return a writer of a token count as a JSON object with one field."""
    return lambda tokens: msgspec.json.encode({field: tokens})
