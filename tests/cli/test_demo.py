"""The demo's traffic is the same in every run, and a gateway that does not start is an error."""

import asyncio
from collections import Counter

import pytest

from gateway.cli.demo import QUERIES, running, send, traffic
from gateway.errors import GatewayError
from gateway.providers.demo.server import MODELS
from gateway.store.query import run_sql


def test_the_traffic_is_the_same_in_every_run():
    """Five requests a round, to every endpoint, for models that the demo provider has."""
    requests = traffic(9)
    assert requests == traffic(9)
    assert Counter(path for path, _ in requests) == {
        "/v1/chat/completions": 18, "/v1/messages": 9, "/v1/responses": 9, "/v1/embeddings": 9,
    }  # fmt: skip
    models = {str(body["model"]) for _, body in requests}
    assert models <= {f"demo/{name}" for name in MODELS}
    assert {"demo/flaky", "demo/broken-stream", "demo/rate-limited"} <= models
    assert {body.get("stream") for _, body in requests} == {True, False, None}


def test_queries_fit_80_columns():
    """They are printed above their results."""
    assert max(len(line) for title, query in QUERIES for line in (title, *query.splitlines())) <= 80


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_the_traffic_arrives_and_every_query_has_rows(tmp_path):
    """Progress counts to the end; failing models do not end the run."""
    progress = []
    with running(tmp_path / "data") as url:
        asyncio.run(send(url, 1, lambda done, total: progress.append((done, total))))
        assert progress == [(number, 5) for number in range(1, 6)]
        for _, query in QUERIES:
            assert run_sql(tmp_path / "data", query).rows
        assert run_sql(tmp_path / "data", "SELECT count(*) FROM exchanges").rows == [[5]]


def test_a_gateway_that_does_not_start_is_an_error_with_its_output(tmp_path):
    """The data folder is a file."""
    (tmp_path / "data").touch()
    with pytest.raises(GatewayError, match=r"(?s)the gateway did not start: .*--data"), running(tmp_path / "data"):
        pass
