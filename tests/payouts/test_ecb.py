"""The European Central Bank's files, as they are published."""

from datetime import date

import pytest

from core.errors import BadInput
from payouts.ecb import MOST_FAULTS, Published, RateFault, read_reference_rates

TODAY = date(2026, 11, 21)
FRIDAY, THURSDAY = date(2026, 11, 20), date(2026, 11, 19)
HISTORY = b"""Date,USD,JPY,CYP,RUB,
2026-11-20,1.0834,162.43,N/A,N/A,
2026-11-19,1.083,162.1,N/A,N/A,
1999-01-04,1.1789,133.73,0.58231,N/A,
"""
DAILY = b"Date, USD, JPY, \n20 November 2026, 1.0834, 162.43, \n"
XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
\t<gesmes:subject>Reference rates</gesmes:subject>
\t<gesmes:Sender>
\t\t<gesmes:name>European Central Bank</gesmes:name>
\t</gesmes:Sender>
\t<Cube>
\t\t<Cube time='2026-11-20'>
\t\t\t<Cube currency='USD' rate='1.0834'/>
\t\t\t<Cube currency='JPY' rate='162.43'/>
\t\t</Cube>
\t\t<Cube time="2026-11-19"><Cube currency="USD" rate="1.083"/></Cube>
\t</Cube>
</gesmes:Envelope>
"""
USD, JPY = Published(FRIDAY, "USD", "1.0834"), Published(FRIDAY, "JPY", "162.43")


def test_the_history_has_a_column_for_each_currency_and_holes():
    found = read_reference_rates(b"\xef\xbb\xbf" + HISTORY, TODAY)

    before = [Published(date(1999, 1, 4), "JPY", "133.73"), Published(date(1999, 1, 4), "USD", "1.1789")]
    assert list(found.rates) == [*before, Published(THURSDAY, "JPY", "162.1"), Published(THURSDAY, "USD", "1.083"), JPY, USD]
    assert (found.unknown, found.faults) == (("CYP",), ())
    assert found.lines[FRIDAY, "USD"] == 2


def test_the_file_of_a_day_writes_it_in_words():
    assert read_reference_rates(DAILY, TODAY).rates == (JPY, USD)
    assert read_reference_rates(DAILY.replace(b"\n", b"\r\n"), TODAY).rates == (JPY, USD)


def test_xml_of_a_day_and_of_many_is_nested_cubes():
    found = read_reference_rates(XML, TODAY)

    assert found.rates == (Published(THURSDAY, "USD", "1.083"), JPY, USD)
    assert found.lines[FRIDAY, "USD"] == 9


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"2026-11-18,one,162", RateFault(5, "USD", "rate 'one' is not a positive decimal such as 1.0834")),
        (b"2026-11-18,0.000,162", RateFault(5, "USD", "rate '0.000' is not a positive decimal such as 1.0834")),
        (b"2026-11-18,-1,162", RateFault(5, "USD", "rate '-1' is not a positive decimal such as 1.0834")),
        (b"2026-11-18,1e3,162", RateFault(5, "USD", "rate '1e3' is not a positive decimal such as 1.0834")),
        (b"18.11.2026,1.1,162", RateFault(5, "", "date '18.11.2026' is not a day such as 2026-11-20")),
        (b"2062-11-18,1.1,162", RateFault(5, "", "date '2062-11-18' is after 2026-11-21, and what is imported stays")),
        (b"2026-11-20,1.1,162", RateFault(5, "USD", "2026-11-20 has a rate in line 2 already")),
    ],
)
def test_a_wrong_cell_is_told_by_its_line_and_the_others_are_read(row, fault):
    found = read_reference_rates(HISTORY + row + b",N/A,N/A,\n", TODAY)

    assert fault in found.faults
    assert USD in found.rates


def test_a_row_that_lost_a_cell_is_not_read_under_other_columns():
    found = read_reference_rates(HISTORY + b"2026-11-18,162,N/A,N/A,\n", TODAY)

    assert found.faults == (RateFault(5, "", "the row has 4 cells, the header has 5"),)
    assert not [rate for rate in found.rates if rate.on == date(2026, 11, 18)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not begin with Date"),
        (b"name,amount\nx,1\n", "does not begin with Date"),
        (b"Date,USD,\n", "holds no rates"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"<html><body/></html>", "holds no rates"),
        (b"<a><b></a>", "line 1: the file is not XML as it should be: mismatched tag"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "line 1: the file declares a document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "line 1: the file declares a document type"),
        (b'<?xml version="1.0" encoding="shift_jis"?><a/>', "not XML in UTF-8: multi-byte encodings are not supported"),
        (b'<?xml version="1.0" encoding="none"?><a/>', "not XML in UTF-8: unknown encoding: none"),
        (b"Date,USD,\n" + b"x,1,\n" * (MOST_FAULTS + 1), f"more than {MOST_FAULTS} faults, the first in line 2"),
    ],
)
def test_what_is_no_reference_file_is_refused_as_a_whole(data, said):
    with pytest.raises(BadInput, match=said):
        read_reference_rates(data, TODAY)
