"""Canaries are found however they are written, and named; so are those in files, wherever a gateway may write."""

import base64
import json
import random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.doctor.canaries import Cage
from gateway.cli.doctor.driver import Got, parsed
from gateway.cli.doctor.judging import Judge
from gateway.cli.doctor.paths import Expected
from gateway.cli.doctor.paths import Path as Tried
from gateway.cli.doctor.redactions import planted
from gateway.cli.doctor.scanning import Hit, Scanner
from gateway.cli.doctor.settings import Setting
from gateway.cli.doctor.sinks import Collected, Piece, read_files
from gateway.config.model import Capture, Redacted
from gateway.errors import ConfigError

FORMS = {
    "plain": str.encode,
    "percent-encoded": lambda text: quote(text, safe="").encode(),
    "percent-encoded, in lower case": lambda text: (
        quote(text, safe="").lower().encode() if text.islower() else quote(text, safe="").replace("%2F", "%2f").encode()
    ),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe="").encode(),
    "JSON-escaped": lambda text: text.replace("/", "\\/").encode(),
    "JSON-escaped, in JSON": lambda text: json.dumps(text.replace("/", "\\/")).encode(),
    "JSON-escaped as \\u": lambda text: text.replace("/", "\\u002f").encode(),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "hex": lambda text: text.encode().hex().encode(),
    "hex, in capitals": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
}
SECRET, CONTENT = ("secret",), ("content",)


def caged(seed: int = 1) -> tuple[Cage, str, str]:
    """Return a cage with some canaries, of which the last are a secret and a content."""
    cage = Cage(random.Random(seed))
    for number in range(20):
        cage.secret(f"key {number}")
    return cage, cage.secret("a key", "p001"), cage.content("a prompt", "p001")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", range(4))
def test_a_canary_is_found_and_named_in_every_form(form, before):
    """Whatever stands around it: its number is read in the same form."""
    cage, key, _ = caged()
    data = b"\x00\xff" * before + FORMS[form]("x" * before + key + "yz") + b"\xfe"
    (hit,) = Scanner(cage).find(data, SECRET)
    assert (hit.canary and hit.canary.kind, hit.form) == ("a key", form)


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 99))
def test_base64_is_found_at_every_offset(before, after, seed):
    """Of any bytes with a canary among them, in both alphabets."""
    cage, key, _ = caged(seed)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        hits = list(Scanner(cage).find(encode(before + key.encode() + after), SECRET))
        assert {hit.canary.kind for hit in hits if hit.canary} == {"a key"}


@given(st.binary(max_size=400))
def test_other_bytes_have_none(data):
    """What has no stem in it is no canary."""
    assert list(Scanner(caged()[0]).find(data, ("secret", "content", "redacted"))) == []


def test_a_canary_that_is_cut_off_is_still_one():
    """Where its number is gone nobody can say which; that there is one is said."""
    cage, key, _ = caged()
    stem = key.index("/") + 9
    assert list(Scanner(cage).find(key[:stem].encode(), SECRET)) == [Hit(canary=None, of="secret", form="plain", at=3)]
    assert list(Scanner(cage).find(key[: stem - 1].encode(), SECRET)) == []


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_found_in_either_byte_order(coding):
    """Once, and named."""
    cage, key, _ = caged()
    (hit,) = Scanner(cage).find(f"it is {key}.".encode(coding), SECRET)
    assert (hit.canary and hit.canary.kind) == "a key"


def test_classes_are_told_apart():
    """Content is no secret, and the other way round."""
    cage, key, said = caged()
    scanner, data = Scanner(cage), f"{key} {said}".encode()
    assert [hit.canary.kind for hit in scanner.find(data, SECRET) if hit.canary] == ["a key"]
    assert [hit.canary.kind for hit in scanner.find(data, CONTENT) if hit.canary] == ["a prompt"]


def test_a_canary_shows_little_of_itself():
    """Neither repr nor what is printed has the value."""
    cage, key, _ = caged()
    canary = cage.all[-2]
    assert key not in repr(canary) + canary.shown + repr(cage)
    assert len(canary.shown) < 12


# -- what is found, in files


def setting(store: str = "full") -> Setting:
    """Return what the judge needs to know."""
    return Setting(
        toml="", environ={}, token="", required=False, driven=(), aliases=(), capture=Capture(store=store),
        exports=False, measures=False, override_url=False, api_keys=False,
    )  # fmt: skip


def tried(path: str = "p001", *, exchange: bool = False) -> Tried:
    """Return a path whose client got 200, and which asked nobody."""
    return Tried(
        id=path, row="an answer", who="chat", data=b"", marker=f"mark-{path}",
        expected=Expected(asked=0, exchange=exchange),
    )  # fmt: skip


PLACES = {
    "gateway-data/live/w0-1.jsonl": "journals",
    "gateway-data/segments/w0-1.duckdb": "segments",
    "gateway-data/spans.duckdb": "data folder",
    "gateway-data/otlp/cursor.json": "data folder",
    "home/run/recorder.state": "data folder",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_canary_in_any_file_is_a_leak_with_its_sink_and_place(tmp_path, form):
    """In each folder that the gateway may write to, in each form: the path, the sink and the file are named."""
    cage, key, _ = caged()
    for name in PLACES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"first\n" + FORMS[form](f"it is {key} then") + b"\n")
    (tmp_path / "gateway.toml").write_text(key)
    collected = Collected()
    read_files(tmp_path, tmp_path / "gateway-data", tmp_path / "gateway.toml", collected)
    judged = Judge(cage, setting(), [tried()]).judge(collected, {"p001": Got(status=200)}, {}, {})
    leaks = {(leak.sink, leak.count): leak for leak in judged.leaks}
    assert sorted(leaks) == [("data folder", 3), ("journals", 1), ("segments", 1)]
    for leak in judged.leaks:
        assert (leak.path, leak.kind, leak.form) == ("an answer: chat", "a key", form)
        assert PLACES[leak.place.partition(",")[0]] == leak.sink
        assert leak.change
        assert key not in repr(leak)
    assert leaks["journals", 1].place == "gateway-data/live/w0-1.jsonl, line 2"


def test_the_name_of_a_file_is_looked_at(tmp_path):
    """A file that is named after a key is a leak, whatever is in it."""
    cage, key, _ = caged()
    (tmp_path / quote(key, safe="")).touch()
    collected = Collected()
    read_files(tmp_path, tmp_path / "gateway-data", tmp_path / "gateway.toml", collected)
    judged = Judge(cage, setting(), [tried()]).judge(collected, {"p001": Got(status=200)}, {}, {})
    assert [(leak.sink, leak.place) for leak in judged.leaks] == [("data folder", "the name of a file")]


@pytest.mark.parametrize(("store", "sinks"), [("full", {"log"}), ("metadata", {"log", "journals", "SQL", "segments"})])
def test_content_is_a_leak_where_it_may_not_be(store, sinks):
    """In the store by [capture]; in a log never."""
    cage, _, said = caged()
    pieces = [Piece(sink=sink, place="x", data=said.encode()) for sink in ("log", "journals", "SQL", "segments")]
    path = Tried(id="p001", row="an answer", who="", data=b"", expected=Expected(), capture=Capture(store=store))
    judged = Judge(cage, setting(store), [path]).judge(Collected(pieces=pieces), {}, {}, {})
    assert {leak.sink for leak in judged.leaks} == sinks


def test_a_client_may_get_what_the_provider_said_and_nothing_else():
    """The provider's bytes pass as they are; the same key in bytes of ours is a leak."""
    cage, key, _ = caged()
    got = {"p001": Got(status=200, body=key.encode())}
    judge = Judge(cage, setting(), [tried(exchange=True)])
    judged = judge.judge(Collected(), got, {}, {"p001": b"you said " + key.encode()})
    assert (judged.leaks, judged.passed_on) == ((), 1)
    judged = judge.judge(Collected(), got, {}, {"p001": b"nothing"})
    assert [(leak.sink, leak.path) for leak in judged.leaks] == [("client", "an answer: chat")]


def test_a_key_of_all_paths_is_blamed_on_the_path_it_stands_with():
    """By the marker of the path in the same record, else on none."""
    cage, _, _ = caged()
    shared = cage.secret("$.providers.x.api_key")
    pieces = [
        Piece(sink="journals", place="line 1", data=f"mark-p001 {shared}".encode()),
        Piece(sink="log", place="line 1", data=shared.encode()),
    ]
    judged = Judge(cage, setting(), [tried()]).judge(Collected(pieces=pieces), {"p001": Got(status=200)}, {}, {})
    assert [(leak.sink, leak.path) for leak in judged.leaks] == [("journals", "an answer: chat"), ("log", "any")]


# -- what the client got, and what is to be taken out


def test_a_chunked_answer_is_read_across_its_chunks():
    """A canary that two chunks share is whole in what is looked through."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parsed(head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").body == b"abcde"
    assert parsed(head + b"3\r\nabc\r\n9\r\nde").body == b"abcde"
    assert parsed(b"").status == 0


def test_each_built_in_kind_has_a_value_that_is_found():
    """What is planted is what the redaction takes out; an example is of the patterns that find it."""
    cage = Cage(random.Random(3))
    for seed in range(50):
        cage = Cage(random.Random(seed))
        redaction = Redacted(
            builtin=["keys", "emails", "cards", "phones"], patterns={"ticket": r"TICKET-\d+", "other": "x{9}"}
        )
        made = planted(cage, redaction, ["TICKET-12"])
        assert made.untried == ("other",)
        assert len(cage.all) == 5
    assert planted(Cage(random.Random(3)), Redacted(), []).text == ""


def test_an_example_that_no_pattern_finds_is_refused():
    """It would look like a leak; the message does not repeat it."""
    with pytest.raises(ConfigError, match="--example number 1") as caught:
        planted(Cage(random.Random(3)), Redacted(patterns={"ticket": r"TICKET-\d+"}), ["TIKET-12"])
    assert "TIKET-12" not in str(caught.value)
