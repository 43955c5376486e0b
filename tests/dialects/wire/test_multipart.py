"""The field of a form that names the model: found in its bytes, and changed there alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.wire import multipart
from gateway.dialects.wire.multipart import find_field

KIND = "multipart/form-data; boundary=b1"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'
MODEL = b'Content-Disposition: form-data; name="model"'


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"b1") -> bytes:
    """Write a form of (head, content)."""
    written = [b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, content) for head, content in parts]
    return b"".join(written) + b"--%b--\r\n" % boundary


PLACES = {
    "first": form((MODEL, b"m"), (FILE, b"RIFF")),
    "last": form((FILE, b"RIFF"), (MODEL, b"m")),
    "after an empty file": form((FILE, b""), (MODEL, b"m")),
    "another type first": form((b"Content-Type: text/plain\r\n" + MODEL, b"m")),
    "other letters": form((b'content-disposition: Form-Data; NAME="model"', b"m")),
    "no quotes": form((b"Content-Disposition: form-data; name=model", b"m")),
    "a part without a head": b"--b1\r\n\r\nx\r\n" + form((MODEL, b"m")),
    "what looks like an end": form((FILE, b"\r\n--b12\r\n--b1x\r\n\r\n--\r\n--b"), (MODEL, b"m")),
    "spaces after the boundary": form((MODEL, b"m")).replace(b"--b1\r\n", b"--b1 \t\r\n", 1),
    "two": form((MODEL, b"m"), (MODEL, b"n")),
    "nothing behind it": form((MODEL, b"m")).removesuffix(b"\r\n"),
}


@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES.keys())
def test_the_model_is_found_wherever_it_stands(data: bytes) -> None:
    """Its value is changed, and no other byte."""
    field = find_field(data, KIND, "model")
    assert field is not None
    assert (field.value, data[field.start : field.end]) == ("m", b"m")
    changed = field.replaced(data, "größer")
    assert changed == data[: field.start] + "größer".encode() + data[field.end :]
    renamed = find_field(changed, KIND, "model")
    assert renamed is not None
    assert renamed.value == "größer"


NONE = {
    "no model": form((FILE, b"RIFF")),
    "a file of that name": form((b'Content-Disposition: form-data; name="model"; filename="m"', b"m")),
    "a file's name": form((b'Content-Disposition: form-data; name="file"; filename="; name=model"', b"m")),
    "a longer name": form((b'Content-Disposition: form-data; name="model_id"', b"m")),
    "in a file's content": form((FILE, b"--b2\r\n" + MODEL + b"\r\n\r\nm\r\n--b2--")),
    "not this boundary": form((MODEL, b"m"), boundary=b"b2"),
    "a preamble": b"x\r\n" + form((MODEL, b"m")),
    "no text": form((MODEL, b"\xff")),
    "too long": form((MODEL, b"m" * 2000)),
    "a head without an end": b"--b1\r\n" + b"X: y\r\n" * 5000,
    "cut off": form((MODEL, b"m"))[:-10],
    "JSON": b'{"model":"m"}',
    "empty": b"",
    "the end alone": b"--b1--\r\n",
    "too many parts": form(*[(FILE, b"")] * 300, (MODEL, b"m")),
}


@pytest.mark.parametrize("data", NONE.values(), ids=NONE.keys())
def test_other_bytes_have_none(data: bytes) -> None:
    """Nor any that a server might read in another way."""
    assert find_field(data, KIND, "model") is None


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/form-data; boundary="a b"', b"a b"),
        ("Multipart/Form-Data;charset=utf-8;Boundary=--x.y+z'", b"--x.y+z'"),
        ("multipart/form-data; boundary=x; charset=utf-8", b"x"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/mixed; boundary=x", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_the_boundary_is_in_the_content_type(kind: str, boundary: bytes | None) -> None:
    """With quotes or without; other types are no forms."""
    field = find_field(form((MODEL, b"m"), boundary=boundary or b"x"), kind, "model")
    assert (field is not None) == (boundary is not None)


def test_a_search_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands behind too many bytes is not looked for."""
    data = form((FILE, bytes(2000)), (MODEL, b"m"))
    assert find_field(data, KIND, "model") is not None
    monkeypatch.setattr(multipart, "SEARCHED_MAX", 1000)
    assert find_field(data, KIND, "model") is None
    assert find_field(form((MODEL, b"m"), (FILE, bytes(2000))), KIND, "model") is not None


@given(content=st.binary(max_size=60), at=st.integers(0, 200), junk=st.binary(max_size=8))
def test_any_bytes_are_searched(content: bytes, at: int, junk: bytes) -> None:
    """Never with an error, and a value that is found is at its place."""
    data = form((FILE, content), (MODEL, b"m"))
    data = data[:at] + junk + data[at:]
    field = find_field(data, KIND, "model")
    assert field is None or data[field.start : field.end].decode() == field.value
