"""Entry points of the server: tokens, settings that restart the recorder, and starts that fail."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.server.data_dir import lock_data_dir
from gateway.server.live_config.source import Source
from gateway.server.main import Options, Tokens, _recorder_settings, serve


def source(folder: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: Any) -> Source:
    """Return the source of a configuration: one file, with its data directory beside it."""
    (folder / "gateway.toml").write_text(toml)
    return Source(data=folder / "data", environ=environ or {}, cwd=folder, flags={"port": 0, **flags})


def token(folder: Path, host: str, toml: str = "", environ: dict[str, str] | None = None) -> tuple[str | None, bool]:
    """Return the token of a gateway that starts, and whether it is required."""
    return Tokens().resolve(source(folder, toml, environ, host=host).load())


LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1", "localhost")
BEYOND = ("0.0.0.0", "::", "192.0.2.1", "example.com", "")


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_no_token_is_required(tmp_path, host):
    """On loopback a token is required only if the configuration requires it."""
    assert token(tmp_path, host) == (None, False)
    made, required = token(tmp_path, host, "[auth]\nrequired = true")
    assert (len(made or ""), required) == (32, True)
    said = {"GATEWAY_TOKEN": "from-the-environment\n"}
    assert token(tmp_path, host, environ=said) == ("from-the-environment", False)


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_loopback_a_token_is_required(tmp_path, host):
    """The token is the file's, else the environment's, else generated, unless `required` is false."""
    (first, needed), (second, _) = (token(tmp_path, host) for _ in range(2))
    assert (len(first or ""), needed) == (32, True)
    assert first != second
    said = {"GATEWAY_TOKEN": "from-the-environment"}
    assert token(tmp_path, host, environ=said) == ("from-the-environment", True)
    assert token(tmp_path, host, '[auth]\ntoken = "from-the-file"', said) == ("from-the-file", True)
    assert token(tmp_path, host, "[auth]\nrequired = false", said) == ("from-the-environment", False)


def test_a_token_is_generated_at_the_start_only(tmp_path):
    """A reload generates no token, which could not be printed any more; the one of the start stays."""
    open_, closed = source(tmp_path).load(), source(tmp_path, "[auth]\nrequired = true").load()
    tokens = Tokens()
    assert tokens.resolve(open_) == (None, False)
    with pytest.raises(ConfigError, match=r"^\$\.auth\.required: .*GATEWAY_TOKEN"):
        tokens.resolve(closed)
    tokens = Tokens()
    first, _ = tokens.resolve(closed)
    assert tokens.resolve(open_) == (None, False)
    assert tokens.resolve(closed) == (first, True)
    assert (first or "nothing") not in repr(tokens)


THE_RECORDERS = (
    "[store]\nmax_age_days = 3",
    "[sql]\nmax_rows = 3",
    "[otlp]\nvocabulary = 'openinference'",
    "[capture]\notlp = 'full'",
    "[capture]\notlp_bytes = 3",
)
THE_WORKERS = (
    "[capture]\nstore = 'off'",
    "[api_keys]\na = 'k'",
    "[limits]\ndrain_seconds = 3.0",
    "[retry]\nmax_tries = 1",
)


@pytest.mark.parametrize("toml", [*THE_RECORDERS, *THE_WORKERS])
def test_settings_of_the_recorder_restart_it(tmp_path, toml):
    """A change of the recorder's settings or its exporter restarts it; one of the workers' settings does not."""
    before, after = _recorder_settings(source(tmp_path).load()), _recorder_settings(source(tmp_path, toml).load())
    assert (before != after) == (toml in THE_RECORDERS)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert _recorder_settings(source(tmp_path, environ=environ).load()) != before
    assert _recorder_settings(source(tmp_path, environ={"A_KEY": "k"}).load()) == before


@pytest.fixture(name="taken")
def _taken() -> Iterator[int]:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "a provider without a place": ({"toml": "[providers.a]\nprefix = 'a/'"}, r"\$\.providers\.a: base_url"),
    "a provider that is ours": ({"toml": "[providers.demo]\nbase_url = 'http://x'"}, r"\$\.providers\.demo"),
    "a host that is not ours": ({"host": "no.such.host.invalid"}, "--host"),
}


@pytest.mark.parametrize(("said", "error"), CANNOT.values(), ids=CANNOT.keys())
def test_a_wrong_configuration_starts_nothing(tmp_path, said, error):
    """A configuration error is raised in the parent, and the lock is released."""
    with pytest.raises(ConfigError, match=error):
        serve(Options(source=source(tmp_path, **said), workers=1))
    os.close(lock_data_dir(tmp_path / "data"))


def test_a_port_in_use_leaves_the_directory_free(tmp_path, taken):
    """A start that fails for its port releases the data directory."""
    with pytest.raises(ConfigError, match=f"port {taken}"):
        serve(Options(source=source(tmp_path, port=taken), workers=1))
    os.close(lock_data_dir(tmp_path / "data"))
