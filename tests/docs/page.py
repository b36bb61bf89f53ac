"""Runs the Python of one page of documentation, as a reader would: top to bottom, in one interpreter.

    python tests/docs/page.py docs/retry.md

Conventions, all of them invisible to the page's readers:

* every block fenced as ```python is executed, in order, in one namespace;
* `<!-- not executed: reason -->` before a block skips it;
* `<!-- output -->` before any other fenced block makes it the expected output of the block above it.

A failing block ends with a traceback that names the page and the line. What a page prints is passed on.
"""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w+-]*)")
_SKIP: Final = re.compile(r"^\s*<!-- not executed: \S.* -->$")
_OUTPUT: Final = "<!-- output -->"


class Block(NamedTuple):
    """A fenced block: its text, the line its text begins at, and what the comment above it says."""

    language: str
    text: str
    line: int
    skipped: bool
    is_output: bool


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = iter(enumerate(page.splitlines(), start=1))
    above = ""
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            above = line or above  # an empty line between a comment and its block is allowed
            continue
        closing = fence["indent"] + fence["ticks"]
        body: list[str] = []
        for _, inner in lines:
            if inner.rstrip() == closing:
                break
            body.append(inner)
        else:
            raise SyntaxError(f"line {number}: this block is never closed")
        text = textwrap.dedent("\n".join(body)) + "\n"
        skipped = _SKIP.match(above) is not None
        yield Block(fence["language"], text, number + 1, skipped, above.strip() == _OUTPUT)
        above = ""


def run(path: Path) -> None:
    """Execute a page.

    Raises:
        AssertionError: a block printed something else than the page says.
        Whatever a block raises.
    """
    page = path.read_text(encoding="utf-8")
    # Tracebacks then quote the page.
    linecache.cache[str(path)] = (len(page), None, page.splitlines(keepends=True), str(path))
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module  # for pickle, typing.get_type_hints and names in telemetry
    printed: str | None = None
    for block in blocks_of(page):
        if block.is_output:
            if printed is None:
                raise AssertionError(f"{path}:{block.line}: there is no executed block above this output")
            if printed.rstrip() != block.text.rstrip():
                raise AssertionError(f"{path}:{block.line}: the block above prints\n{printed}")
        elif block.language == "python":
            printed = None if block.skipped else _execute(block, path, module)


def _execute(block: Block, path: Path, module: types.ModuleType) -> str:
    tree = ast.parse(block.text, str(path))
    ast.increment_lineno(tree, block.line - 1)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            # Not with this file's own __future__ imports.
            exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the page is ours
    finally:
        sys.stdout.write(printed.getvalue())
    return printed.getvalue()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
