"""A whole tracker process on a disk that fails on command: ``faulty_tracker.py FAULT_FILE DATA BOOKS_URL PORT OVERLOAD DURABILITY``.

The first word of the fault file says what the disk does now; no file, and it is well. At its end the process prints how many
syncs of segments it asked for.
"""

import asyncio
import errno
import os
import sys
import time
from pathlib import Path

from core.settings import Settings
from tracker.files import SystemFiles
from tracker.serve import serve

SECRET = "a-secret-of-the-test-installation!"
SLOW_S = 0.005


class FaultyDisk(SystemFiles):
    """``full``, ``read-only``, ``sync-fails``, ``sync-fails-once``, ``slow``; of all files, so that counters fail too."""

    def __init__(self, order: Path) -> None:
        self._order = order
        self.syncs = 0

    def _refuse(self, *orders: str) -> None:
        order = self._now()
        if order in orders:
            code = {"full": errno.ENOSPC, "read-only": errno.EROFS}.get(order, errno.EIO)
            raise OSError(code, os.strerror(code))

    def _now(self) -> str:
        try:
            return self._order.read_text()
        except FileNotFoundError:
            return ""

    def create(self, path: Path) -> int:
        self._refuse("full", "read-only")
        return super().create(path)

    def draft(self, path: Path) -> int:
        self._refuse("full", "read-only")
        return super().draft(path)

    def write(self, file: int, data: memoryview) -> int:
        if self._now() == "full" and len(data) > 20:
            return super().write(file, data[:20])  # as a real disk: a little still fits
        self._refuse("full", "read-only")
        return super().write(file, data)

    def sync(self, file: int) -> None:
        self.syncs += 1
        if self._now() == "slow":
            time.sleep(SLOW_S)
        if self._now() == "sync-fails-once":
            self._order.unlink()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._refuse("sync-fails")
        super().sync(file)

    def truncate(self, file: int, size: int) -> None:
        self._refuse("read-only")
        super().truncate(file, size)

    def remove(self, path: Path) -> None:
        self._refuse("read-only")
        super().remove(path)


def main() -> None:
    order, data, books, port, overload, durability = sys.argv[1:]
    disk = FaultyDisk(Path(order))
    settings = Settings(data=Path(data), books_url=books, tracker_port=int(port), overload=overload, durability=durability, secret=SECRET)
    asyncio.run(serve(settings, "t0", files=disk))
    sys.stdout.write(f"{disk.syncs}\n")


if __name__ == "__main__":
    main()
