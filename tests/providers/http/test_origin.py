"""Origins of base URLs, and paths that would leave their prefix."""

import pytest

from gateway.providers.http.origin import Origin, authority, climbs


@pytest.mark.parametrize(
    ("url", "shown", "host"),
    [
        ("http://a", "a:80", b"a"),
        ("https://a/v1/", "a:443", b"a"),
        ("https://a:8443", "a:8443", b"a:8443"),
        ("http://[::1]:9", "[::1]:9", b"[::1]:9"),
        ("https://[::1]", "[::1]:443", b"[::1]"),
    ],
)
def test_the_name_of_an_origin(url: str, shown: str, host: bytes) -> None:
    """People see the port always, the Host header has it unless it is the scheme's default."""
    origin, _ = Origin.from_url(url)
    assert (str(origin), authority(origin)) == (shown, host)


CLIMBING = [
    "/v1/../admin",
    "/..",
    "..",
    "/v1/..",
    "/v1/%2e%2e/admin",
    "/v1/.%2E/admin",
    "/v1/%2e./admin",
    "/v1/..%2fadmin",
    "/v1/..%2Fadmin",
    "/v1%2f..%2fadmin",
    "/v1/..\\admin",
    "/v1\\..\\admin",
    "/v1/..%5cadmin",
    "/v1/%252e%252e/admin",
    "/v1/..%252fadmin",
    "/v1/%25252e%25252e/admin",
    "/v1/..;/admin",
    "/v1/..;a=b/admin",
    "/v1/..%3b/admin",
    "/v1/..%20/admin",
    "/openai/v1/chat/completions/../../../admin",
    "//..//x",
]
STAYING = [
    "/",
    "",
    "/v1/chat/completions",
    "/v1/a..b",
    "/v1/...",
    "/v1/..a",
    "/v1/a..",
    "/v1/./models",
    "/v1beta/models/gemini-2.5-flash:generateContent",
    "/v1beta/models/..:generateContent",
    "/v1/models/org%2Fname",
    "/v1/files/50%25..",
    "/v1/x%zz",
]


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_with_a_parent_segment_climbs(path: str) -> None:
    """Any spelling of `..` between separators is found; a base URL that has one is refused."""
    assert climbs(path)
    if path.startswith("/"):
        with pytest.raises(ValueError, match=r"a base URL's path has no segment \.\.: http://h"):
            Origin.from_url(f"http://h{path}")


@pytest.mark.parametrize(
    ("path", "floor", "above"),
    [
        ("/v1/files/a%2Fb/../c", 2, False), ("/v1/files/..", 2, True), ("/v1/files/..", 1, False),
        ("/v1/a/b/../../../x/y", 2, True), ("/v1/a%2f..%2f../x", 1, True), ("//v1/./a/..", 1, False), ("/..", 0, True),
    ],
)  # fmt: skip
def test_a_parent_below_a_prefix_stays_there(path: str, floor: int, above: bool) -> None:
    """Empty segments and single dots lead no deeper; a prefix is left if it is at any point, however it goes on."""
    assert climbs(path, floor) == above


@pytest.mark.parametrize("path", STAYING)
def test_a_path_without_a_parent_segment_stays(path: str) -> None:
    """Dots within a name, a single one, and escapes of other characters are no parent."""
    assert not climbs(path)
