"""The built-in providers, and how a provider of the configuration is made from them."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from gateway.config import Config
from gateway.config import Provider as Settings
from gateway.errors import ConfigError
from gateway.wire import Origin

OPENAI = ("openai-chat", "openai-responses")
ANTHROPIC = ("anthropic-messages",)

# Headers that carry a client's key, by which we know that it brought one.
KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key"})


class Provider(Struct, frozen=True, kw_only=True):
    """Where bytes go and how they are signed.

    Attributes:
        base_path: What every target begins with; no trailing slash.
        genai_name: The conventions' word for it (`gen_ai.provider.name`).
        key: The configured key; it replaces the client's.
        environment_key: The environment's key, used where the client brought none.
        key_header: How a key of ours is sent.
        takes_client_keys: Whether a key the client brought is passed on.

    """

    name: str
    origin: Origin
    base_path: str
    dialects: tuple[str, ...]
    genai_name: str
    prefixes: tuple[str, ...] = ()
    key: str | None = None
    environment_key: str | None = None
    key_header: Literal["authorization", "x-api-key"] = "authorization"
    takes_client_keys: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    stream_usage: bool = False

    def __repr__(self) -> str:
        """Name it without its keys."""
        return f"<Provider {self.name} {self.url}{self.base_path}>"

    @property
    def url(self) -> str:
        """Scheme, host and port, for people."""
        origin = self.origin
        usual = origin.port == (443 if origin.scheme == "https" else 80)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        return f"{origin.scheme}://{host}" if usual else f"{origin.scheme}://{origin}"


BUILT_IN = {
    "openai": Provider(
        name="openai",
        origin=Origin("https", "api.openai.com", 443),
        base_path="/v1",
        dialects=OPENAI,
        genai_name="openai",
        prefixes=("openai/",),
        stream_usage=True,
    ),
    "anthropic": Provider(
        name="anthropic",
        origin=Origin("https", "api.anthropic.com", 443),
        base_path="/v1",
        dialects=ANTHROPIC,
        genai_name="anthropic",
        prefixes=("anthropic/",),
        key_header="x-api-key",
    ),
}
ENVIRONMENT_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def demo(base_url: str) -> Provider:
    """Return the provider inside the gateway, listening at `base_url`; it is shown no key."""
    origin, base_path = Origin.from_url(base_url)
    return Provider(
        name="demo",
        origin=origin,
        base_path=base_path,
        dialects=(*OPENAI, *ANTHROPIC),
        genai_name="demo",
        prefixes=("demo/",),
        takes_client_keys=False,
        stream_usage=True,
    )


def build(config: Config, environ: Mapping[str, str]) -> dict[str, Provider]:
    """Return all providers by name: the built-in ones as configured, and the file's own. Raises ConfigError."""
    providers = {
        name: _merge(name, BUILT_IN[name], Settings(), environ.get(ENVIRONMENT_KEYS[name])) for name in BUILT_IN
    }
    for name, settings in config.providers.items():
        if name == "demo":
            raise ConfigError("$.providers.demo: the name is taken by the demo provider; choose another one")
        environment_key = environ.get(ENVIRONMENT_KEYS.get(name, ""))
        providers[name] = _merge(name, BUILT_IN.get(name), settings, environment_key)
    return providers


def _merge(name: str, built_in: Provider | None, settings: Settings, environment_key: str | None) -> Provider:
    where = f"$.providers.{name}"
    if settings.base_url is not None:
        try:
            origin, base_path = Origin.from_url(settings.base_url)
        except ValueError as error:
            raise ConfigError(f"{where}.base_url: {error}") from None
    elif built_in is not None:
        origin, base_path = built_in.origin, built_in.base_path
    else:
        raise ConfigError(f"{where}: base_url is missing; say where its requests go: http://127.0.0.1:9000/v1")
    spoken = [settings.dialect] if isinstance(settings.dialect, str) else settings.dialect
    dialects = tuple(spoken) if spoken else (built_in.dialects if built_in else OPENAI[:1])
    stream_usage = settings.stream_usage
    if stream_usage is None:
        stream_usage = built_in is not None and built_in.stream_usage
    return Provider(
        name=name,
        origin=origin,
        base_path=base_path,
        dialects=dialects,
        genai_name=built_in.genai_name if built_in else name,
        prefixes=(settings.prefix,) if settings.prefix else (built_in.prefixes if built_in else (f"{name}/",)),
        key=settings.api_key or None,
        environment_key=environment_key or None,
        key_header="x-api-key" if set(dialects) <= set(ANTHROPIC) else "authorization",
        headers=tuple(settings.headers.items()),
        timeout=settings.timeout,
        stream_usage=stream_usage,
    )
