"""Log records: no invalid input is repeated, and redaction applies as to everything else that is recorded."""

import logging

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from gateway.redaction import NOTHING, Redaction
from gateway.server.log_filters import HTTP_LOG, redact_libraries, redact_logs

KEY = "sk-proj-abc123def456ghi789"


@pytest.fixture(autouse=True)
def _unredacted():
    yield
    redact_logs(NOTHING)


def unfiltered() -> None:
    """Undo `redact_libraries`."""
    for each in [*logging.root.manager.loggerDict]:
        if each.partition(".")[0] in {"aiohttp", "asyncio", "botocore"}:
            logging.getLogger(each).filters.clear()


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as raised:
        return raised


def test_an_invalid_request_is_not_repeated(caplog):
    """The log names the kind of error only, as a warning without a traceback: the invalid header may hold a key."""
    error = _raised(BadHttpMessage(f"invalid header: {KEY}"))
    logging.getLogger(HTTP_LOG).error("Error handling request %s", KEY, exc_info=error)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no valid HTTP: BadHttpMessage" in caplog.text
    assert KEY not in caplog.text


def test_other_errors_of_http_are_logged_as_they_are(caplog):
    """A fault of the gateway keeps its traceback."""
    logging.getLogger(HTTP_LOG).error("a fault", exc_info=_raised(RuntimeError("of ours")))
    assert "RuntimeError: of ours" in caplog.text
    assert caplog.records[0].levelname == "ERROR"


def test_an_invalid_collector_header_is_not_repeated(caplog):
    """OpenTelemetry's parser logs the header that it cannot read, which is a key more often than not."""
    logging.getLogger("opentelemetry.util.re").warning("Header format invalid! %s", KEY)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in caplog.text
    assert KEY not in caplog.text


def test_messages_and_tracebacks_of_the_gateway_are_redacted(caplog):
    """Arguments are formatted first, so that a secret in one is found."""
    logger = logging.getLogger("gateway.tests.log_filters")
    redact_logs(Redaction(["keys"]))
    logger.warning("a key: %s", KEY)
    logger.error("a fault", exc_info=_raised(RuntimeError(f"of {KEY}")))
    assert "a key: [redacted: key]" in caplog.text
    assert "RuntimeError: of [redacted: key]" in caplog.text
    assert KEY not in caplog.text
    redact_logs(NOTHING)
    logger.warning("a key: %s", KEY)
    assert KEY in caplog.text


@pytest.mark.parametrize("name", ["aiohttp.tests", "asyncio.tests"])
def test_libraries_are_redacted_in_a_process_of_the_gateways_own(caplog, name):
    """An application that embeds the gateway keeps its loggers as they are until `redact_libraries` is called."""
    logger = logging.getLogger(name)
    redact_logs(Redaction(["keys"]))
    logger.warning("before %s", KEY)
    assert KEY in caplog.text
    caplog.clear()
    redact_libraries()
    try:
        logger.warning("after %s", KEY)
        assert "after [redacted: key]" in caplog.text
    finally:
        unfiltered()


@pytest.mark.parametrize("name", ["botocore.credentials", "botocore.tokens"])
def test_a_failed_refresh_of_aws_credentials_is_one_line(caplog, name):
    """The warning of botocore has no traceback, names the provider, and repeats no output of a credential process."""
    logger = logging.getLogger(name)
    redact_libraries()
    try:
        error = _raised(RuntimeError(f"custom-process: {KEY}"))
        logger.warning("Refreshing failed during %s refresh period.", "mandatory", exc_info=error)
        logger.warning("another warning")
    finally:
        unfiltered()
    lines = [logging.Formatter().format(record) for record in caplog.records]
    assert lines == ["bedrock: AWS credentials could not be refreshed: RuntimeError", "another warning"]
