"""Settings of the client: URLs, the environment, and metadata."""

import re
import subprocess
import sys

import pytest

from gateway.client import configure
from gateway.client.settings import Address, Settings, address_of, changed, from_environ, known, merged


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:4000", "must be like http://127.0.0.1:4000"),
        ("ftp://host", "must be like http://127.0.0.1:4000"),
        ("http://", "must be like http://127.0.0.1:4000"),
        ("http://host:port", "is no URL"),
        ("http://host/a b", "ASCII without spaces"),
        ("http://hôst", "ASCII without spaces"),
        ("http://me:hunter2@host", "no user and no password"),
        ("http://host/?token=hunter2", "no query"),
    ],
)
def test_a_wrong_url_is_refused_by_name(url, why):
    """And what may be secret in it is not shown."""
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        configure(url=url)
    assert "hunter2" not in str(caught.value)


def test_the_environment_says_where_the_gateway_is():
    """GATEWAY_URL and GATEWAY_TOKEN; else it is on this machine. Nothing shows the token."""
    assert from_environ({}) == Settings(url="http://127.0.0.1:4000", token=None)
    said = from_environ({"GATEWAY_URL": "https://gw.example/llm/", "GATEWAY_TOKEN": "s3cret"})
    assert (said.address.url, said.token) == ("https://gw.example:443/llm", "s3cret")
    assert "s3cret" not in repr(said)
    assert from_environ({"GATEWAY_URL": " ", "GATEWAY_TOKEN": "s3cret\n"}) == Settings(token="s3cret")
    with pytest.raises(ValueError, match="token must be ASCII without spaces") as caught:
        from_environ({"GATEWAY_TOKEN": "s3cret\nX: 1"})
    assert "s3cret" not in str(caught.value)
    assert from_environ({"GATEWAY_URL": "http://[::1]:81"}).address.url == "http://[::1]:81"


def test_a_wrong_environment_is_told_and_costs_nothing_but_the_events():
    """The application runs on; what is configured later counts."""
    script = (
        "from gateway.client import run, dropped, flush, configure\nwith run('r'): pass\nprint(flush(), dropped())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"GATEWAY_URL": "gateway:80", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True 0\n"
    assert done.stderr.count("GATEWAY_URL, GATEWAY_TOKEN: the gateway's url must be like http://") == 1


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://host", Address("http", "host", 80, "")),
        ("https://host/", Address("https", "host", 443, "")),
        ("http://host:81/a/b/", Address("http", "host", 81, "/a/b")),
    ],
)
def test_the_parts_of_a_url(url: str, address: Address):
    """A URL has the port of its scheme if it names none, and a path without a trailing slash."""
    assert address_of(url) == address


def test_settings_that_are_not_given_stay():
    """A change replaces the given values only; metadata is merged."""
    old = Settings(token="t", timeout=3.0, metadata={"user": "a", "session": "s"})
    new = changed(old, url="http://host", metadata={"user": "b"})
    assert (new.url, new.token, new.timeout) == ("http://host", "t", 3.0)
    assert new.metadata == {"user": "b", "session": "s"}


def test_metadata_is_merged_and_checked():
    """Values of the inner metadata win unless they are None; an unknown name is an error that lists the names."""
    assert merged({"user": "a", "session": "s"}, {"user": None, "session": "t"}) == {"user": "a", "session": "t"}
    with pytest.raises(TypeError, match="'tenant'; metadata is application, environment"):
        known({"tenant": "x"})
