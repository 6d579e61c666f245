"""Commands on a stopped installation, as an operator types them."""

import json
from pathlib import Path

from tests.route.cast import PASSWORD
from tests.route.installation import Installation


def test_a_catalogue_goes_out_and_in_again_unchanged(stopped: Installation, tmp_path: Path) -> None:
    first = stopped.run("catalog", "export").stdout
    (tmp_path / "out.toml").write_text(first, "utf-8")
    elsewhere = Installation(tmp_path / "elsewhere")
    try:
        done = elsewhere.run("catalog", "import", str(tmp_path / "out.toml"), "--json")
        assert done.returncode == 0, done.stderr
        assert elsewhere.run("catalog", "export").stdout == first
    finally:
        elsewhere.close()


def test_a_bad_catalogue_names_every_fault_with_its_line_and_changes_nothing(stopped: Installation, tmp_path: Path) -> None:
    before = stopped.run("catalog", "export").stdout
    file = tmp_path / "bad.toml"
    file.write_text('[[tenant]]\nid = "West End"\nname = "West"\ncurrency = "EUX"\n\n[[coupon]]\ntenant = "nobody"\n', "utf-8")
    done = stopped.run("catalog", "import", str(file))

    assert done.returncode == 1
    for line in ("line 2", "line 4", "line 6"):
        assert line in done.stdout, done.stdout
    assert stopped.run("catalog", "export").stdout == before


def test_a_catalogue_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('[[tenant]]\nid = "north"\nname = "Zürich"\n'.encode("latin-1"))
    done = Installation(tmp_path / "var").run("catalog", "import", str(tmp_path / "latin.toml"))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fairshare: latin.toml is not UTF-8 from byte 33 on; save it as UTF-8\n"


def test_migrate_dry_run_prints_the_sql_and_creates_nothing(tmp_path: Path) -> None:
    fresh = Installation(tmp_path / "var")
    done = fresh.run("migrate", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE" in done.stdout
    assert not (tmp_path / "var" / "books.sqlite").exists()
    assert not (tmp_path / "var" / "events").exists()

    assert "books: 0001_books" in fresh.run("migrate").stdout
    assert fresh.run("migrate").stdout.strip() == "both stores are up to date"
    fresh.close()


def test_a_new_person_may_sign_in(stopped: Installation) -> None:
    weak = stopped.run("user", "add", "zoe@north.example", "--role", "analyst", "--tenant", "north", input="short\n")
    assert (weak.returncode, "at least" in weak.stderr) == (1, True)
    foreign = stopped.run("user", "add", "zoe@north.example", "--role", "analyst", "--tenant", "nowhere", input=PASSWORD + "\n")
    assert (foreign.returncode, "no tenant nowhere" in foreign.stderr) == (1, True)
    done = stopped.run("user", "add", "zoe@north.example", "--role", "analyst", "--tenant", "north", input=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr

    stopped.start()
    assert stopped.sign_in("zoe@north.example").get("/analyst").status_code == 200


def test_what_is_not_there_is_one_line(stopped: Installation, tmp_path: Path) -> None:
    unknown = stopped.run("explain", "N-1", "--tenant", "north")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.strip() == (
        "fairshare: tenant north has no decided order N-1; a new one is decided within seconds of its arrival"
    )

    nothing = Installation(tmp_path / "empty").run("verify")
    assert (nothing.returncode, len(nothing.stderr.strip().splitlines())) == (1, 1)
    assert "there is no installation" in nothing.stderr
    assert not (tmp_path / "empty").exists()


def test_verify_names_the_row_that_was_tampered_with(stopped: Installation) -> None:
    stopped.start()
    answer = {"order_id": "V-1", "currency": "EUR", "coupons": ["BERT10"], "lines": [{"line_id": "1", "net": "10.00"}], "total": "10.00"}
    assert stopped.post("/v1/orders", answer).status_code == 200
    stopped.decided("V-1")
    stopped.stop()
    stopped.run("attribute", "--once")
    assert stopped.run_json("verify") | {"heads": []} == {
        "ok": True,
        "full": True,
        "entries": 1,
        "earlier": 0,
        "commissions": 1,
        "batches": 0,
        "anchors": 0,
        "heads": [],
        "fault": None,
    }

    again = stopped.run_json("verify")
    assert (again["ok"], again["full"], again["entries"], again["earlier"]) == (True, False, 0, 1)
    assert stopped.run_json("recompute", "--tenant", "north") == {
        "ok": True,
        "orders": 1,
        "days": 0,
        "commissions": 1,
        "waiting": 0,
        "earlier": 0,
        "unbooked": 0,
        "differing": 0,
        "differences": [],
    }

    import sqlite3

    with sqlite3.connect(stopped.data / "books.sqlite") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE postings SET amount_minor = amount_minor * 2 WHERE number = 1")
        connection.execute("UPDATE commissions SET amount_minor = amount_minor + 1")
    connection.close()
    assert stopped.run_json("verify")["ok"], "it was verified before"
    broken = stopped.run("verify", "--full", "--json")
    assert broken.returncode == 1
    assert "1" in json.loads(broken.stdout)["fault"]
    differing = stopped.run("recompute", "--tenant", "north")
    assert (differing.returncode, "1 difference in 1 order" in differing.stdout, "line 1, bert: booked are" in differing.stdout) == (
        1,
        True,
        True,
    )
