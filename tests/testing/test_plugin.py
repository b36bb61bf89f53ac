"""The pytest plugin: found without set-up, its fixtures work and clean up."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]


def test_plugin__entry_point__names_it() -> None:
    (found,) = entry_points(group="pytest11", name="telemetrix")
    assert found.value == "telemetrix.testing.plugin"


@pytest.mark.slow
def test_fixtures__in_a_users_test_without_any_import__move_time_and_show_telemetry(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
        import telemetrix

        def test_recovers(telemetrix_clock, telemetrix_capture):
            outcomes = iter([1, 0, 0])

            @telemetrix.retry(3, 3600, jitter=False, max_delay=7200, name="pay")
            def pay():
                if next(outcomes):
                    raise ConnectionError

            pay()
            assert telemetrix_clock.sleeps == [3600]
            assert telemetrix_capture.metric("telemetrix_calls_total", reason="recovered") == 1
            assert telemetrix_capture.span_tree() == ["retry pay", "  attempt pay", "  attempt pay"]

        def test_starts_afresh(telemetrix_clock, telemetrix_capture):
            assert telemetrix_clock.sleeps == []
            assert telemetrix_capture.events == []
            assert telemetrix_capture.metric("telemetrix_calls_total", operation="pay") == 0

        def test_cleans_up():
            assert telemetrix.clock.current() is telemetrix.clock.SYSTEM
            assert not telemetrix.bus.default_bus.watch()
    """)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=3)


@pytest.mark.slow
def test_fixtures__on_the_list__say_what_they_are(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["telemetrix_clock *", "    A virtual clock*"])
    result.stdout.fnmatch_lines(["telemetrix_capture *", "    The events, metrics and spans*"])


@pytest.mark.slow
def test_plugin__in_a_run_that_does_not_use_it__imports_no_sdk(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing():
            assert "opentelemetry.sdk.trace" not in sys.modules
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:anyio")
    result.assert_outcomes(passed=1)
