"""Script: does one thing after the other."""

from __future__ import annotations

import threading

import pytest

from telemetrix.testing import Script


def test_script__results_and_errors__come_in_order_and_the_last_repeats() -> None:
    script = Script([1, ValueError("first"), KeyError, 2])
    assert script() == 1
    with pytest.raises(ValueError, match="first"):
        script()
    with pytest.raises(KeyError):
        script()
    assert [script(), script(), script()] == [2, 2, 2]
    assert script.calls == 6


def test_script__last_is_an_error__raises_it_from_then_on() -> None:
    script = Script([ValueError])
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^$"):
            script()


def test_script__arguments__are_ignored() -> None:
    assert Script(["done"])(1, 2, key=3) == "done"


def test_script__entries_that_only_look_like_errors__are_results() -> None:
    script = Script([int, None, "ValueError"])
    assert [script(), script(), script()] == [int, None, "ValueError"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_script__base_exceptions__are_raised_too(interruption: type[BaseException]) -> None:
    with pytest.raises(interruption):
        Script([interruption])()


def test_script__nothing_in_it__is_refused() -> None:
    with pytest.raises(ValueError, match="outcomes="):
        Script([])


def test_script__an_iterator__is_read_once_and_kept() -> None:
    script = Script(iter([1, 2]))
    assert [script(), script(), script()] == [1, 2, 2]


@pytest.mark.anyio
async def test_acall__as_a_coroutine_function__goes_through_the_same_script() -> None:
    script = Script([1, ValueError, 2])
    assert await script.acall() == 1
    with pytest.raises(ValueError, match=r"^$"):
        await script.acall()
    assert script() == 2


def test_script__called_from_many_threads__plays_each_entry_once() -> None:
    script = Script([*range(400), None])
    seen: list[object] = []

    def call() -> None:
        for _ in range(100):
            seen.append(script())  # noqa: PERF401 - interleaved with other threads

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(seen, key=repr) == sorted(range(400), key=repr)
