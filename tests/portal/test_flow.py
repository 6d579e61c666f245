"""The picture of paths: where things stand, that nothing is lost between columns, and that its words are its table."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from portal.flow import COLUMNS, GAP, KEYS, LOWEST, WIDTH_OF_COLUMN, flow

paths = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdefghijklmn"), min_size=1, max_size=7).map(tuple), st.integers(1, 1000)), min_size=1, max_size=30
)


def test_two_paths() -> None:
    drawn = flow([(("anna", "ben"), 3), (("ben",), 1)], str.title)

    assert drawn is not None
    assert [(node.name, node.orders, node.x) for node in drawn.nodes] == [("Anna", 3, 0), ("Ben", 4, WIDTH_OF_COLUMN)]
    assert [(link.before, link.here, link.there, link.orders) for link in drawn.links] == [("Before that", "Anna", "Ben", 3)]
    assert [text for _, text in drawn.heads] == ["Before that", "Last touch"]
    assert drawn.bands[0].d.startswith("M10,28.0C115,28.0 115,28.0 220,28.0L220,298.0")


def test_nothing_to_draw() -> None:
    assert flow([], str) is None
    assert flow([((), 5), (("a",), 0)], str) is None


def test_long_paths_begin_with_what_came_earlier() -> None:
    drawn = flow([(tuple("abcdefg"), 1)], str)

    assert drawn is not None
    assert [node.name for node in drawn.nodes] == ["Earlier touches", "e", "f", "g"]


@given(paths)
@settings(deadline=None)
def test_a_column_is_never_crowded_and_nothing_overlaps(told: list[tuple[tuple[str, ...], int]]) -> None:
    drawn = flow(told, str)
    assert drawn is not None
    assert len(drawn.heads) <= COLUMNS

    for x, _ in drawn.heads:
        column = [node for node in drawn.nodes if node.x == x]
        assert len(column) <= KEYS
        for above, below in pairwise(column):
            assert abs(below.y - above.y - above.height - GAP) < 0.2
        assert all(node.height >= LOWEST and node.y + node.height <= drawn.height for node in column)


@given(paths)
@settings(deadline=None)
def test_every_order_ends_in_the_last_column_and_comes_from_somewhere(told: list[tuple[tuple[str, ...], int]]) -> None:
    drawn = flow(told, str)
    assert drawn is not None

    last = max(x for x, _ in drawn.heads)
    assert sum(node.orders for node in drawn.nodes if node.x == last) == sum(orders for _, orders in told)
    longer = sum(orders for path, orders in told if len(path) > 1)
    assert sum(link.orders for link in drawn.links if link.before == "Before that") == longer
    assert sorted(link.orders for link in drawn.links) == sorted(band.orders for band in drawn.bands)
