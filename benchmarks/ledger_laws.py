"""Does any invariant of the ledger break under a million random operations?

``python -m benchmarks.ledger_laws [--operations 1000000] [--at-once 250] [--seed 1] [--database sqlite|postgresql]``

The suite's property test at length (tests/ledger_laws.py): orders, refunds, other decisions, holds, rejections, adjustments, batches,
closed months and failing connections, against a plain model, with the sums compared after every transaction. Exit code 1, and the
first thing that does not fit, where an invariant breaks. There is no baseline.
"""

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.result import machine, say, timed
from fairshare.output import log_to_stderr
from store.books import open_books
from store.migrate import migrate_books
from tests.ledger_laws import Laws
from tests.servers import postgres_database, running_postgres

TELL_EVERY = 10_000


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of empty, migrated books."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'books.sqlite'}"
        migrate_books(url)
        yield url
        return
    with running_postgres() as server, postgres_database(server, "laws") as url:
        migrate_books(url)
        yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--at-once", type=int, default=250, metavar="N", help="bookings in one transaction, at most")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", action="store_true", help="the default; there is no other form")
    log_to_stderr()
    asked = parser.parse_args()
    fault, said = "", 0
    with tempfile.TemporaryDirectory(prefix="fairshare-laws-") as name:
        about = machine(Path(name))
        with database(asked.database, Path(name)) as url, closing(open_books(url)) as books, timed() as timing:
            laws = Laws(books, asked.seed, asked.at_once)

            def told(done: int) -> None:
                nonlocal said
                if done - said >= TELL_EVERY:
                    said = done
                    say(f"{done:,} operations, {laws.last:,} entries")

            try:
                laws.run(asked.operations, told)
            except AssertionError:
                fault = traceback.format_exc(limit=-3)
    result = {
        "question": "does any invariant of the ledger break under random operations?",
        "database": asked.database, "seed": asked.seed, "at_once": asked.at_once, "operations": laws.operations, "entries": laws.last,
        "transactions": laws.steps, "by_kind": dict(sorted(laws.done.items())), "cpu_seconds": round(timing.cpu_seconds, 1),
        "seconds": round(timing.seconds, 1), "machine": about, "fault": fault,
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    sys.exit(1 if fault else 0)


if __name__ == "__main__":
    main()
