"""The README, the pages under docs/ and the examples run; `page.py` beside this file says by which conventions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
RUNNER: Final = Path(__file__).with_name("page.py")
PAGES: Final = [path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if path.exists()]
EXAMPLES: Final = sorted(ROOT.glob("examples/*.py"))
LIMIT: Final = 50
"""Seconds; less than pytest's own limit, so that a page that hangs is reported with what it printed."""


def python(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter in an empty folder, with warnings as errors and no telemetry settings of the machine."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PROMETHEUS_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(  # noqa: S603 - this interpreter, our files
        [sys.executable, *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )


def ran_well(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it exited with 0 and left nothing behind: no unclosed file, no coroutine that nobody awaits."""
    # A warning in a finaliser is an error that cannot be raised: it shows up here only.
    return done.returncode == 0 and "Exception ignored" not in done.stderr


def expect_well(done: subprocess.CompletedProcess[str]) -> None:
    if not ran_well(done):
        pytest.fail(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)


def run_page(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return python(RUNNER, page, cwd=folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_every_python_block_runs_in_order(page: Path, tmp_path: Path) -> None:
    expect_well(python(RUNNER, page, cwd=tmp_path))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_run_as_a_script_exits_0(example: Path, tmp_path: Path) -> None:
    expect_well(python(example, cwd=tmp_path))


# The runner itself


def test_runner_block_that_fails_is_reported_with_page_line_and_source(tmp_path: Path) -> None:
    done = run_page("# Page\n\n```python\na = 1\n```\n\ntext\n\n```python\nb = a\nb / 0\n```\n", tmp_path)
    assert done.returncode == 1
    assert 'page.md", line 11' in done.stderr
    assert "b / 0" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_runner_block_marked_not_executed_is_skipped(tmp_path: Path) -> None:
    page = "<!-- not executed: needs a server -->\n\n```python\n1 / 0\n```\n\n```python\nprint('next')\n```\n"
    done = run_page(page, tmp_path)
    assert (done.returncode, done.stdout) == (0, "next\n")


def test_runner_mark_without_a_reason_is_no_mark(tmp_path: Path) -> None:
    assert run_page("<!-- not executed: -->\n```python\n1 / 0\n```\n", tmp_path).returncode == 1


def test_runner_mark_counts_for_the_next_block_only(tmp_path: Path) -> None:
    page = "<!-- not executed: why -->\n```python\n1 / 0\n```\n```python\n2 / 0\n```\n"
    assert "2 / 0" in run_page(page, tmp_path).stderr


def test_runner_output_that_matches_passes(tmp_path: Path) -> None:
    page = "```python\nprint('a')\nprint('b')\n```\n\nIt prints:\n\n<!-- output -->\n```text\na\nb\n```\n"
    assert run_page(page, tmp_path).returncode == 0


def test_runner_output_that_differs_fails_and_shows_what_was_printed(tmp_path: Path) -> None:
    done = run_page("```python\nprint('a')\n```\n<!-- output -->\n```text\nb\n```\n", tmp_path)
    assert done.returncode == 1
    assert "the block above prints\na" in done.stderr


def test_runner_output_below_a_skipped_block_fails(tmp_path: Path) -> None:
    page = "<!-- not executed: why -->\n```python\nprint('a')\n```\n<!-- output -->\n```text\na\n```\n"
    assert "no executed block above" in run_page(page, tmp_path).stderr


def test_runner_other_languages_are_left_alone(tmp_path: Path) -> None:
    page = "```sh\nexit 1\n```\n\n```\nnot python\n```\n\n```pycon\n>>> 1 / 0\n```\n"
    assert run_page(page, tmp_path).returncode == 0


def test_runner_block_within_a_list_is_dedented(tmp_path: Path) -> None:
    done = run_page("1. First\n\n   ```python\n   if True:\n       print('in')\n   ```\n", tmp_path)
    assert (done.returncode, done.stdout) == (0, "in\n")


def test_runner_fence_of_four_ticks_may_contain_one_of_three(tmp_path: Path) -> None:
    assert run_page("````md\n```python\n1 / 0\n```\n````\n", tmp_path).returncode == 0


def test_runner_block_that_is_never_closed_fails(tmp_path: Path) -> None:
    assert "never closed" in run_page("```python\na = 1\n", tmp_path).stderr


def test_runner_coroutine_that_nobody_awaits_fails_the_page(tmp_path: Path) -> None:
    done = run_page("```python\nasync def f(): ...\nf()\n```\n", tmp_path)
    assert not ran_well(done)
    assert "never awaited" in done.stderr
