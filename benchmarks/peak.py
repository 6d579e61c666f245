"""The most memory that a process and those it started held together, sampled while something runs."""

import os
import threading
from pathlib import Path
from types import TracebackType

EVERY_S = 0.25
PAGE = os.sysconf("SC_PAGE_SIZE")


class Peak:
    """Samples in a ``with`` block. ``mb`` counts what several processes share once for each, so that it is no less than the truth."""

    def __init__(self) -> None:
        self.mb = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak", daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.mb = max(self.mb, sum(map(_resident, ["self", *_children()])) >> 20)


def _children() -> list[str]:
    """Ids of the processes that this one's threads started."""
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:  # the thread has ended
            continue
    return found


def _resident(process: str) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except OSError:  # the process has ended
        return 0
