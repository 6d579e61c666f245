"""How paths are written and shortened: literals of other tools, and laws for every path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.paths import (
    chained,
    exposure,
    first,
    frequency,
    parse_path,
    parse_transform,
    remove_if_last_and_not_all,
    remove_if_not_all,
    transform,
    trim_long_path,
    unique,
    without_count,
    write_path,
)
from core.errors import BadInput

paths = st.lists(st.sampled_from(["A", "B", "C", "Direct"]), min_size=1, max_size=12).map(tuple)
names = st.text(st.characters(exclude_characters=">", exclude_categories=("C", "Z")), min_size=1)


def test_blanks_around_a_channel_are_trimmed() -> None:
    assert parse_path("  Paid Search>Display  > E-mail ") == ("Paid Search", "Display", "E-mail")


@pytest.mark.parametrize("text", ["", "  ", "A >", "> A", "A > > B"])
def test_an_empty_channel_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="empty channel"):
        parse_path(text)


@given(st.lists(names, min_size=1).map(tuple))
def test_a_written_path_reads_back(path: tuple[str, ...]) -> None:
    assert parse_path(write_path(path)) == path


def test_each_transform_on_one_path() -> None:
    path = tuple("DABBCDCC")

    assert unique(path) == path
    assert "".join(exposure(path)) == "DABCDC"
    assert "".join(first(path)) == "DABC"
    assert frequency(path) == ("D(2)", "A(1)", "B(2)", "C(3)")
    assert "".join(trim_long_path(path, 3)) == "DCC"
    assert "".join(remove_if_not_all(path, "C")) == "DABBD"
    assert "".join(remove_if_last_and_not_all(path, "C")) == "DABBCD"


def test_transforms_are_done_in_the_stated_order() -> None:
    path = ("A", "A", "B", "Direct", "Direct")
    steps = [parse_transform("trim_long_path(3)"), parse_transform("remove_if_not_all(Direct)")]

    assert chained(steps)(path) == ("B",)
    assert chained(steps[::-1])(path) == ("A", "A", "B")


@pytest.mark.parametrize(
    "text", ["", "shortest", "first(2)", "trim_long_path", "trim_long_path(x)", "remove_if_not_all", "trim_long_path(-1)"]
)
def test_what_is_no_transform_is_named(text: str) -> None:
    with pytest.raises(BadInput, match="trim_long_path"):
        parse_transform(text)


@given(paths)
def test_exposure_and_first_do_nothing_twice(path: tuple[str, ...]) -> None:
    assert exposure(exposure(path)) == exposure(path)
    assert first(first(path)) == first(path)
    assert first(exposure(path)) == first(path)
    assert all(one != other for one, other in zip(exposure(path), exposure(path)[1:], strict=False))


@given(paths)
def test_frequency_is_first_with_counts_that_sum_to_the_path(path: tuple[str, ...]) -> None:
    counted = frequency(path)

    assert tuple(without_count(channel) for channel in counted) == first(path)
    assert sum(int(channel.rpartition("(")[2][:-1]) for channel in counted) == len(path)


@given(paths, st.integers(0, 20))
def test_trimming_keeps_the_latest_and_never_lengthens(path: tuple[str, ...], most: int) -> None:
    trimmed = trim_long_path(path, most)

    assert path[len(path) - len(trimmed) :] == trimmed
    assert len(trimmed) == (min(len(path), most) if most else len(path))


@given(paths)
def test_removing_never_empties_a_path(path: tuple[str, ...]) -> None:
    everywhere, at_the_end = remove_if_not_all(path, "Direct"), remove_if_last_and_not_all(path, "Direct")

    assert everywhere
    assert at_the_end == path[: len(at_the_end)]
    if set(path) != {"Direct"}:
        assert "Direct" not in everywhere
        assert at_the_end[-1] != "Direct"
        assert remove_if_not_all(at_the_end, "Direct") == everywhere


def test_a_transform_by_name_takes_its_argument_as_a_number_or_a_text() -> None:
    assert transform("trim_long_path", 1)(("A", "B")) == transform("trim_long_path", "1")(("A", "B")) == ("B",)
