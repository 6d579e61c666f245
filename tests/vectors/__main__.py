"""``python -m tests.vectors DIR``: every file of expected results in DIR, run through the product's own functions.

A line per case and a total; exit code 1 where one fails or nothing was found. Formats are recognised by content (``cases.py``); what is
none of them is named and skipped.
"""

import sys
from pathlib import Path

from tests.vectors.cases import INPUTS, Case, Folder


def run(folder: Path) -> tuple[int, int]:
    """Print a line per case; how many passed, and how many failed."""
    files, passed, failed = Folder(folder), 0, 0
    for name, known in files.formats.items():
        if not known or known in INPUTS:
            print(f"---- {name}: {f'{known}, an input of others' if known else 'not a known format, skipped'}")  # noqa: T201
            continue
        for case in files.cases(name):
            verdict, remark = outcome(case)
            passed, failed = passed + (verdict == "ok"), failed + (verdict != "ok")
            print(f"{verdict:4} {name}: {case.name}{': ' * bool(remark)}{remark}")  # noqa: T201
    return passed, failed


def outcome(case: Case) -> tuple[str, str]:
    """``ok`` or ``FAIL``, and what there is to say. An error of any kind is a failure of its case, and of no other."""
    try:
        return "ok", case.check()
    except AssertionError as error:
        return "FAIL", str(error)
    except Exception as error:
        return "FAIL", f"{type(error).__name__}: {error}"


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python -m tests.vectors DIR")
    passed, failed = run(Path(sys.argv[1]))
    print(f"{passed + failed} cases: {passed} passed, {failed} failed")  # noqa: T201
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
