"""Long commands without the collector of cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collector of cycles: simulating and verifying make hardly any, and going through all their rows for them takes up
    to a third of the time.

    For a process of its own.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
