"""The picture of the commonest paths: columns of touches, the last before the order on the right, and bands between them.

Paths and their orders in, SVG coordinates out; the page needs no script to draw it.
"""

from collections.abc import Callable, Sequence

import msgspec

Path = tuple[str, ...]

COLUMNS = 4
"""So many touches before the order are drawn; what came earlier is one node."""
WIDTH_OF_COLUMN = 220
NODE_WIDTH, GAP, LOWEST, TALLEST = 10, 10, 18, 360
HEAD = 28
KEYS = 8
"""So many are drawn in a column; the others are one node."""
EARLIER, OTHERS = "\0earlier", "\0others"
"""Stand for all touches that are not drawn one by one."""


class Node(msgspec.Struct):
    """A key in a column. ``text_y`` is the base line of its label."""

    key: str
    name: str
    orders: int
    x: int
    y: float = 0.0
    height: float = 0.0
    is_open: bool = False

    @property
    def text_y(self) -> float:
        return round(self.y + self.height / 2 + 4, 1)


class Band(msgspec.Struct, frozen=True):
    """Orders that came from one node to the next: a closed SVG path, and what a pointer over it is told."""

    d: str
    orders: int
    here: str
    there: str


class Link(msgspec.Struct, frozen=True):
    """A band in words: orders that came from one node to the next. ``before`` says which touch the first one is."""

    before: str
    here: str
    there: str
    orders: int


class Flow(msgspec.Struct, frozen=True):
    """``heads`` are the columns' titles with their place; ``links`` say what the picture shows."""

    nodes: tuple[Node, ...]
    bands: tuple[Band, ...]
    links: tuple[Link, ...]
    heads: tuple[tuple[int, str], ...]
    width: int
    height: int


def flow(paths: Sequence[tuple[Path, int]], name_of: Callable[[str], str]) -> Flow | None:
    """The picture of ``(path, orders)``; None where there is nothing to draw."""
    drawn = [(_shortened(path), orders) for path, orders in paths if path and orders > 0]
    if not drawn:
        return None
    depth = max(len(path) for path, _ in drawn)
    drawn = _grouped(drawn, depth)
    columns = [_nodes(drawn, place, depth, name_of) for place in range(depth)]
    tallest = max(sum(node.orders for node in column.values()) for column in columns)
    for column in columns:
        _stack(column, TALLEST / tallest)
    nodes = [node for column in columns for node in column.values()]
    bands = [(place, band) for place in range(depth - 1) for band in _bands(drawn, columns, place, depth)]
    links = tuple(Link(_head(depth - place), band.here, band.there, band.orders) for place, band in sorted(bands, key=_by_place))
    heads = tuple((_x(place, depth), _head(depth - place)) for place in range(depth))
    height = round(max(node.y + node.height for node in nodes)) + GAP
    return Flow(tuple(nodes), tuple(band for _, band in bands), links, heads, depth * WIDTH_OF_COLUMN, height)


def _by_place(placed: tuple[int, Band]) -> tuple[int, int, str, str]:
    place, band = placed
    return -place, -band.orders, band.here, band.there


def _shortened(path: Path) -> Path:
    return path if len(path) <= COLUMNS else (EARLIER, *path[-COLUMNS + 1 :])


def _grouped(drawn: Sequence[tuple[Path, int]], depth: int) -> list[tuple[Path, int]]:
    """The rarest keys of each column as one, where it has more than ``KEYS``."""
    kept = []
    for place in range(depth):
        orders = _orders(drawn, place, depth)
        ranked = sorted(orders, key=lambda key: (key != EARLIER, -orders[key], key))
        kept.append(set(ranked if len(ranked) <= KEYS else ranked[: KEYS - 1]))
    return [
        (tuple(key if key in kept[depth - len(path) + index] else OTHERS for index, key in enumerate(path)), orders)
        for path, orders in drawn
    ]


def _orders(drawn: Sequence[tuple[Path, int]], place: int, depth: int) -> dict[str, int]:
    orders: dict[str, int] = {}
    for path, count in drawn:
        key = _at(path, place, depth)
        if key is not None:
            orders[key] = orders.get(key, 0) + count
    return orders


def _x(place: int, depth: int) -> int:
    assert place < depth, "a column stands on the picture"
    return place * WIDTH_OF_COLUMN


def _head(before: int) -> str:
    return {1: "Last touch", 2: "Before that"}.get(before, f"{before} touches before the order")


def _at(path: Path, place: int, depth: int) -> str | None:
    """The touch of a path in a column, counted from the right; None where the path begins later."""
    index = place - (depth - len(path))
    return path[index] if index >= 0 else None


def _nodes(drawn: Sequence[tuple[Path, int]], place: int, depth: int, name_of: Callable[[str], str]) -> dict[str, Node]:
    """The column's keys, most orders first; those that stand for several come last."""
    said = {EARLIER: "Earlier touches", OTHERS: "Others"}
    ranked = sorted(_orders(drawn, place, depth).items(), key=lambda item: (item[0] in said, -item[1], item[0]))
    return {key: Node(key, said.get(key) or name_of(key), count, _x(place, depth), is_open=key in said) for key, count in ranked}


def _stack(column: dict[str, Node], scale: float) -> None:
    """One below the other, each tall enough for its label."""
    y = float(HEAD)
    for node in column.values():
        node.y, node.height = round(y, 1), round(max(node.orders * scale, LOWEST), 1)
        y = node.y + node.height + GAP


def _bands(drawn: Sequence[tuple[Path, int]], columns: Sequence[dict[str, Node]], place: int, depth: int) -> list[Band]:
    orders: dict[tuple[str, str], int] = {}
    for path, count in drawn:
        here, there = _at(path, place, depth), _at(path, place + 1, depth)
        if here is not None and there is not None:
            orders[here, there] = orders.get((here, there), 0) + count
    left, right = columns[place], columns[place + 1]
    ranks = {key: rank for column in (left, right) for rank, key in enumerate(column)}
    used_left, used_right = dict.fromkeys(left, 0.0), dict.fromkeys(right, 0.0)
    found = []
    for (here, there), count in sorted(orders.items(), key=lambda item: (ranks[item[0][0]], ranks[item[0][1]], item[0])):
        start, end = left[here], right[there]
        thick = (count / start.orders * start.height, count / end.orders * end.height)
        at = (start.y + used_left[here], end.y + used_right[there])
        used_left[here] += thick[0]
        used_right[there] += thick[1]
        bent = _band(start.x + NODE_WIDTH, at[0], thick[0], end.x, at[1], thick[1])
        found.append(Band(bent, count, start.name, end.name))
    return found


def _band(x0: int, y0: float, thick0: float, x1: int, y1: float, thick1: float) -> str:
    """A band between two edges, bent like an S."""
    middle = (x0 + x1) // 2
    there = f"M{x0},{y0:.1f}C{middle},{y0:.1f} {middle},{y1:.1f} {x1},{y1:.1f}"
    back = f"L{x1},{y1 + thick1:.1f}C{middle},{y1 + thick1:.1f} {middle},{y0 + thick0:.1f} {x0},{y0 + thick0:.1f}Z"
    return there + back
