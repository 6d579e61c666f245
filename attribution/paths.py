"""A path is the channels that somebody met before an order, oldest first: how it is written, and how it is shortened.

The transforms are those of fractribution (Google, 2022). They may be chained; each works on what the one before it left.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

from core.errors import BadInput

Path = tuple[str, ...]
Transform = Callable[[Path], Path]

SEPARATOR = " > "
_COUNT = re.compile(r"\(\d+\)$")
_CALL = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)


def parse_path(text: str) -> Path:
    """Read ``A > B > C``. Blanks around a channel are trimmed; its name may hold anything but ``>``.

    Raises:
        BadInput: a channel is empty, as in ``A > > B`` or in an empty path.
    """
    path = tuple(channel.strip() for channel in text.split(">"))
    if not all(path):
        raise BadInput("malformed", f"path {text!r:.80} has an empty channel; write it like A > B > C", "path")
    return path


def write_path(path: Path) -> str:
    """The inverse of :func:`parse_path`."""
    return SEPARATOR.join(path)


# --- transforms ------------------------------------------------------------------------------------------------------


def unique(path: Path) -> Path:
    """The path as it is, despite the name: every touch counts."""
    return path


def exposure(path: Path) -> Path:
    """Consecutive repeats are one: ``A A B A`` is ``A B A``."""
    return tuple(channel for channel, _ in groupby(path))


def first(path: Path) -> Path:
    """Only the first time that each channel was met: ``A A B A`` is ``A B``."""
    return tuple(dict.fromkeys(path))


def frequency(path: Path) -> Path:
    """:func:`first`, each channel with how often it was met: ``A A B A`` is ``A(3) B(1)``; see :func:`without_count`."""
    return tuple(f"{channel}({times})" for channel, times in Counter(path).items())


def without_count(channel: str) -> str:
    """A channel as it was before :func:`frequency`: ``A(3)`` is ``A``. Reports strip the count."""
    return _COUNT.sub("", channel)


def trim_long_path(path: Path, most: int) -> Path:
    """The latest ``most`` touches; 0 keeps them all."""
    assert most >= 0, "a path has no negative length"
    return path[-most:] if most else path


def remove_if_not_all(path: Path, channel: str) -> Path:
    """Without ``channel``, unless the path has nothing else: the usual treatment of direct visits."""
    return tuple(one for one in path if one != channel) or path


def remove_if_last_and_not_all(path: Path, channel: str) -> Path:
    """Without the run of ``channel`` at the end, unless the path has nothing else."""
    kept = len(path)
    while kept and path[kept - 1] == channel:
        kept -= 1
    return path[:kept] or path


PLAIN: dict[str, Transform] = {"unique": unique, "exposure": exposure, "first": first, "frequency": frequency}
BY_CHANNEL: dict[str, Callable[[Path, str], Path]] = {
    "remove_if_not_all": remove_if_not_all,
    "remove_if_last_and_not_all": remove_if_last_and_not_all,
}
NAMES = (*PLAIN, "trim_long_path", *BY_CHANNEL)


def transform(name: str, argument: str | int | None = None) -> Transform:
    """A transform by its name: ``transform("trim_long_path", 5)``.

    Raises:
        BadInput: there is none of that name, its argument is missing, or it takes none.
    """
    given = "" if argument is None else str(argument)
    if name in PLAIN and not given:
        return PLAIN[name]
    if name == "trim_long_path" and re.fullmatch(r"\d{1,9}", given, re.ASCII):
        return lambda path: trim_long_path(path, int(given))
    if name in BY_CHANNEL and given:
        return lambda path: BY_CHANNEL[name](path, given)
    known = "unique, exposure, first, frequency, trim_long_path(N), remove_if_not_all(CHANNEL), remove_if_last_and_not_all(CHANNEL)"
    raise BadInput("malformed", f"path transform {name}({given!s:.60}) is not one of {known}", "transform")


def parse_transform(text: str) -> Transform:
    """A transform as people write it: ``exposure``, ``trim_long_path(5)``, ``remove_if_not_all(Direct)``.

    Raises:
        BadInput: as :func:`transform`.
    """
    match = _CALL.fullmatch(text.strip())
    return transform(match[1], match[2]) if match else transform(text.strip())


def chained(steps: Sequence[Transform]) -> Transform:
    """One transform that does all ``steps``, in this order."""

    def apply(path: Path) -> Path:
        for step in steps:
            path = step(path)
        return path

    return apply
