"""A ClickHouse for benchmarks and tests where none is installed: chDB behind the engine's door, as a process that can be killed.

``python -m benchmarks.events_server FOLDER PORT`` with the password in ``FAIRSHARE_TEST_PASSWORD``; it serves until SIGTERM.
"""

import os
import signal
import sys
from pathlib import Path

from store.engine_door import USER, open_door


def address(port: int, password: str) -> str:
    """What ``FAIRSHARE_EVENTS_URL`` must be for the server at ``port``."""
    return f"clickhouse://{USER}:{password}@127.0.0.1:{port}/default?compress=False"


def main() -> None:
    folder, port = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    door = open_door(f"chdb://{Path(folder).absolute()}", int(port), os.environ["FAIRSHARE_TEST_PASSWORD"])
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    door.close()


if __name__ == "__main__":
    main()
