"""The guide's integration examples: an API endpoint with a circuit breaker, layers of recovery, and migration."""

from __future__ import annotations

import gc
import json
import sys
import threading
import types
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from telemetrix import CircuitOpenError, CircuitState, OperationTimeout, subscribe
from telemetrix.events import OperationRegistered
from telemetrix.testing import Script, VirtualClock

ENDPOINT = """
    from fastapi import APIRouter, HTTPException
    from app.utils.error_recovery import CircuitBreaker, CircuitState

    router = APIRouter()

    # Circuit breaker for external ML model API
    model_api_circuit = CircuitBreaker(
        failure_threshold=5,
        recovery_timeout=120,
        expected_exception=RequestException
    )

    @router.post("/predict")
    async def predict(data: PredictRequest):
        '''Prediction endpoint with circuit breaker.'''

        # Check circuit state
        if model_api_circuit.state == CircuitState.OPEN:
            # Use fallback model
            logger.warning("Using local fallback model")
            return local_model_predict(data)

        try:
            # Try external model with circuit breaker
            @model_api_circuit
            def call_external_model():
                response = requests.post(
                    "https://ml-api.example.com/predict",
                    json=data.dict(),
                    timeout=10
                )
                return response.json()

            result = call_external_model()
            return result

        except Exception as e:
            # Circuit opened or other error
            logger.error(f"Prediction failed: {e}")

            # Use fallback
            return local_model_predict(data)
"""

LAYERED = """
    # Good: Layered defense
    @timeout(seconds=30)              # Outer: prevent hanging
    @retry(max_attempts=3, delay=1.0) # Middle: retry transient failures
    @circuit_breaker                   # Inner: prevent cascade failures
    def robust_external_call():
        return external_service.call()
"""

MIGRATED = """
    # After
    @retry(max_attempts=3, delay=1.0)
    @timeout(seconds=30)
    def fetch_data():
        return requests.get(url).json()
"""


class RequestException(Exception):  # noqa: N818 - its name in requests
    pass


class PredictRequest:
    def dict(self) -> dict[str, int]:
        return {"feature": 1}


class ModelApi:
    """The external model: up, or down."""

    def __init__(self) -> None:
        self.is_up = True
        self.calls = 0

    def post(self, url: str, json: object, timeout: float) -> Any:
        assert (json, timeout) == ({"feature": 1}, 10)
        self.calls += 1
        if not self.is_up:
            raise RequestException("down")
        return SimpleNamespace(json=lambda: "external")


class Endpoint:
    """The example, and the API it depends on."""

    def __init__(self, guide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        router = SimpleNamespace(post=lambda path: lambda function: function)
        fastapi = ModuleType("fastapi")
        vars(fastapi).update(APIRouter=lambda: router, HTTPException=Exception)
        monkeypatch.setitem(sys.modules, "fastapi", fastapi)
        self.api = ModelApi()
        self.logger = Mock()
        self.example = guide(
            ENDPOINT,
            RequestException=RequestException,
            PredictRequest=PredictRequest,
            requests=self.api,
            logger=self.logger,
            local_model_predict=lambda data: "local",
        )

    async def predict(self, times: int = 1) -> list[str]:
        return [await self.example.predict(PredictRequest()) for _ in range(times)]


@pytest.fixture
def endpoint(guide: Any, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    return Endpoint(guide, monkeypatch)


@pytest.mark.anyio
async def test_endpoint_service_is_up_answers_with_the_external_model(endpoint: Endpoint) -> None:
    assert await endpoint.predict(3) == ["external"] * 3
    assert endpoint.logger.mock_calls == []


@pytest.mark.anyio
async def test_endpoint_service_is_down_answers_locally_and_asks_five_times_only(endpoint: Endpoint) -> None:
    endpoint.api.is_up = False
    assert await endpoint.predict(20) == ["local"] * 20
    assert endpoint.api.calls == 5
    assert endpoint.logger.error.mock_calls == [call("Prediction failed: down")] * 5
    assert endpoint.logger.warning.mock_calls == [call("Using local fallback model")] * 15


@pytest.mark.anyio
async def test_endpoint_that_checks_the_state_recovers_when_the_service_is_back(
    endpoint: Endpoint, telemetrix_clock: VirtualClock
) -> None:
    endpoint.api.is_up = False
    await endpoint.predict(5)
    endpoint.api.is_up = True
    assert await endpoint.predict() == ["local"]
    telemetrix_clock.advance(120)
    assert await endpoint.predict(2) == ["external"] * 2
    assert endpoint.example.model_api_circuit.state == CircuitState.CLOSED


@pytest.mark.anyio
async def test_endpoint_that_checks_the_state_asks_once_per_recovery_timeout_while_the_service_stays_down(
    endpoint: Endpoint, telemetrix_clock: VirtualClock
) -> None:
    endpoint.api.is_up = False
    await endpoint.predict(5)
    for _ in range(3):
        telemetrix_clock.advance(120)
        assert await endpoint.predict(10) == ["local"] * 10
    assert endpoint.api.calls == 5 + 3


@pytest.mark.anyio
async def test_endpoint_that_decorates_within_each_request_leaves_nothing_behind(endpoint: Endpoint) -> None:
    await endpoint.predict(2)
    registered: list[OperationRegistered] = []
    with subscribe(registered.append, to=OperationRegistered):
        known = len(registered)
        await endpoint.predict(50)
    assert len(registered) == known
    gc.collect()
    assert not [
        left
        for left in gc.get_objects()
        if isinstance(left, types.FunctionType) and left.__qualname__.endswith("call_external_model")
    ]


# Layers


def layered(guide: Any, service: Callable[[], object]) -> Any:
    return guide(LAYERED, external_service=SimpleNamespace(call=service)).robust_external_call


def test_layered_defense_transient_failures_are_retried(guide: Any, telemetrix_clock: VirtualClock) -> None:
    service = Script([ConnectionError, ConnectionError, "answer"])
    assert layered(guide, service)() == "answer"
    assert len(telemetrix_clock.sleeps) == 2


def test_layered_defense_fifth_failure_opens_the_circuit_and_ends_the_retries(guide: Any) -> None:
    service = Script([ConnectionError])
    robust_external_call = layered(guide, service)
    with pytest.raises(ConnectionError):
        robust_external_call()
    with pytest.raises(CircuitOpenError):
        robust_external_call()
    assert service.calls == 5
    with pytest.raises(CircuitOpenError):
        robust_external_call()
    assert service.calls == 5


def test_layered_defense_service_hangs_raises_after_30_seconds(guide: Any, telemetrix_clock: VirtualClock) -> None:
    over, ended = threading.Event(), threading.Event()

    def hang() -> None:
        telemetrix_clock.advance(30)
        over.wait(10)
        ended.set()

    with pytest.raises(OperationTimeout):
        layered(guide, hang)()
    over.set()
    assert ended.wait(10)


def test_layered_defense_failures_use_up_the_30_seconds_no_wait_goes_past_them(
    guide: Any, telemetrix_clock: VirtualClock
) -> None:
    def slow() -> None:
        telemetrix_clock.advance(29.999999)
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        layered(guide, slow)()
    assert telemetrix_clock.sleeps == []
    assert "gave up after 1 attempt in 30 s: deadline" in caught.value.__notes__[0]


def test_migrated_function_each_attempt_has_30_seconds_of_its_own(guide: Any, telemetrix_clock: VirtualClock) -> None:
    over, ended = threading.Event(), threading.Event()
    runs = 0

    def get(url: str) -> Any:
        nonlocal runs
        runs += 1
        if runs == 1:
            telemetrix_clock.advance(31)
            over.wait(10)
            ended.set()
        telemetrix_clock.advance(20)
        return SimpleNamespace(json=lambda: json.loads('{"from": "attempt 2"}'))

    example = guide(MIGRATED, requests=SimpleNamespace(get=get), url="https://example.com")
    assert example.fetch_data() == {"from": "attempt 2"}
    over.set()
    assert ended.wait(10)
