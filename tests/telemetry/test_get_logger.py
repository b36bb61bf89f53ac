"""get_logger: structlog where it is configured, the standard library where it is not, the same calls for both."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from structlog.testing import capture_logs

from telemetrix import get_logger

LEVELS = ("debug", "info", "warning", "error", "critical")


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Of everything."""
    caplog.set_level(logging.DEBUG)
    return caplog


# structlog configured


@pytest.mark.parametrize("level", LEVELS)
def test_configured__each_level__is_structlogs(level: str) -> None:
    with capture_logs() as lines:
        getattr(get_logger("app"), level)("paid", amount=3)
    assert lines == [{"event": "paid", "amount": 3, "log_level": level}]


def test_configured__extra__becomes_fields() -> None:
    with capture_logs() as lines:
        get_logger("app").warning("paid", extra={"attempt": 2, "event": "odd", "name": "n"}, amount=3)
    assert lines == [
        {"event": "paid", "attempt": 2, "extra_event": "odd", "name": "n", "amount": 3, "log_level": "warning"}
    ]


def test_configured__percent_arguments__are_put_in() -> None:
    structlog.configure(
        processors=[structlog.stdlib.PositionalArgumentsFormatter(), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sink := io.StringIO()),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    get_logger("app").info("paid %s of %d", "a", 3)
    assert json.loads(sink.getvalue())["event"] == "paid a of 3"


def test_configured__exception__has_the_error_being_handled() -> None:
    with capture_logs() as lines:
        try:
            raise ValueError("broken")
        except ValueError:
            get_logger("app").exception("failed")
    assert lines == [{"event": "failed", "exc_info": True, "log_level": "error"}]


def test_configured__bind__is_structlogs() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as lines:
        get_logger("app").bind(user="u").info("paid")
    assert lines == [{"event": "paid", "user": "u", "log_level": "info"}]


def test_configured__later__changes_a_logger_that_exists(caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("app")
    logger.info("before")
    with capture_logs() as lines:
        logger.info("after")
    assert [record.getMessage() for record in caplog.records] == ["before"]
    assert [line["event"] for line in lines] == ["after"]


# structlog not configured


@pytest.mark.parametrize("level", LEVELS)
def test_unconfigured__each_level__is_the_standard_librarys(level: str, caplog: pytest.LogCaptureFixture) -> None:
    getattr(get_logger("app.pay"), level)("paid", amount=3)
    assert caplog.record_tuples == [("app.pay", getattr(logging, level.upper()), "paid amount=3")]


def test_unconfigured__extra__becomes_fields(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("app").warning("paid", extra={"attempt": 2, "name": "n", "message": "m"})
    assert caplog.messages == ["paid attempt=2 name=n message=m"]


@pytest.mark.parametrize("configured", [True, False], ids=["configured", "unconfigured"])
def test_fields__named_as_parameters_of_ours__are_fields_all_the_same(
    caplog: pytest.LogCaptureFixture, *, configured: bool
) -> None:
    sink = io.StringIO()
    if configured:
        structlog.configure(
            processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
            logger_factory=structlog.PrintLoggerFactory(sink),
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        )
    get_logger("app").warning("paid", extra={"level": "gold", "event": "odd"}, name="n")
    shown = sink.getvalue().replace("'", "") if configured else caplog.messages[0]
    assert {"extra_level=gold", "extra_event=odd", "name=n"} <= set(shown.split())


def test_unconfigured__percent_arguments__are_put_in(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("app").warning("paid %s of %d", "a", 3, currency="%s")
    assert caplog.messages == ["paid a of 3 currency=%s"]


def test_unconfigured__percent_sign_without_arguments__stays(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("app").warning("100%")
    assert caplog.messages == ["100%"]


def test_unconfigured__exception__has_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger("app").exception("failed")
    assert "ValueError: broken" in caplog.text
    assert caplog.records[0].exc_info is not None


def test_unconfigured__below_the_loggers_level__is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "app")
    get_logger("app").warning("paid")
    assert caplog.records == []


def test_unconfigured__without_a_name__is_the_root_logger(caplog: pytest.LogCaptureFixture) -> None:
    get_logger().warning("paid")
    assert [record.name for record in caplog.records] == ["root"]


def test_unconfigured__bind__keeps_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("app").bind(user="u").info("paid")
    assert caplog.messages == ["paid user=u"]


def test_unconfigured__place_of_the_line__is_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("app").warning("paid")
    assert caplog.records[0].filename == "test_get_logger.py"


@pytest.mark.parametrize("level", LEVELS)
def test_unconfigured__any_level__prints_nothing_to_stdout(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(get_logger("app"), level)("paid")
    assert capsys.readouterr().out == ""
