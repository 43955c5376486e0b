"""A drop-in LLM gateway whose every upstream attempt is an OpenTelemetry span."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.server.embed import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: `gateway.client` is to be light."""
    if name == "create_app":
        from gateway.server.embed import create_app  # noqa: PLC0415

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
