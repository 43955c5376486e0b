"""The list of requests covers every dialect, script and key, and follows the configuration."""

from collections import Counter
from typing import get_args

from gateway.cli.doctor.cases import Cases
from gateway.cli.doctor.requests import Builder, Script
from tests.cli.doctor.examples import loopback, planted_canaries

# The rows of the report, each with its number of requests.
ROWS = {
    "answer": 6, "stream": 6, "error 400": 6, "error 401": 6, "error 429, retried": 6, "error 500, retried": 6,
    "retry, then an answer": 6, "broken stream": 6, "client disconnect": 6,
    "translated answer": 6, "translated stream": 6, "translated error": 6, "translated broken stream": 6,
    "connection refused": 1, "TLS failure": 1, "timeout": 1, "malformed response": 1, "connection reset": 1,
    "client's keys, error 401": 12, "provider's keys from $.providers": 3, "AWS credentials, signed": 2,
    "provider's keys from $.api_keys": 2, "less capture requested": 10, "content truncated within a key": 7,
    "relayed unread": 2, "relayed unread, error 404": 6, "body that is not JSON": 1, "unknown path": 1,
    "URL with a password": 1, "WebSocket": 1, "malformed request": 2, "options with a key": 8, "invalid options": 9,
    "a maker's key, another provider": 12, "nothing by guess": 8,
    "another site's page": 3, "own key repeated": 2,
    "chronicle's /chat": 5, "events of runs": 1, "invalid events": 1, "application telemetry": 3,
    "own pages, wrong token": 4,
}  # fmt: skip


def cases(**more: object):
    """Return the requests for a configuration, and their canaries."""
    canaries, _, _ = planted_canaries()
    builder = Builder(canaries, loopback(**more), "127.0.0.1:9")
    return Cases(builder, upstream="http://127.0.0.1:1/doctor-chat").all(), canaries


def test_the_rows_and_their_requests():
    """No row is lost, and ids are unique."""
    requests, _ = cases()
    assert Counter(each.row for each in requests) == ROWS
    assert len({each.id for each in requests}) == len(requests)
    assert {each.script for each in requests} == set(get_args(Script))


def test_every_canary_of_a_request_is_its_own():
    """A canary that belongs to one request is in no other one's bytes."""
    requests, canaries = cases()
    by_id = {each.id: each for each in requests}
    for canary in canaries.all:
        for id_, request in by_id.items():
            if canary.request not in {None, id_}:
                assert canary.value.encode() not in request.data
    assert len(canaries.all) > 1200


def test_providers_and_aliases_of_the_user_are_tried():
    """Each gets an answer and an error; a required token is shown, and shown wrongly once."""
    requests, _ = cases(providers=(("mine", "ollama"),), aliases=("smart", "fast"), required=True)
    extra = Counter(each.row for each in requests) - Counter(ROWS)
    assert extra == {
        "your providers, answer": 1, "your providers, error": 1, "your aliases, answer": 2, "your aliases, error": 2,
        "wrong token": 1,
    }  # fmt: skip


def test_options_are_expected_to_work_only_where_they_are_allowed():
    """[requests] decides whether an option with a key is refused."""
    allowed, _ = cases(api_keys=True, override_url=True)
    refused, _ = cases()
    for requests, status in ((allowed, {(200, 200), (401, 401)}), (refused, {(400, 499)})):
        assert {each.expected.status for each in requests if each.row == "options with a key"} == status
