import base64
import json
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from google.auth import jwt
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.providers.auth.rs256 import read_key, signature, token
from tests.support.google import key, pem

SIZES = (1024, 1031, 1536, 2047, 2048, 3072)


def written(private: object, encryption: object = NoEncryption(), form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """Write any private key in PEM."""
    return private.private_bytes(Encoding.PEM, form, encryption).decode()  # type: ignore[attr-defined]


@settings(deadline=None)
@given(message=st.binary(max_size=3000), size=st.sampled_from(SIZES))
def test_signatures_are_those_of_the_cryptography_package(message: bytes, size: int) -> None:
    """Any message is signed by a key of any size to the same bytes as there, and they verify."""
    made = signature(message, read_key(pem(size)))
    assert made == key(size).sign(message, PKCS1v15(), SHA256())
    key(size).public_key().verify(made, message, PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    "text",
    [
        pem(),
        pem(form=PrivateFormat.TraditionalOpenSSL),
        pem().replace("\n", "\r\n"),
        "Bag Attributes\n  x: y\n" + pem() + "\n\n",
        pem().strip(),
    ],
)
def test_keys_are_read_as_they_are_written(text: str) -> None:
    """PKCS #8 and PKCS #1 in PEM give the key's numbers."""
    found, real = read_key(text), key().private_numbers()
    assert (found.n, found.e) == (real.public_numbers.n, real.public_numbers.e)
    assert (found.p, found.q, found.dp, found.dq, found.qinv) == (real.p, real.q, real.dmp1, real.dmq1, real.iqmp)
    assert repr(found) == "<Key of 2048 bits>"


@pytest.mark.parametrize("key_id", ["k1", None, ""])
def test_tokens_are_taken_by_googles_own_reader(key_id: str | None) -> None:
    """A token's claims, signature and key id are as google-auth reads them."""
    claims: dict[str, str | int] = {"iss": "ü@p", "iat": 2_000_000_000, "exp": 2_000_003_600}
    made = token(claims, read_key(pem()), key_id)
    public = key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, payload, signed, mark = jwt._unverified_decode(made)
    assert payload == claims
    assert header == {"alg": "RS256", "typ": "JWT"} | ({"kid": "k1"} if key_id else {})
    key().public_key().verify(mark, signed, PKCS1v15(), SHA256())
    assert jwt.crypt.verify_signature(signed, mark, public)


PEM = "-----BEGIN {0}PRIVATE KEY-----\n{1}\n-----END {0}PRIVATE KEY-----\n"


def packed(*numbers: int) -> str:
    """Write numbers as a PKCS #1 key."""
    values = b""
    for number in numbers:
        data = number.to_bytes(number.bit_length() // 8 + 1, signed=True)
        values += b"\x02\x82" + len(data).to_bytes(2) + data
    return PEM.format("RSA ", base64.b64encode(b"\x30\x82" + len(values).to_bytes(2) + values).decode())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no private key in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "there is no private key in PEM"),
        (written(key(), BestAvailableEncryption(b"x")), "the private key is encrypted"),
        (written(ec.generate_private_key(ec.SECP256R1())), "the private key is no RSA key"),
        (written(ed25519.Ed25519PrivateKey.generate()), "the private key is no RSA key"),
        (PEM.format("", "AAAA?"), "the private key is no base64"),
        (PEM.format("", "AAA"), "the private key is no base64"),
        (PEM.format("", ""), "built of other parts"),
        (PEM.format("", "BAA="), "built of other parts"),
        (PEM.format("", "MAA="), "built of other parts"),
        (PEM.format("", "MA=="), "is cut off"),
        (PEM.format("", "MIAAAA=="), "is cut off"),
        (PEM.format("", "MIU="), "is cut off"),
        (PEM.format("", base64.b64encode(b"\x30\x80" + bytes(128)).decode()), "is cut off"),
        (PEM.format("RSA ", "MAA="), "no RSA key of two primes"),
        (packed(1, *[5] * 8), "no RSA key of two primes"),
        (packed(0, *[5] * 9), "no RSA key of two primes"),
        (packed(0, *[1 << 1000] * 8), "1024 bits are the least"),
        (packed(0, 1 << 2000, -3, *[5] * 6), "too small"),
        (packed(0, 1 << 2000, 3, 5, 0, *[5] * 4), "too small"),
    ],
)
def test_what_is_no_key_is_named(text: str, said: str) -> None:
    """What cannot sign is told apart, in words that hold nothing of it."""
    with pytest.raises(ValueError, match=said):
        read_key(text)


@pytest.mark.parametrize("name", ["n", "e", "p", "q", "dp", "dq", "qinv"])
def test_no_signature_is_made_with_a_broken_key(name: str) -> None:
    """A key of which one number is wrong signs nothing: what it would make could tell its primes."""
    good = read_key(pem())
    broken = structs.replace(good, **{name: getattr(good, name) + 2})
    with pytest.raises(ValueError, match="do not belong together"):
        signature(b"", broken)


@settings(deadline=None)
@given(st.data())
def test_damaged_keys_never_sign_wrong(data: st.DataObject) -> None:
    """Whatever happened to a key's bytes, it is refused, or what it signs is right."""
    der = bytearray(base64.b64decode("".join(pem(1024).splitlines()[1:-1])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(der) - 1))
        match data.draw(st.sampled_from(("set", "cut", "add", "drop"))):
            case "set":
                der[at] = data.draw(st.integers(0, 255))
            case "cut":
                del der[at + 1 :]
            case "add":
                der[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            case _:
                del der[at]
                der = der or bytearray(1)
    right = key(1024).sign(b"message", PKCS1v15(), SHA256())
    with suppress(ValueError):
        assert signature(b"message", read_key(PEM.format("", base64.b64encode(der).decode()))) == right


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda data: PEM.format("", base64.b64encode(data).decode())))
def test_anything_else_is_refused(text: str) -> None:
    """No text makes the reader fail in another way."""
    with pytest.raises(ValueError, match="key"):
        read_key(text)


def test_a_tokens_parts_are_plain_json() -> None:
    """The parts are as short as JSON can be, and no padding follows them."""
    header, claims, mark = token({"a": "b"}, read_key(pem(1024))).split(".")
    assert "=" not in header + claims + mark
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"RS256","typ":"JWT"}'
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {"a": "b"}
