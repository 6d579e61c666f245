"""Charts as geometry: numbers in, SVG coordinates out. The page needs no script to draw them.

A plot is 1000 units high and ``STEP`` wide per point; the style sheet stretches it to the page.
"""

from collections.abc import Callable, Sequence

import msgspec

from portal.words import number, plural

HEIGHT = 1000
STEP = 10


class Mark(msgspec.Struct, frozen=True):
    """One point of a plot: where its column stands, and its value in words (shown on hover and in the table)."""

    x: int
    y: int
    height: int
    label: str
    text: str


class Plot(msgspec.Struct, frozen=True):
    """One series. ``curve`` and ``under`` are SVG paths; ``scale`` are the labels of the top, middle and bottom line."""

    name: str
    shape: str
    width: int
    curve: str
    under: str
    marks: tuple[Mark, ...]
    scale: tuple[str, ...]
    total: str


class Chart(msgspec.Struct, frozen=True):
    """Plots over the same points. ``ends`` are the labels of the first, middle and last point."""

    title: str
    plots: tuple[Plot, ...]
    ends: tuple[str, ...]


def plot(
    name: str, labels: Sequence[str], values: Sequence[int], shape: str = "line", unit: str = "", write: Callable[[int], str] = number
) -> Plot:
    """A series of whole numbers from zero up.

    ``shape`` is ``line`` or ``columns``; ``unit`` is its singular noun; ``write`` says a value in words (money, for one).
    """
    assert len(labels) == len(values), "every value has a label"
    top = ceiling(max(values, default=0))
    heights = [value * HEIGHT // top for value in values]
    marks = tuple(
        Mark(i * STEP, HEIGHT - height, height, label, plural(value, unit) if unit else write(value))
        for i, (label, value, height) in enumerate(zip(labels, values, heights, strict=True))
    )
    points = " ".join(f"{mark.x + STEP // 2},{mark.y}" for mark in marks)
    width = len(values) * STEP
    under = f"M{STEP // 2},{HEIGHT} L{points} L{width - STEP // 2},{HEIGHT} Z" if marks else ""
    scale = (write(top), write(top // 2), write(0))
    return Plot(name, shape, width, f"M{points}" if marks else "", under, marks, scale, write(sum(values)))


def chart(title: str, labels: Sequence[str], plots: Sequence[Plot]) -> Chart:
    """Plots drawn one above the other: two scales on one picture would invite a comparison that means nothing."""
    ends = (labels[0], labels[len(labels) // 2], labels[-1]) if labels else ()
    return Chart(title, tuple(plots), ends)


def ceiling(highest: int) -> int:
    """The smallest round number at or above ``highest`` that has a whole half: 2, 4, 6, 8, 10, 12, 16, 20, 30, 40, 50, 60, 80, 100, …"""
    size = 1
    while highest > 10 * size:
        size *= 10
    steps = (20, 40, 60, 80, 100) if size == 1 else (12, 16, 20, 30, 40, 50, 60, 80, 100)
    return next(step * size // 10 for step in steps if step * size // 10 >= highest)


def bar(value: int, highest: int) -> int:
    """The length of a bar in a table, 0 to 1000; what is above zero is at least visible."""
    return max(value * 1000 // highest, 4) if value > 0 and highest > 0 else 0
