"""RS256: JSON web tokens signed with an RSA key, as Google's service accounts show who they are. Pure.

Sources: RFC 7515 (the token), RFC 8017 (RSASSA-PKCS1-v1_5, section 8.2; the key, appendix A.1.2), RFC 5208 (PKCS #8).
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256

from msgspec import Struct

_PEM = re.compile(r"-----BEGIN (RSA |ENCRYPTED )?PRIVATE KEY-----(.*?)-----END \1?PRIVATE KEY-----", re.DOTALL)
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_ENDLESS = 0x80  # a length that DER does not have; above it are those that take some bytes of their own
_RSA = bytes.fromhex("06092a864886f70d010101")
# What stands before a SHA-256 digest in a signature. Source: RFC 8017, section 9.2, note 1.
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_SMALLEST = 1024


class Key(Struct, frozen=True, kw_only=True):
    """A private key: the modulus and the public exponent, the two primes, and each one's exponent and coefficient."""

    n: int
    e: int
    p: int
    q: int
    dp: int
    dq: int
    qinv: int

    def __repr__(self) -> str:
        """Say the size only: the rest is secret."""
        return f"<Key of {self.n.bit_length()} bits>"


def token(claims: Mapping[str, str | int], key: Key, key_id: str | None = None) -> str:
    """Return a signed token. Raises ValueError for a key whose numbers do not belong together."""
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    text = b".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return b".".join((text, _encoded(signature(text, key)))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signature(message: bytes, key: Key) -> bytes:
    """Sign a message. Raises ValueError for a key whose numbers do not belong together.

    The arithmetic takes longer for some numbers than for others, which tells nobody anything here: a key signs about
    once an hour, in words that nobody else chooses.
    """
    size = (key.n.bit_length() + 7) // 8
    digest = _DIGEST_INFO + sha256(message).digest()
    padded = int.from_bytes(b"\x00\x01" + b"\xff" * (size - 3 - len(digest)) + b"\x00" + digest)
    of_p, of_q = pow(padded, key.dp, key.p), pow(padded, key.dq, key.q)
    signed = of_q + key.q * (key.qinv * (of_p - of_q) % key.p)
    # A signature that is right by one prime only would tell the primes to whoever sees it.
    if not 0 <= signed < key.n or pow(signed, key.e, key.n) != padded:
        raise ValueError("the numbers of the RSA key do not belong together")
    return signed.to_bytes(size)


def read_key(pem: str) -> Key:
    """Read a private key, PKCS #8 or PKCS #1 in PEM. Raises ValueError, whose words hold nothing of it."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("there is no private key in PEM")
    if found[1] == "ENCRYPTED ":
        raise ValueError("the private key is encrypted")
    try:
        der = base64.b64decode("".join(found[2].split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the private key is no base64") from None
    return _key(der if found[1] else _unwrapped(der))


def _unwrapped(der: bytes) -> bytes:
    """Take the key out of its PKCS #8 wrapping."""
    parts = _parts(_only(der, _SEQUENCE))
    _expect(next(parts, None), _INTEGER)
    if not _expect(next(parts, None), _SEQUENCE).startswith(_RSA):
        raise ValueError("the private key is no RSA key")
    return _expect(next(parts, None), _OCTETS)


def _key(der: bytes) -> Key:
    numbers = [int.from_bytes(_expect(part, _INTEGER), signed=True) for part in _parts(_only(der, _SEQUENCE))]
    if len(numbers) != 9 or numbers[0] != 0:
        raise ValueError("the private key is no RSA key of two primes")
    _, n, e, _, p, q, dp, dq, qinv = numbers
    if min(n, e, p, q, dp, dq, qinv) <= 0 or n.bit_length() < _SMALLEST:
        raise ValueError(f"the RSA key's numbers are too small; {_SMALLEST} bits are the least")
    return Key(n=n, e=e, p=p, q=q, dp=dp, dq=dq, qinv=qinv)


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each of DER's values that stand one after another."""
    while der:
        if len(der) < 2 or der[1] == _ENDLESS:
            raise ValueError("the private key is cut off")
        tag, size, start = der[0], der[1], 2
        if size > _ENDLESS:
            start += size - _ENDLESS
            size = int.from_bytes(der[2:start])
        if start + size > len(der):
            raise ValueError("the private key is cut off")
        yield tag, der[start : start + size]
        der = der[start + size :]


def _only(der: bytes, tag: int) -> bytes:
    return _expect(next(_parts(der), None), tag)


def _expect(part: tuple[int, bytes] | None, tag: int) -> bytes:
    if part is None or part[0] != tag:
        raise ValueError("the private key is built of other parts than an RSA key")
    return part[1]
