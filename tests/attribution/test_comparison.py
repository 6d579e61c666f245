"""All models over the same journeys: every column sums to the orders, and a small month that a person can follow."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.comparison import DIMENSIONS, DIRECT, MODELS, SPANS, Comparison, Journey, Line, Met, Missed, compare
from attribution.weights import weights
from core.clock import DAY, HOUR
from core.money import allocate

ANNA, BEN, VISIT = Met("anna", "web", 4 * DAY), Met("ben", "app", DAY), Met(DIRECT, DIRECT, HOUR)
MONTH = [
    Journey("EUR", 100_00, (ANNA, BEN, VISIT), (("ben", "app", Fraction(1)),)),
    Journey("EUR", 10_01, (Met("anna", "web", 2 * DAY), Met("anna", "web", HOUR)), (("anna", "web", Fraction(1, 2)),)),
    Journey("EUR", 50_00),
]


def line(found: Comparison, key: str) -> Line:
    return next(one for dimension in DIMENSIONS for one in found.lines[dimension] if one.key == key)


def minor(found: Comparison, key: str) -> dict[str, int]:
    return {model: one.value_minor for model, one in line(found, key).models.items()}


def test_a_small_month_under_every_model() -> None:
    (found,) = compare(MONTH)

    assert (found.orders, found.value_minor, found.unmet) == (3, 160_01, 1)
    assert [one.key for one in found.lines["affiliate"]] == ["anna", DIRECT, "ben", ""]
    assert minor(found, "anna") | {"time_decay": 0} == {
        "as_decided": 5_00,
        "last": 10_01,
        "first": 110_01,
        "last_non_direct": 10_01,
        "linear": 43_34,
        "position": 50_01,
        "time_decay": 0,
        "shapley": 43_34,
        "markov": 39_04,
    }, "without anna nothing is left, without ben or the visit 10.01 of 110.01: 110.01 / (1 + 2 * 100 / 110.01)"
    assert line(found, "anna").models["markov"].conversions == 1, "1 / (1 + 1/2 + 1/2) of two orders"
    assert minor(found, "") == dict.fromkeys(MODELS, 50_00) | {"as_decided": 55_01}
    assert minor(found, "ben")["last_non_direct"] == minor(found, "ben")["as_decided"] == 100_00


def test_the_parts_that_are_played() -> None:
    (found,) = compare(MONTH)
    anna, ben = line(found, "anna"), line(found, "ben")

    assert (anna.orders, anna.introduced, anna.assists, anna.closed) == (2, 2, 1, 1)
    assert (ben.orders, ben.introduced, ben.assists, ben.closed) == (1, 0, 1, 0)


def test_paths_overlap_and_time_to_convert() -> None:
    (found,) = compare(MONTH)

    assert [(one.path, one.orders, one.value_minor) for one in found.paths["affiliate"]] == [
        (("anna", "ben", DIRECT), 1, 100_00),
        (("anna",), 1, 10_01),
    ]
    assert [(one.pair, one.orders) for one in found.overlap] == [(("anna", "ben"), 1)]
    assert found.waiting.median == 2 * DAY, "the lower of two"
    assert dict(zip([name for name, _ in SPANS], found.waiting.counts, strict=True)) == {name: 0 for name, _ in SPANS} | {
        "1 to 3 days": 1,
        "3 to 7 days": 1,
    }


def test_a_span_begins_where_the_one_before_it_ends() -> None:
    (found,) = compare([Journey("EUR", 1, (Met("anna", "web", age),)) for age in (0, HOUR - 1, HOUR, 30 * DAY - 1, 30 * DAY)])

    assert found.waiting.counts == (2, 1, 0, 0, 0, 1, 1)


def test_currencies_are_never_added_up() -> None:
    found = compare([*MONTH, Journey("JPY", 500, (ANNA,))])

    assert [(one.currency, one.value_minor, one.orders) for one in found] == [("EUR", 160_01, 3), ("JPY", 500, 1)]


def test_visitors_who_did_not_order_count_for_markov_alone() -> None:
    missed = [Missed(("ben",), ("app",), 7), Missed(("charlie",), ("call",), 2)]
    (alone,), (beside,) = compare(MONTH), compare(MONTH, missed)

    assert [model for model in MODELS if minor(alone, "ben")[model] != minor(beside, "ben")[model]] == ["markov"]
    assert minor(beside, "charlie") == dict.fromkeys(MODELS, 0)


def test_no_order_no_comparison_and_orders_without_a_journey_are_unattributed() -> None:
    assert compare([]) == ()
    (found,) = compare([Journey("EUR", 5_00), Journey("EUR", 0, earned=(("anna", "", Fraction(1)),), is_traced=False)], [])

    assert minor(found, "") == dict.fromkeys(MODELS, 5_00)
    assert {model: one.conversions for model, one in line(found, "").models.items()} == dict.fromkeys(MODELS, 2) | {"as_decided": 1}
    assert (found.untraced, found.waiting.median, found.overlap) == (1, None, ())


met = st.builds(
    Met, st.sampled_from(["anna", "ben", "charlie", DIRECT]), st.sampled_from(["web", "app", "pos", DIRECT]), st.integers(0, 40 * DAY)
)
journeys = st.builds(
    lambda currency, net, touches: Journey(currency, net, tuple(sorted(touches, key=lambda one: -one.age))),
    st.sampled_from(["EUR", "JPY"]),
    st.integers(0, 10**9),
    st.lists(met, max_size=5),
)
missed = st.none() | st.lists(
    st.builds(lambda path, visitors: Missed(path, path, visitors), st.sampled_from([("anna",), ("ben", "dora")]), st.integers(1, 9))
)


@given(st.lists(journeys, max_size=6), missed, st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=50)
def test_every_column_sums_to_all_orders_and_all_their_value(told: list[Journey], without: list[Missed] | None, order: int) -> None:
    for found in compare(told, without, order):
        for dimension in DIMENSIONS:
            for model in MODELS:
                column = [one.models[model] for one in found.lines[dimension]]
                assert sum(one.conversions for one in column) == found.orders, (dimension, model)
                assert sum(one.value_minor for one in column) == found.value_minor, (dimension, model)


@given(st.lists(journeys, min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_a_rule_model_gives_what_it_would_give_each_order(told: list[Journey]) -> None:
    """Except time decay, whose shares a report rounds to one in 2^40."""
    for found in compare(told):
        same = [one for one in told if one.currency == found.currency]
        for model in ("last", "first", "last_non_direct", "linear", "position", "shapley"):
            sums: dict[str, Fraction] = {one.key: Fraction(0) for one in found.lines["affiliate"]}
            for one in same:
                names = [touch.affiliate for touch in one.met]
                shares = weights(model, ["" if name == DIRECT else name for name in names], [touch.age for touch in one.met])
                for name, share in zip(names, shares, strict=True):
                    sums[name] += share * one.net_minor
                if not names:
                    sums[""] += one.net_minor
            keys = sorted(sums)
            expected = dict(zip(keys, allocate(found.value_minor, [sums[key] for key in keys]), strict=True))
            assert {one.key: one.models[model].value_minor for one in found.lines["affiliate"]} == expected, model


@given(st.lists(journeys, max_size=6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_the_journeys_does_not_matter(told: list[Journey], chance) -> None:
    shuffled = list(told)
    chance.shuffle(shuffled)

    assert compare(shuffled) == compare(told)
