"""The door of ``fairshare``: a plain ``track`` starts at once, and :mod:`fairshare.commands` has every command."""

import sys

from core.errors import FairshareError, InUse, SettingsError, StoreVersionError
from fairshare.track import read_track, start_tracker


def main() -> None:
    """Run the command line. Exit code 0: done; 1: it failed and says why; 2: it could not start as asked."""
    try:
        run(sys.argv[1:])
    except (SettingsError, InUse, StoreVersionError) as error:
        _end(error, 2)
    except (FairshareError, OSError) as error:
        _end(error, 1)


def run(arguments: list[str]) -> None:
    """Do what the arguments ask."""
    tracker = read_track(arguments)
    if tracker:
        start_tracker(tracker)
        return
    from fairshare.commands import app  # here: what it imports costs a tracker more than it has time to start

    app(arguments)


def _end(error: Exception, code: int) -> None:
    print(f"fairshare: {error}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
