import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import ALPHABET, LENGTH, event_id, is_event_id, is_slug, mint, minted_at
from tests.strategies import slugs

times = st.integers(0, (1 << 48) - 1)
chances = st.integers(0, (1 << 80) - 1)


def test_an_id_prints_as_the_ulid_of_its_specification():
    """The example of github.com/ulid/spec: 1469918176385 ms begins 01ARYZ6S41."""
    assert event_id(1_469_918_176_385, 0) == "01ARYZ6S410000000000000000"
    assert event_id(1_469_918_176_385, (1 << 80) - 1) == "01ARYZ6S41ZZZZZZZZZZZZZZZZ"


@given(times, chances)
def test_an_id_says_when_it_was_minted(at, entropy):
    text = event_id(at, entropy)

    assert len(text) == LENGTH
    assert is_event_id(text)
    assert minted_at(text) == at


@given(st.lists(st.tuples(times, chances), min_size=2, max_size=6))
def test_ids_sort_by_time_and_then_by_chance(pairs):
    assert sorted(event_id(*pair) for pair in pairs) == [event_id(*pair) for pair in sorted(pairs)]


@pytest.mark.parametrize(("at", "entropy"), [(-1, 0), (1 << 48, 0), (0, -1), (0, 1 << 80)])
def test_what_does_not_fit_is_a_programming_error(at, entropy):
    with pytest.raises(AssertionError, match="an id holds"):
        event_id(at, entropy)


def test_minted_ids_differ_within_one_millisecond():
    assert len({mint(1_700_000_000_000) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01ARYZ6S41",
        "01ARYZ6S41000000000000000I",
        "81ARYZ6S410000000000000000",
        "01aryz6s410000000000000000",
        "01ARYZ6S410000000000000000\n",
    ],
)
def test_other_texts_are_no_ids(text):
    assert not is_event_id(text)


def test_the_alphabet_is_crockfords_without_i_l_o_u():
    assert len(ALPHABET) == 32
    assert not set("ILOU") & set(ALPHABET)


@given(slugs)
def test_slugs_are_recognised(slug):
    assert is_slug(slug)


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "ä", "a b", "a_b", "a/b", "a.b", "a" * 64, "a\n", "..", "٣"])
def test_what_would_need_escaping_is_no_slug(text):
    assert not is_slug(text)


@pytest.mark.parametrize("text", ["a", "0", "a-b", "a--b", "a" * 63])
def test_a_slug_may_be_short_or_long(text):
    assert is_slug(text)
