"""Generated paths for the tests of reports: few channels, so that paths repeat and meet."""

from fractions import Fraction

from hypothesis import strategies as st

from attribution.tally import Row

CHANNELS = ("A", "B", "C", "D", "Direct")
paths = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=6).map(tuple)
counts = st.integers(0, 4).map(Fraction)
amounts = st.integers(0, 10**6).map(lambda cents: Fraction(cents, 100))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A value only where there is a conversion that brought it."""
    conversions = draw(counts)
    return Row(draw(paths), conversions, draw(amounts) if conversions else Fraction(0), draw(counts))


tables = st.lists(rows(), max_size=8)
