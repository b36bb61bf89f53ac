"""retrying: the block form, with `for` and `async for`, however the block is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace

from telemetrix import RetryStrategy, retrying
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, virtual_clock
from tests.primitives.tally import Tally

pytestmark = pytest.mark.usefixtures("telemetrix_clock")


def block(**settings: Any) -> retrying:
    defaults: dict[str, Any] = {"max_attempts": 3, "delay": 2.0, "strategy": RetryStrategy.LINEAR, "name": "block"}
    return retrying(**{**defaults, **settings})


def caught_from(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture
def ended(spans: CapturedTelemetry, tally: Tally) -> Iterator[Callable[..., int]]:
    """How many calls of the block ended in some way; afterwards, every span that was opened must be closed."""
    before = trace.get_current_span()
    yield lambda **ending: tally.count("block", **ending)
    assert trace.get_current_span() is before, "a span was left open"


# The sync block


def test_block__succeeds_at_once__runs_once(ended: Callable[..., int]) -> None:
    numbers = []
    for attempt in block():
        with attempt:
            numbers.append(attempt.number)
    assert numbers == [1]
    assert ended(outcome="success", reason="first_try") == ended() == 1


def test_block__fails_twice__runs_three_times_and_waits_between(
    ended: Callable[..., int], telemetrix_clock: VirtualClock, spans: CapturedTelemetry
) -> None:
    script, numbers = Script([ValueError, ValueError, "sent"]), []
    result = None
    for attempt in block():
        with attempt:
            numbers.append(attempt.number)
            result = script()
    assert (result, numbers) == ("sent", [1, 2, 3])
    assert telemetrix_clock.sleeps == [2.0, 4.0]
    assert ended(outcome="success", reason="recovered") == ended() == 1
    assert spans.span_tree() == ["retry block", "  attempt block", "  attempt block", "  attempt block"]


def test_block__attempts_used_up__raises_the_last_exception_itself_with_a_note(
    ended: Callable[..., int], telemetrix_clock: VirtualClock, spans: CapturedTelemetry
) -> None:
    errors = [ValueError("1"), ValueError("2"), ValueError("3")]
    script = Script(errors)

    def run() -> None:
        for attempt in block():
            with attempt:
                script()

    error = caught_from(run)
    assert error is errors[2]
    assert error.__context__ is None
    assert error.__notes__ == ["telemetrix: block gave up after 3 attempts in 6 s: exhausted"]
    assert telemetrix_clock.sleeps == [2.0, 4.0]
    assert ended(outcome="failure", reason="exhausted") == ended() == 1


def test_block__other_exception__comes_out_at_once(ended: Callable[..., int]) -> None:
    def run() -> None:
        for attempt in block(exceptions=ConnectionError):
            with attempt:
                raise ValueError

    assert isinstance(caught_from(run), ValueError)
    assert ended(outcome="failure", reason="not_retryable") == ended() == 1


def test_block__last_exception_is_caught_inside_the_loop__ends_the_loop(ended: Callable[..., int]) -> None:
    script = Script([ValueError])
    caught = 0
    for attempt in block():
        try:
            with attempt:
                script()
        except ValueError:
            caught += 1
    assert (script.calls, caught) == (3, 1)
    assert ended(outcome="failure", reason="exhausted") == ended() == 1


def test_block__on_retry__hears_exception_and_attempt(ended: Callable[..., int]) -> None:
    heard: list[tuple[type[BaseException], int]] = []
    script = Script([ValueError, KeyError, None])
    for attempt in block(on_retry=lambda error, number: heard.append((type(error), number))):
        with attempt:
            script()
    assert heard == [(ValueError, 1), (KeyError, 2)]


def test_block__left_by_break_inside_the_attempt__is_a_success(ended: Callable[..., int]) -> None:
    script = Script([ValueError, None])
    for attempt in block():
        with attempt:
            script()
            break
    assert script.calls == 2
    assert ended(outcome="success", reason="recovered") == ended() == 1


def test_block__left_by_return_inside_the_attempt__is_a_success(ended: Callable[..., int]) -> None:
    def run() -> str | None:
        for attempt in block():
            with attempt:
                return "sent"
        return None

    assert run() == "sent"
    assert ended(outcome="success", reason="first_try") == ended() == 1


def test_block__left_by_continue_inside_the_attempt__is_a_success(ended: Callable[..., int]) -> None:
    runs = 0
    for attempt in block():
        with attempt:
            runs += 1
            continue
    assert runs == 1
    assert ended(outcome="success") == ended() == 1


def test_block__left_by_return_between_two_attempts__is_cancelled(ended: Callable[..., int]) -> None:
    def run() -> None:
        for attempt in block():
            with attempt:
                raise ValueError
            return

    run()
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


def test_block__left_by_an_exception_between_two_attempts__is_cancelled(ended: Callable[..., int]) -> None:
    def run() -> None:
        for attempt in block():
            with attempt:
                raise ValueError
            raise KeyError("between")

    error = caught_from(run)
    assert isinstance(error, KeyError)
    error.__traceback__ = None  # it holds the frame, the frame holds the attempt
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


def test_block__left_by_break_between_two_attempts__is_cancelled_at_once(
    ended: Callable[..., int],
) -> None:
    def run() -> int:
        for attempt in block():
            with attempt:
                raise ValueError
            break
        return ended(outcome="cancelled")

    assert copy_context().run(run) == 1


def test_block__attempt_is_not_entered__is_refused(ended: Callable[..., int]) -> None:
    runs: list[int] = []

    def run() -> None:
        runs.extend(attempt.number for attempt in block())

    with pytest.raises(RuntimeError, match="the attempt was not entered: write `with attempt:` inside the loop"):
        run()
    assert ended() == 0


def test_block__second_attempt_is_not_entered__is_refused_and_ends_the_call(ended: Callable[..., int]) -> None:
    def run() -> None:
        for attempt in block():
            if attempt.number == 1:
                with attempt:
                    raise ValueError

    error = caught_from(run)
    assert isinstance(error, RuntimeError)
    error.__traceback__ = None
    assert ended(outcome="cancelled") == ended() == 1


def test_block__attempt_is_entered_twice__is_refused(ended: Callable[..., int]) -> None:
    def run() -> None:
        for attempt in block():
            with attempt:
                pass
            with attempt:
                pass

    with pytest.raises(RuntimeError):
        copy_context().run(run)
    assert ended() == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_block__interrupted_in_an_attempt__is_cancelled(kind: type[BaseException], ended: Callable[..., int]) -> None:
    script = Script([ValueError, kind])

    def run() -> None:
        for attempt in block():
            with attempt:
                script()

    assert isinstance(caught_from(run), kind)
    assert script.calls == 2
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


def test_block__interrupted_in_the_wait__is_cancelled(
    ended: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script([ValueError])
    monkeypatch.setattr(VirtualClock, "sleep", Script([KeyboardInterrupt]))

    def run() -> None:
        for attempt in block():
            with attempt:
                script()

    assert isinstance(caught_from(run), KeyboardInterrupt)
    assert script.calls == 1
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


def test_block__inside_a_generator_that_is_closed__is_cancelled(ended: Callable[..., int]) -> None:
    def generate() -> Iterator[int]:
        for attempt in block():
            with attempt:
                yield attempt.number

    generator = generate()
    assert next(generator) == 1
    generator.close()  # type: ignore[attr-defined]
    assert ended(outcome="cancelled") == ended() == 1


def test_block__nested_in_a_block__each_counts_its_own(ended: Callable[..., int]) -> None:
    script = Script([ValueError] * 3 + ["sent"])
    numbers = []
    for outer in block(name="outer block"):
        with outer:
            for inner in block():
                with inner:
                    numbers.append((outer.number, inner.number))
                    script()
    assert numbers == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert ended(outcome="failure") == ended(outcome="success") == 1


def test_block__object_is_looped_over_again__starts_from_the_first_attempt(ended: Callable[..., int]) -> None:
    attempts = block()
    numbers = []
    for script in (Script([ValueError, None]), Script([ValueError, ValueError, None])):
        for attempt in attempts:
            with attempt:
                numbers.append(attempt.number)
                script()
    assert numbers == [1, 2, 1, 2, 3]
    assert ended(reason="recovered") == ended() == 2


def test_block__object_is_shared_by_10_threads__each_has_all_its_attempts(ended: Callable[..., int]) -> None:
    attempts = block(delay=0)
    start = threading.Barrier(10)
    numbers: list[list[int]] = []

    def work() -> None:
        start.wait(10)
        mine, script = [], Script([ValueError, ValueError, None])
        for attempt in attempts:
            with attempt:
                mine.append(attempt.number)
                script()
        numbers.append(mine)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert numbers == [[1, 2, 3]] * 10
    assert ended(reason="recovered") == ended() == 10


def test_block__without_a_name__is_called_after_the_code_around_it(spans: CapturedTelemetry) -> None:
    for attempt in retrying(delay=0):
        with attempt:
            pass
    name = f"{__name__}.test_block__without_a_name__is_called_after_the_code_around_it"
    assert spans.span_tree() == [f"retry {name}", f"  attempt {name}"]


@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("max_attempts", 0, ValueError),
        ("delay", -1, ValueError),
        ("backoff", float("nan"), ValueError),
        ("jitter", "yes", TypeError),
        ("strategy", "fixed", TypeError),
        ("exceptions", BaseException, ValueError),
        ("on_retry", 3, TypeError),
        ("max_delay", 0, ValueError),
        ("name", "", ValueError),
    ],
)
def test_block__setting_out_of_range__is_refused(parameter: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^{parameter}=.+ is not allowed: "):
        retrying(**{parameter: value})


# The async block


@pytest.mark.anyio
async def test_async_block__fails_twice__runs_three_times_and_waits_between(
    ended: Callable[..., int], telemetrix_clock: VirtualClock, spans: CapturedTelemetry
) -> None:
    script, numbers = Script([ValueError, ValueError, "sent"]), []
    result = None
    async for attempt in block():
        with attempt:
            numbers.append(attempt.number)
            result = await script.acall()
    assert (result, numbers) == ("sent", [1, 2, 3])
    assert telemetrix_clock.sleeps == [2.0, 4.0]
    assert ended(outcome="success", reason="recovered") == ended() == 1
    assert spans.span_tree() == ["retry block", "  attempt block", "  attempt block", "  attempt block"]


@pytest.mark.anyio
async def test_async_block__attempts_used_up__raises_the_last_exception_itself(ended: Callable[..., int]) -> None:
    errors = [ValueError("1"), ValueError("2"), ValueError("3")]
    script = Script(errors)

    async def run() -> None:
        async for attempt in block():
            with attempt:
                await script.acall()

    with pytest.raises(ValueError, match="3") as caught:
        await run()
    assert caught.value is errors[2]
    assert ended(outcome="failure", reason="exhausted") == ended() == 1


@pytest.mark.anyio
async def test_async_block__left_by_break_inside_the_attempt__is_a_success(ended: Callable[..., int]) -> None:
    async for attempt in block():
        with attempt:
            break
    assert ended(outcome="success", reason="first_try") == ended() == 1


@pytest.mark.anyio
async def test_async_block__left_by_return_between_two_attempts__is_cancelled(ended: Callable[..., int]) -> None:
    async def run() -> None:
        async for attempt in block():
            with attempt:
                raise ValueError
            return

    await run()
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


@pytest.mark.anyio
async def test_async_block__attempt_is_not_entered__is_refused(ended: Callable[..., int]) -> None:
    with pytest.raises(RuntimeError, match="the attempt was not entered"):
        async for _ in block():
            pass
    assert ended() == 0


@pytest.mark.anyio
async def test_async_block__cancelled_in_an_attempt__is_cancelled(ended: Callable[..., int]) -> None:
    entered = anyio.Event()

    async def run() -> None:
        async for attempt in block():
            with attempt:
                entered.set()
                await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await entered.wait()
        tasks.cancel_scope.cancel()
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


@pytest.mark.anyio
async def test_async_block__cancelled_in_the_wait__is_cancelled_at_once(
    ended: Callable[..., int],
) -> None:
    script, failed = Script([ValueError]), anyio.Event()

    async def run() -> None:
        async for attempt in block(on_retry=lambda *_: failed.set()):
            with attempt:
                script()

    with virtual_clock(autojump=False) as virtual:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await failed.wait()
            tasks.cancel_scope.cancel()
        assert virtual.monotonic() == 1000.0
    assert script.calls == 1
    assert ended(outcome="cancelled", reason="cancelled") == ended() == 1


@pytest.mark.anyio
async def test_async_block__object_is_shared_by_20_tasks__each_has_all_its_attempts(
    ended: Callable[..., int],
) -> None:
    # E6: elsewhere the tasks use up each other's attempts, and all of them fail.
    attempts = block()
    numbers: list[list[int]] = []

    async def work() -> None:
        mine, script = [], Script([ValueError, ValueError, None])
        async for attempt in attempts:
            with attempt:
                mine.append(attempt.number)
                await anyio.lowlevel.checkpoint()
                script()
        numbers.append(mine)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(work)
    assert numbers == [[1, 2, 3]] * 20
    assert ended(reason="recovered") == ended() == 20
