"""``fairshare track`` as the supervisor types it, without the library that reads command lines.

A tracker that died must answer again within a second, and half of that would go into reading two options. So what this
module cannot read goes to :mod:`fairshare.commands`, which has the same command with its help and its error messages, and
whatever a tracker does not need is not imported on this way (``tests/fairshare/test_track.py`` holds the list).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from core.settings import read_settings

TRACKER_ID = "t0"


class Track(NamedTuple):
    """The options of ``fairshare track``."""

    data: Path | None = None
    tracker_id: str = TRACKER_ID
    supervised: bool = False


def read_track(arguments: Sequence[str]) -> Track | None:
    """A plain ``track [--data DIR] [--tracker-id ID] [--supervised]``; None where there is anything else to read or to say."""
    if arguments[:1] != ["track"]:
        return None
    asked, rest = Track(), list(arguments[1:])
    while rest:
        match rest:
            case ["--supervised", *rest]:
                asked = asked._replace(supervised=True)
            case ["--data", folder, *rest] if _is_value(folder):
                asked = asked._replace(data=Path(folder))
            case ["--tracker-id", name, *rest] if _is_value(name):
                asked = asked._replace(tracker_id=name)
            case _:
                return None
    return asked


def start_tracker(asked: Track) -> None:
    """Run one tracker process until a signal.

    Raises:
        StoreVersionError: alone, without a supervisor, on books that this program does not know.
        FairshareError: as :func:`tracker.serve.run_tracker`, and where nothing is installed.
    """
    from fairshare.books import require_known_books
    from fairshare.child import stop_with_supervisor
    from tracker.serve import run_tracker

    settings = read_settings(os.environ, data=asked.data)
    if asked.supervised:
        stop_with_supervisor()
    else:
        require_known_books(settings)
    run_tracker(settings, asked.tracker_id)


def _is_value(text: str) -> bool:
    return text != "" and not text.startswith("-")
