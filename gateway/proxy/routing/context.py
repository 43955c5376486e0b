"""One client request as the proxy sees it: made once, in `handler`, and read by everything after it."""

from msgspec import Struct

from gateway.dialects.wire.edit import Peek
from gateway.proxy.headers import Headers
from gateway.proxy.routing.request_options import NONE, Options
from gateway.proxy.routing.routes import ParsedPath, named_model
from gateway.proxy.routing.runtime import RuntimeConfig

NO_BODY = Peek(model=None, stream=False)


class RequestContext(Struct, frozen=True, kw_only=True):
    """An authorized request and the configuration it began with.

    Attributes:
        path: The path, read, without a token of ours in its query.
        headers: As they came, less our token.
        body: The body to send if no rule changes it, in the content coding it came in.
        decoded: The body without its content coding, if it is JSON that may be read; else None.
        peeked: The model and `stream` of that body.
        options: The request's own options, from its headers and its body.
        runtime: The active configuration when the request came.
        token_valid: Whether the client showed our token.

    """

    method: str
    path: ParsedPath
    headers: Headers = ()
    body: bytes = b""
    decoded: bytes | None = None
    peeked: Peek = NO_BODY
    options: Options = NONE
    runtime: RuntimeConfig
    token_valid: bool = False

    def __repr__(self) -> str:
        """Leave out the headers and the body."""
        return f"<RequestContext {self.method} {self.path.path} model={self.model!r}>"

    @property
    def named_model(self) -> str | None:
        """The model that the path or the body names."""
        return named_model(self.path, self.peeked)

    @property
    def model(self) -> str | None:
        """The model that is asked for: by an option, or by the request itself."""
        return self.options.model or self.named_model
