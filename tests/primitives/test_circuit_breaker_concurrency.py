"""CircuitBreaker, used by many threads and tasks at once: exact counts, one probe, no lock over user code, no leaks."""

from __future__ import annotations

import gc
import random
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telemetrix import CircuitBreaker, CircuitOpenError, locks
from telemetrix.bus import EventBus, default_bus
from telemetrix.events import (
    CallRejected,
    CircuitClosed,
    CircuitOpened,
    CircuitTransition,
    Event,
    ProbeFinished,
)
from telemetrix.primitives import _wrapper
from telemetrix.testing import CapturedTelemetry, Script, capture
from tests.primitives.circuits import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    Via,
    called,
    caught_from,
    decorated,
    entered,
    fail,
    make,
)

each_path = pytest.mark.usefixtures("each_path")


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """What `work(number)` answered on each of that many threads, all of which began at the same time."""
    answers: list[object] = [None] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(20)
        try:
            answers[number] = work(number)
        except BaseException as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return answers


async def in_tasks(count: int, work: Callable[[int], Awaitable[object]]) -> list[object]:
    """What `work(number)` answered in each of that many tasks."""
    answers: list[object] = [None] * count

    async def run(number: int) -> None:
        try:
            answers[number] = await work(number)
        except Exception as error:
            answers[number] = error

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(run, number)
    return answers


def kinds(answers: list[object]) -> Counter[str]:
    return Counter(type(answer).__name__ if isinstance(answer, BaseException) else str(answer) for answer in answers)


# No lock over user code


@each_path
@pytest.mark.parametrize("form", [decorated, called, entered])
def test_breaker__8_threads_in_their_calls__run_at_the_same_time(form: Via) -> None:
    # E1: elsewhere a lock is held meanwhile, and the eight calls run one after the other. Here that would hang them.
    breaker = make(name="gated")
    inside = threading.Barrier(8)

    def body() -> str:
        inside.wait(20)
        return "met"

    assert kinds(in_threads(8, lambda _: form(breaker, body))) == {"met": 8}


@each_path
@pytest.mark.parametrize("how", ["opens", "closes", "is opened by hand"])
def test_callbacks_and_subscribers__while_they_run__hold_no_lock(how: str, later: Callable[[float], None]) -> None:
    answers: list[object] = []

    def ask_from_another_thread() -> None:
        def ask() -> None:
            answers.append(breaker.state)
            breaker.reset()
            answers.append(decorated(breaker, Script(["passed"])))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(10)
        answers.append(not thread.is_alive())

    once = Script([True, False])

    def hear(_: object = None) -> None:
        if once():
            ask_from_another_thread()

    breaker = make(1, 30.0, name="asked")
    if how == "closes":
        fail(breaker)
        later(31.0)
    with default_bus.subscribe(hear, to=(CircuitOpened, CircuitClosed)):
        if how == "closes":
            decorated(breaker, Script(["back"]))
        elif how == "opens":
            fail(breaker)
        else:
            breaker.open()
    assert answers == [CLOSED if how == "closes" else OPEN, "passed", True]


# One probe


@each_path
@pytest.mark.parametrize("form", [decorated, called, entered])
def test_half_open__50_threads__one_probe_runs_and_49_are_rejected(
    form: Via, later: Callable[[float], None], heard: list[Event]
) -> None:
    # E2-E5: elsewhere all 50 get through.
    breaker = make(1, 30.0, name="probed")
    fail(breaker)
    later(31.0)
    rejected, script = threading.Semaphore(0), Script(["back"])

    def probe() -> Any:
        for _ in range(49):
            assert rejected.acquire(timeout=20)
        return script()

    def work(_: int) -> object:
        try:
            return form(breaker, probe)
        except CircuitOpenError:
            rejected.release()
            raise

    assert kinds(in_threads(50, work)) == {"back": 1, "CircuitOpenError": 49}
    assert script.calls == 1
    assert breaker.state is CLOSED
    assert [event.outcome for event in heard if isinstance(event, ProbeFinished)] == ["success"]
    assert [event.reason for event in heard if isinstance(event, CallRejected)] == ["half_open"] * 49


@pytest.mark.anyio
@each_path
@pytest.mark.parametrize("form", ["decorated", "acall", "block"])
async def test_half_open__50_tasks__one_probe_runs_and_49_are_rejected(
    form: str, later: Callable[[float], None]
) -> None:
    breaker = make(1, 30.0, name="probed")
    fail(breaker)
    later(31.0)
    rejected, runs = 0, 0

    async def probe() -> str:
        nonlocal runs
        runs += 1
        while rejected < 49:
            await anyio.lowlevel.checkpoint()
        return "back"

    async def block() -> str:
        async with breaker:
            return await probe()

    guarded = {"decorated": breaker(probe), "acall": lambda: breaker.acall(probe), "block": block}[form]

    async def work(_: int) -> object:
        nonlocal rejected
        try:
            return await guarded()
        except CircuitOpenError:
            rejected += 1
            raise

    assert kinds(await in_tasks(50, work)) == {"back": 1, "CircuitOpenError": 49}
    assert runs == 1
    assert breaker.state is CLOSED


@pytest.mark.anyio
@each_path
async def test_half_open__each_probe_is_cancelled__the_next_one_gets_the_place(later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0, name="probed")
    fail(breaker)
    later(31.0)
    guarded = breaker(anyio.sleep_forever)
    for _ in range(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guarded)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert (breaker.state, breaker.failure_count) == (HALF_OPEN, 1)
    assert decorated(breaker, Script(["back"])) == "back"


@each_path
def test_threshold__50_threads_fail_at_the_same_time__opens_once(heard: list[Event]) -> None:
    # All are inside before the first one fails, so 45 of the failures are of a time that is over.
    breaker = make(5, name="opened once")
    inside = threading.Barrier(50)

    def body() -> None:
        inside.wait(20)
        raise ConnectionError

    assert kinds(in_threads(50, lambda _: decorated(breaker, body))) == {"ConnectionError": 50}
    assert [type(event).__name__ for event in heard if isinstance(event, CircuitTransition)] == ["CircuitOpened"]
    assert len([event for event in heard if type(event).__name__ == "StaleResultDropped"]) == 45
    assert (breaker.state, breaker.failure_count) == (OPEN, 5)


# Exact counts


@pytest.fixture(params=["unwatched", "watched"])
def counted(request: pytest.FixtureRequest) -> Iterator[CapturedTelemetry]:
    """Metrics on each path; spans make the watched one."""
    with capture(spans="all" if request.param == "watched" else None) as captured:
        yield captured


def compare(captured: CapturedTelemetry, answers: Counter[str], runs: int, name: str) -> None:
    """Metrics and events say what happened."""

    def count(**labels: str) -> int:
        return int(captured.metric("telemetrix_calls_total", primitive="circuit_breaker", operation=name, **labels))

    assert count(outcome="success", reason="passed") == answers["passed"]
    assert count(outcome="failure", reason="counted") == answers["ConnectionError"]
    assert count(outcome="failure", reason="ignored") == answers["ValueError"]
    assert count(outcome="rejected") == answers["CircuitOpenError"] == len(captured.of(CallRejected))
    assert count() == sum(answers.values())
    assert runs == sum(answers.values()) - answers["CircuitOpenError"]
    durations = captured.metric("telemetrix_call_duration_seconds_count", primitive="circuit_breaker", operation=name)
    assert durations == sum(answers.values())
    assert (
        captured.metric("telemetrix_errors_total", operation=name, error_type="ConnectionError")
        == (answers["ConnectionError"])
    )


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("threshold", [3, 1_000_000])
def test_counts__50_threads_with_mixed_results__are_exact(counted: CapturedTelemetry, threshold: int) -> None:
    breaker = make(threshold, 0.0001, name="mixed")
    runs = threading.local()

    @breaker
    def guarded(ending: int) -> str:
        runs.mine += 1
        if ending < 2:
            raise (ConnectionError, ValueError)[ending]
        return "passed"

    def work(number: int) -> tuple[Counter[str], int]:
        dice, mine, runs.mine = random.Random(number), Counter[str](), 0
        for _ in range(100):
            try:
                mine[guarded(dice.randrange(6))] += 1
            except (ConnectionError, ValueError, CircuitOpenError) as error:
                mine[type(error).__name__] += 1
        return mine, runs.mine

    total: Counter[str] = Counter()
    ran = 0
    for answer in in_threads(50, work):
        assert isinstance(answer, tuple)
        total += answer[0]
        ran += answer[1]
    assert sum(total.values()) == 5_000
    compare(counted, total, ran, f"{__name__}.{guarded.__qualname__}")


@pytest.mark.anyio
@pytest.mark.parametrize("threshold", [3, 1_000_000])
async def test_counts__10_000_tasks_with_mixed_results__are_exact(threshold: int) -> None:
    breaker = make(threshold, 0.0001, name="mixed")
    dice, runs = random.Random(7), 0

    @breaker
    async def guarded(ending: int) -> str:
        nonlocal runs
        runs += 1
        await anyio.lowlevel.checkpoint()
        if ending < 2:
            raise (ConnectionError, ValueError)[ending]
        return "passed"

    with capture(spans=None) as captured:
        answers = kinds(await in_tasks(10_000, lambda _: guarded(dice.randrange(6))))
        assert sum(answers.values()) == 10_000
        compare(captured, answers, runs, f"{__name__}.{guarded.__qualname__}")


@pytest.mark.anyio
async def test_block__1_000_tasks_inside_one_breaker__each_ends_its_own_call(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    breaker = make(10_000, name="block")
    gate = anyio.Event()

    async def work(number: int) -> str:
        async with breaker:
            await gate.wait()
            if number % 3 == 0:
                raise ConnectionError
            async with breaker:
                return "passed"

    async def open_gate(number: int) -> object:
        if number:
            return await work(number)
        await anyio.lowlevel.checkpoint()
        gate.set()
        return None

    answers = kinds(await in_tasks(1_000, open_gate))
    assert answers == {"ConnectionError": 333, "passed": 666, "None": 1}

    def count(outcome: str) -> float:
        return telemetrix_capture.metric("telemetrix_calls_total", operation="block", outcome=outcome)

    assert (count("failure"), count("success")) == (333, 2 * 666)


def test_block__50_threads_inside_one_breaker__each_ends_its_own_call(counted: CapturedTelemetry) -> None:
    breaker = make(10_000, name="block")
    inside = threading.Barrier(50)

    def work(number: int) -> str:
        with breaker:
            inside.wait(20)
            if number % 2:
                raise ConnectionError
            return "passed"

    answers = kinds(in_threads(50, work))
    assert answers == {"ConnectionError": 25, "passed": 25}
    assert counted.metric("telemetrix_calls_total", operation="block", outcome="failure") == 25
    assert counted.metric("telemetrix_calls_total", operation="block", outcome="success") == 25


# Order of events


def events_of(breaker: CircuitBreaker, heard: list[Event]) -> list[str]:
    return [type(e).__name__ for e in heard if isinstance(e, CircuitTransition) and e.circuit == breaker.name]


def test_events__subscriber_resets_the_circuit_it_hears_open__later_subscribers_hear_them_in_order() -> None:
    breaker = make(1, name="reset at once")
    heard: list[Event] = []
    bus_order = [
        default_bus.subscribe(lambda _: breaker.reset(), to=CircuitOpened),
        default_bus.subscribe(heard.append),
    ]
    with bus_order[0], bus_order[1]:
        fail(breaker)
    assert breaker.state is CLOSED
    assert events_of(breaker, heard) == ["CircuitOpened", "CircuitClosed"]


def test_metric__another_thread_moves_the_circuit_while_its_opening_is_told__shows_where_it_stands() -> None:
    breaker = make(1, name="moved meanwhile")

    def reset_on_another_thread(_: Event) -> None:
        thread = threading.Thread(target=breaker.reset)
        thread.start()
        thread.join(10)

    # Before the metrics in the order of delivery, as any slow subscriber or an unlucky thread switch would be.
    with default_bus.subscribe(reset_on_another_thread, to=CircuitOpened), capture(spans=None) as late:
        fail(breaker)
        assert breaker.state is CLOSED
        shown = late.metric("telemetrix_circuit_state", circuit="moved meanwhile", state="closed")
    assert shown == 1


# Leaks


def sizes(bus: EventBus) -> dict[str, int]:
    """Everything that could remember a decorated function."""
    gc.collect()
    return {
        "operations": len(bus._operations),  # noqa: SLF001 - nothing public shows it
        "retained": len(bus._retained),  # noqa: SLF001
        "labels": sum(map(len, bus._labels.values())),  # noqa: SLF001
        "lock owners": len(locks._owners),  # noqa: SLF001
        "compiled wrappers": _wrapper._factory.cache_info().currsize,  # noqa: SLF001
    }


def test_breaker__decorates_a_closure_per_request__shares_its_state_and_leaks_nothing() -> None:
    breaker = make(3, name="per request")
    alive: list[weakref.ref[Any]] = []

    def handle_request(number: int) -> object:
        @breaker
        def ask_downstream() -> int:
            if number < 3:
                raise ConnectionError
            return number

        alive.append(weakref.ref(ask_downstream))
        alive.append(weakref.ref(ask_downstream.__wrapped__))  # type: ignore[attr-defined]
        return ask_downstream()

    for number in range(3):
        caught_from(lambda number=number: handle_request(number))  # type: ignore[misc]
    assert breaker.state is OPEN
    assert isinstance(caught_from(lambda: handle_request(3)), CircuitOpenError)
    breaker.reset()
    assert handle_request(4) == 4
    alive.clear()
    before, objects = sizes(default_bus), len(gc.get_objects())
    for number in range(10_000):
        assert handle_request(number + 3) == number + 3
    assert sizes(default_bus) == before
    assert not any(reference() for reference in alive)
    alive.clear()
    assert abs(len(gc.get_objects()) - objects) < 200


def test_breaker__is_dropped__is_forgotten() -> None:
    reference = weakref.ref(breaker := make(name="dropped"))
    decorated(breaker, Script(["passed"]))
    del breaker
    gc.collect()
    assert reference() is None


class LargeError(ConnectionError):
    """One that can be referred to weakly."""


def test_breaker__block_is_left_by_an_error__keeps_nothing_in_the_context() -> None:
    def run() -> list[weakref.ref[Any]]:
        breaker = make(100, name="block")
        error = caught_from(lambda: entered(breaker, Script([LargeError])))
        return [weakref.ref(breaker), weakref.ref(error)]

    references = run()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
