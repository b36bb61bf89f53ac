"""The command line: what each command does, prints and exits with."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from telemetrix import __version__
from telemetrix.cli import main
from telemetrix.telemetry.reference import metrics_page
from tests.services import ROOT

Capsys = pytest.CaptureFixture[str]


def test_docs__into_a_folder_that_does_not_exist__writes_the_page_and_says_so(tmp_path: Path, capsys: Capsys) -> None:
    assert main(["docs", "--out", str(tmp_path / "new" / "docs")]) == 0
    page = tmp_path / "new" / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == metrics_page()
    assert capsys.readouterr().out == f"wrote {page}\n"


def test_docs__over_an_old_page__replaces_it(tmp_path: Path) -> None:
    (tmp_path / "metrics.md").write_text("old")
    assert main(["docs", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "metrics.md").read_text(encoding="utf-8") == metrics_page()


def test_docs__written_twice__is_byte_for_byte_the_same(tmp_path: Path) -> None:
    main(["docs", "--out", str(tmp_path)])
    first = (tmp_path / "metrics.md").read_bytes()
    main(["docs", "--out", str(tmp_path)])
    assert (tmp_path / "metrics.md").read_bytes() == first
    assert b"\r" not in first


def test_docs_check__page_up_to_date__is_0_and_silent(tmp_path: Path, capsys: Capsys) -> None:
    main(["docs", "--out", str(tmp_path)])
    capsys.readouterr()
    assert main(["docs", "--check", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("content", [None, "", "# Metrics\n"], ids=["missing", "empty", "old"])
def test_docs_check__page_missing_or_stale__is_1_and_writes_nothing(
    tmp_path: Path, capsys: Capsys, content: str | None
) -> None:
    page = tmp_path / "metrics.md"
    if content is not None:
        page.write_text(content)
    assert main(["docs", "--check", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"{page} is not up to date: run `telemetrix docs`\n")
    assert (page.read_text() if page.exists() else None) == content


def test_docs_check__of_the_repository__is_0() -> None:
    assert main(["docs", "--check", "--out", str(ROOT / "docs")]) == 0


def test_docs__where_it_cannot_write__is_2_with_the_reason(tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["docs", "--out", str(tmp_path / "file")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("telemetrix docs: ")
    assert "file" in err
    assert err.count("\n") == 1


def test_docs_check__page_that_is_no_text__is_1_or_2_without_a_traceback(tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "metrics.md").write_bytes(b"\xff\xfe\x00")
    assert main(["docs", "--check", "--out", str(tmp_path)]) in {1, 2}
    assert "Traceback" not in capsys.readouterr().err


def test_version__asked_for__is_printed_and_0(capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"telemetrix {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["docs", "--help"], ["demo", "--help"]])
def test_help__asked_for__is_printed_and_0(capsys: Capsys, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: telemetrix" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["docs", "--unknown"],
        ["docs", "more"],
        ["docs", "--out"],
        ["demo", "--seconds", "many"],
        ["demo", "--port", "http"],
        ["demo", "--port", "1.5"],
    ],
    ids=" ".join,
)
def test_command_line__that_makes_no_sense__is_2_with_the_usage(capsys: Capsys, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("usage: telemetrix")


def test_module__run_as_a_program__is_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-m", "telemetrix", "docs", "--check", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not up to date" in done.stderr


def test_script__installed__is_the_command_line() -> None:
    script = Path(sysconfig.get_path("scripts")) / "telemetrix"
    done = subprocess.run(  # noqa: S603 - our own script
        [script, "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"telemetrix {__version__}\n", "")
