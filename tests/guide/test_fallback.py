"""Section 3 of the guide: fallback strategies."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from telemetrix.testing import Script

BASIC = """
    from app.utils.error_recovery import fallback

    def use_cached_data():
        return cache.get("user_data", [])

    @fallback(use_cached_data)
    def get_live_data():
        # Try to get fresh data
        response = requests.get("/api/data")
        return response.json()
"""

WITH_ARGUMENTS = """
    def get_default_config(env: str):
        defaults = {
            "dev": {"timeout": 30},
            "prod": {"timeout": 10}
        }
        return defaults.get(env, {"timeout": 30})

    @fallback(get_default_config)
    def load_config(env: str):
        # Try to load from file
        with open(f"config.{env}.json") as f:
            return json.load(f)

    config = load_config("prod")  # Falls back to defaults if file missing
"""

CHAIN = """
    def tertiary_fallback():
        return "emergency_value"

    def secondary_fallback():
        # This might also fail
        return load_from_backup()

    @fallback(secondary_fallback)
    def primary_operation():
        return fetch_from_primary()

    # Can nest fallbacks
    @fallback(tertiary_fallback)
    @fallback(secondary_fallback)
    def highly_reliable_operation():
        return primary_operation()
"""


def test_basic_fallback_service_is_up_returns_live_data(guide: Any) -> None:
    requests = SimpleNamespace(get=lambda url: SimpleNamespace(json=lambda: f"live from {url}"))
    assert guide(BASIC, requests=requests, cache={}).get_live_data() == "live from /api/data"


@pytest.mark.parametrize(("cache", "answer"), [({"user_data": ["cached"]}, ["cached"]), ({}, [])])
def test_basic_fallback_service_is_down_returns_cached_data(guide: Any, cache: Any, answer: Any) -> None:
    requests = SimpleNamespace(get=Script([ConnectionError]))
    assert guide(BASIC, requests=requests, cache=cache).get_live_data() == answer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_fallback_with_arguments_file_is_missing_returns_the_default_of_that_argument(guide: Any) -> None:
    example = guide(WITH_ARGUMENTS, json=json)
    assert example.config == {"timeout": 10}
    assert example.load_config("dev") == {"timeout": 30}
    assert example.load_config(env="prod") == {"timeout": 10}


def test_fallback_with_arguments_file_is_there_returns_its_content(guide: Any, folder: Path) -> None:
    (folder / "config.prod.json").write_text('{"timeout": 1}', encoding="utf-8")
    assert guide(WITH_ARGUMENTS, json=json).config == {"timeout": 1}


def test_fallback_chain_everything_works_returns_the_primary_value(guide: Any) -> None:
    example = guide(CHAIN, fetch_from_primary=lambda: "primary", load_from_backup=lambda: "backup")
    assert example.highly_reliable_operation() == "primary"


def test_fallback_chain_primary_fails_returns_the_backup(guide: Any) -> None:
    example = guide(CHAIN, fetch_from_primary=Script([OSError]), load_from_backup=lambda: "backup")
    assert example.primary_operation() == "backup"
    assert example.highly_reliable_operation() == "backup"


def test_fallback_chain_primary_and_backup_fail_returns_the_emergency_value(guide: Any) -> None:
    backup = Script([LookupError])
    example = guide(CHAIN, fetch_from_primary=Script([OSError]), load_from_backup=backup)
    assert example.highly_reliable_operation() == "emergency_value"
    # Once as the handler of primary_operation, once as its own.
    assert backup.calls == 2


def test_fallback_chain_without_a_tertiary_raises_the_backups_error_chained_to_the_primarys(guide: Any) -> None:
    example = guide(CHAIN, fetch_from_primary=Script([OSError("primary")]), load_from_backup=Script([LookupError]))
    with pytest.raises(LookupError) as caught:
        example.primary_operation()
    assert isinstance(caught.value.__context__, OSError)
