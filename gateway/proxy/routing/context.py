"""The configuration and the request that a routing decision is made from. Both are immutable."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from gateway.config.model import Config
from gateway.dialects.wire.edit import Peek
from gateway.dialects.wire.multipart import FormField
from gateway.errors import ConfigError
from gateway.providers import table
from gateway.providers.table import Provider
from gateway.proxy.headers import Headers
from gateway.proxy.routing.aliases import CandidateList, resolve
from gateway.proxy.routing.request_options import NONE, Options
from gateway.proxy.routing.routes import ParsedPath, named_model
from gateway.tracing.capture import CapturePolicy, policy_of

NO_BODY = Peek(model=None, stream=False)


class RuntimeConfig(Struct, frozen=True, kw_only=True):
    """A configuration resolved for routing.

    An exchange keeps the one that it began with, so another one can be published at any moment.

    Attributes:
        providers: The providers by name: the catalog's and the configured ones.
        aliases: The candidates of each alias.
        keys: The values of `$.api_keys` by name.

    """

    config: Config
    capture_policy: CapturePolicy = CapturePolicy()
    providers: Mapping[str, Provider]
    aliases: Mapping[str, CandidateList]
    keys: Mapping[str, str]

    def __repr__(self) -> str:
        """Leave out the keys."""
        return f"<RuntimeConfig providers: {len(self.providers)}, aliases: {len(self.aliases)}>"


def build_runtime(
    config: Config, environ: Mapping[str, str], ours: Collection[str] = (), demo: str = "http://127.0.0.1:9"
) -> RuntimeConfig:
    """Resolve a configuration. Raises ConfigError with the path of the setting that cannot work.

    `ours`: this gateway's own URLs, which no provider may have; `demo`: the demo provider's URL.
    """
    providers = table.build(config, environ, ours)
    providers["demo"] = table.demo(demo)
    keys = {}
    for name, value in config.api_keys.items():
        key = table.key_of(f"$.api_keys.{name}", value)
        if key is None:
            raise ConfigError(f"$.api_keys.{name} is empty; write the key, or ${{env:NAME}}")
        keys[name] = key
    return RuntimeConfig(
        config=config,
        capture_policy=policy_of(config),
        providers=providers,
        aliases=resolve(config.aliases, keys, providers),
        keys=keys,
    )


class RequestContext(Struct, frozen=True, kw_only=True):
    """An authorized client request, and the configuration that was active when it came.

    Attributes:
        path: The parsed path; its query is without our token.
        headers: The client's headers without our token.
        body: The body to send if no rule changes it, in its content coding.
        decoded: The body without its content coding, if it is JSON that may be read; else None.
        form: The model's field, if the body is a form with files.
        peeked: The model and `stream` of the body.
        options: The request's own options, from its headers and its body.
        token_valid: Whether the client sent our token.

    """

    method: str
    path: ParsedPath
    headers: Headers = ()
    body: bytes = b""
    decoded: bytes | None = None
    form: FormField | None = None
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
        """The requested model: an option's, or else the path's or the body's."""
        return self.options.model or self.named_model
