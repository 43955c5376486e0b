"""Ways out: the proxy of an environment or a setting, its exceptions, and its credentials, which no text has."""

import pytest

from gateway.errors import ConfigError
from gateway.providers.http.origin import Origin
from gateway.providers.http.tls import TlsFiles
from gateway.providers.http.ways_out import DIRECTLY, Proxy, by_setting, exemptions, from_environment

FILES = TlsFiles()
FAR, PLAIN = Origin("https", "llm.corp.example", 443), Origin("http", "llm.corp.example", 80)


def address(environ: dict[str, str], origin: Origin = FAR) -> str | None:
    """Return the proxy to an origin, with its setting."""
    proxy = from_environment(environ, FILES).to(origin).proxy
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("url", "shown", "authorization"),
    [
        ("http://p", "p:80", None),
        ("http://p:3128/", "p:3128", None),
        ("p:3128", "p:3128", None),
        ("  p:3128 ", "p:3128", None),
        ("https://p", "p:443", None),
        ("http://[::1]:3128", "[::1]:3128", None),
        ("http://b\u00fccher.example:1", "xn--bcher-kva.example:1", None),
        ("http://u:pw@p:1", "p:1", b"Basic dTpwdw=="),
        ("u:pw@p:1", "p:1", b"Basic dTpwdw=="),
        ("http://u@p:1", "p:1", b"Basic dTo="),
        ("http://u%40x:a%2Fb%3Ac@p:1", "p:1", b"Basic dUB4OmEvYjpj"),
    ],
)
def test_a_proxy_of_a_url(url: str, shown: str, authorization: bytes | None) -> None:
    """A URL, or host and port, with credentials that are decoded; no text of it has them, except the URL itself."""
    proxy = Proxy.from_url(url, "HTTPS_PROXY")
    assert proxy is not None
    assert (proxy.address, proxy.authorization) == (shown, authorization)
    assert str(proxy) == f"{shown} (setting: HTTPS_PROXY)"
    assert repr(proxy) == f"<Proxy {shown}>"
    assert Proxy.from_url(proxy.url, "HTTPS_PROXY") == proxy


def test_the_secrets_of_a_proxy() -> None:
    """The password, alone, with the user, and as it is sent."""
    proxy = Proxy.from_url("http://user:planted@p:1", "x")
    assert proxy is not None
    assert proxy.secrets == ("dXNlcjpwbGFudGVk", "user:planted", "planted")
    assert from_environment({"HTTPS_PROXY": "http://user:planted@p:1"}, FILES).secrets == proxy.secrets
    assert DIRECTLY.secrets == ()


@pytest.mark.parametrize(
    "url",
    [
        "socks5://u:planted@p:1",
        "ftp://p",
        "http://",
        "http://u:planted@",
        "http://p:x",
        "http://p:99999",
        "http://u:plan#ted@p:1",
        "http://u:plan/ted@p:1",
        "http://p/path",
        "http://u%0d%0a:planted@p",
        "http://u%3Ax:planted@p",
        "http://[::1",
    ],
)
def test_a_proxy_that_cannot_be_used(url: str) -> None:
    """The error names the setting and the form of a proxy, and repeats no part of the URL."""
    with pytest.raises(ConfigError, match=r"^\$\.providers\.x\.proxy: .*") as refused:
        Proxy.from_url(url, "$.providers.x.proxy")
    assert "plan" not in str(refused.value)
    assert "ted" not in str(refused.value).replace("-encode", "")


@pytest.mark.parametrize(
    ("environ", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://a:1"}, "a:1 (setting: HTTPS_PROXY)", None),
        ({"https_proxy": "http://a:1"}, "a:1 (setting: https_proxy)", None),
        ({"HTTP_PROXY": "http://a:1"}, None, "a:1 (setting: HTTP_PROXY)"),
        ({"http_proxy": "http://a:1"}, None, "a:1 (setting: http_proxy)"),
        ({"ALL_PROXY": "a:1"}, "a:1 (setting: ALL_PROXY)", "a:1 (setting: ALL_PROXY)"),
        ({"all_proxy": "a:1", "HTTP_PROXY": "b:2"}, "a:1 (setting: all_proxy)", "b:2 (setting: HTTP_PROXY)"),
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:2"}, "a:1 (setting: https_proxy)", None),
        ({"https_proxy": "", "HTTPS_PROXY": "b:2"}, "b:2 (setting: HTTPS_PROXY)", None),
        ({"HTTPS_PROXY": "a:1", "NO_PROXY": "corp.example"}, None, None),
        ({"HTTPS_PROXY": "a:1", "no_proxy": "other", "NO_PROXY": "corp.example"}, "a:1 (setting: HTTPS_PROXY)", None),
    ],
)
def test_the_proxy_of_an_environment(environ: dict[str, str], https: str | None, http: str | None) -> None:
    """Lower case wins, the scheme's variable before ALL_PROXY, and an empty one is as good as none."""
    assert (address(environ, FAR), address(environ, PLAIN)) == (https, http)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("*", "a.example", 443, True),
        ("x, *", "10.0.0.1", 443, True),
        ("corp.example", "corp.example", 443, True),
        ("corp.example", "llm.corp.example", 443, True),
        (".corp.example", "llm.corp.example", 443, True),
        (".corp.example", "corp.example", 443, True),
        ("*.corp.example", "llm.corp.example", 443, True),
        ("CORP.example", "llm.Corp.Example", 443, True),
        ("corp.example.", "llm.corp.example.", 443, True),
        ("corp.example", "evilcorp.example", 443, False),
        ("corp.example", "corp.example.org", 443, False),
        ("corp.example:8443", "corp.example", 8443, True),
        ("corp.example:8443", "llm.corp.example", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "corp.example", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:80", "10.1.2.3", 443, False),
        ("10.1.2.3:80", "10.1.2.3", 80, True),
        ("fd00::/8", "fd12::1", 443, True),
        ("[::1]", "::1", 443, True),
        ("[::1]:9", "::1", 9, True),
        ("[::1]:9", "::1", 10, False),
        ("::1", "::1", 10, True),
        ("a b,c\td", "d", 443, True),
        ("b\u00fccher.example", "xn--bcher-kva.example", 443, True),
        ("", "localhost", 443, False),
        ("localhost,127.0.0.1", "localhost", 443, True),
        ("", "127.0.0.1", 443, False),
        ("", "169.254.169.254", 443, True),
        ("", "fe80::1", 443, True),
        (",,", "a.example", 443, False),
    ],
)
def test_exceptions(no_proxy: str, host: str, port: int, direct: bool) -> None:
    """Hosts with all below them, at any port or one, addresses and networks; link-local addresses need no entry."""
    ways = from_environment({"HTTPS_PROXY": "p:1", "NO_PROXY": no_proxy}, FILES)
    assert (ways.to(Origin("https", host, port)).proxy is None) == direct


def test_everything_is_an_exception() -> None:
    """A star among the entries is for all hosts, and a text without entries for none."""
    assert (exemptions("a, *"), exemptions(" , ")) == (None, ())


def test_a_provider_has_a_way_of_its_own() -> None:
    """A provider's proxy is for all its hosts, whatever NO_PROXY has; an empty one is none; without one all stays."""
    usual = from_environment({"HTTPS_PROXY": "p:1", "NO_PROXY": "corp.example"}, FILES)
    files = TlsFiles(ca_file="ca.pem")
    own = by_setting("http://own:2", "$.providers.x.proxy", usual, files)
    assert str(own.to(FAR).proxy) == "own:2 (setting: $.providers.x.proxy)"
    assert own.to(PLAIN).tls == files
    assert by_setting("", "$.providers.x.proxy", usual, files).to(Origin("https", "a", 443)).proxy is None
    assert by_setting(None, "$.providers.x.proxy", usual, FILES) == usual
