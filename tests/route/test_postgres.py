"""The same route with the books on PostgreSQL, as a cluster keeps them."""

from pathlib import Path

from tests.route.cast import catalogue
from tests.route.installation import Installation, click_id
from tests.route.test_journeys import order


def test_a_click_becomes_a_commission_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    fairshare = Installation(tmp_path / "var", FAIRSHARE_BOOKS_URL=postgres_url)
    try:
        fairshare.import_catalogue(catalogue())
        fairshare.start()
        clicked = click_id(fairshare.click("anna-north"))
        first = fairshare.post("/v1/orders", order("P-1", click_id=clicked))
        again = fairshare.post("/v1/orders", order("P-1", click_id=clicked))
        assert (first.status_code, first.content) == (200, again.content)
        assert fairshare.decided("P-1")["credits"][0]["affiliate_id"] == "anna"
        fairshare.stop()

        fairshare.run("attribute", "--once")
        verified = fairshare.run_json("verify")
        assert (verified["ok"], verified["commissions"]) == (True, 1)
        assert not (tmp_path / "var" / "books.sqlite").exists()
    finally:
        fairshare.close()
