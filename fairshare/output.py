"""What commands print: results on standard output, progress and errors on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

Advance = Callable[[int, int], None]
"""Told ``(done, total)`` as work goes on; ``total`` 0 means "not known"."""

PLAIN_EVERY_S = 5.0


def show(result: Any, text: str, as_json: bool) -> None:
    """Print a command's result: as JSON for programs, as ``text`` for people."""
    print(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() if as_json else text)  # noqa: T201


def say(line: str) -> None:
    """A line to the person at the terminal, kept apart from results."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def log_to_stderr() -> None:
    """What is logged goes to standard error from now on: standard output is the command's result, which programs read."""
    import structlog  # here: a tracker has no time for it

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """Show that long work is going on: a bar on a terminal, a plain line every few seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _plain(label)
        return
    from rich.console import Console  # here: most commands draw no bar, and it takes a twentieth of a second
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _plain(label: str) -> Advance:
    said_at = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PLAIN_EVERY_S or (total and done == total):
            said_at = time.monotonic()
            say(f"{label}: {done:,} of {total:,}" if total else f"{label}: {done:,}")

    return advance
