"""What a process that the supervisor started does for it: to end when it is asked to, or the supervisor is gone."""

import os
import signal
import threading

STDIN = 0


def stop_with_supervisor() -> None:
    """End this process, as by SIGTERM, once the supervisor is gone."""

    def wait() -> None:
        while os.read(STDIN, 1024):  # not sys.stdin: a thread inside it would break the interpreter's exit
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()


def until_signal() -> threading.Event:
    """An event that is set by SIGINT or SIGTERM."""
    stop = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda _signal, _frame: stop.set())
    return stop
