import re
from pathlib import Path

import msgspec
import pytest

from core.errors import SettingsError
from core.settings import Settings, environment_of, read_settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
SECRET = "s" * 32


def faults_of(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    return caught.value.faults


def test_nothing_needs_to_be_set():
    settings = read_settings({})

    assert settings == Settings()
    assert settings.is_embedded
    assert settings.books == f"sqlite:///{Path('var/books.sqlite').absolute()}"
    assert settings.events == f"chdb://{Path('var/events').absolute()}"
    assert settings.spool == Path("var/spool").absolute()
    assert (settings.tracker, settings.portal) == ("http://127.0.0.1:8700", "http://127.0.0.1:8701")


def test_variables_are_read_by_their_type():
    settings = read_settings(
        {
            "FAIRSHARE_DATA": "/srv/fairshare",
            "FAIRSHARE_TRACKERS": "4",
            "FAIRSHARE_TRUSTED_PROXIES": "10.0.0.1, 10.1.0.0/16,",
            "FAIRSHARE_BOOKS_URL": "postgresql+psycopg://u:p@db/fairshare",
            "FAIRSHARE_TRACKER_URL": "https://go.north.example/",
            "PATH": "/bin",
        }
    )

    assert settings.data == Path("/srv/fairshare")
    assert settings.trackers == 4
    assert settings.trusted_proxies == ("10.0.0.1", "10.1.0.0/16")
    assert settings.books == "postgresql+psycopg://u:p@db/fairshare"
    assert not settings.is_embedded
    assert settings.tracker == "https://go.north.example"


def test_a_redis_queue_leaves_the_spool_on_the_machine():
    for url in ("redis://user:word@queue:6379/0", "rediss://queue"):
        settings = read_settings({"FAIRSHARE_QUEUE_URL": url, "FAIRSHARE_DATA": "/srv/fairshare"})
        assert settings.has_redis_queue
        assert settings.spool == Path("/srv/fairshare/spool")
    assert not read_settings({"FAIRSHARE_QUEUE_URL": "file:///srv/spool"}).has_redis_queue


def test_an_option_wins_over_its_variable_and_none_does_not():
    settings = read_settings({"FAIRSHARE_TRACKER_PORT": "9000", "FAIRSHARE_PORTAL_PORT": "9001"}, tracker_port=9100, portal_port=None)

    assert (settings.tracker_port, settings.portal_port) == (9100, 9001)


def test_every_wrong_setting_is_told_at_once():
    faults = faults_of(
        {
            "FAIRSHARE_SPOOL_SYNC_MS": "lots",
            "FAIRSHARE_TRACKER_PORT": "70000",
            "FAIRSHARE_DURABILITY": "maybe",
            "FAIRSHARE_QUEUE_URL": "kafka://x",
            "FAIRSHARE_SECRET": "short",
            "FAIRSHARE_SPOOL_SINK_MS": "50",
        }
    )

    assert faults == [
        "FAIRSHARE_SPOOL_SINK_MS is not a setting",
        "FAIRSHARE_SPOOL_SYNC_MS='lots' is not a whole number",
        "FAIRSHARE_DURABILITY='maybe' is not one of strict, bounded",
        "FAIRSHARE_QUEUE_URL=(hidden) does not begin with file:/// or redis:// or rediss://",
        "FAIRSHARE_SECRET=(hidden) is shorter than 32 characters",
        "FAIRSHARE_TRACKER_PORT='70000' is not between 1 and 65535",
    ]


def test_the_error_counts_its_faults():
    with pytest.raises(SettingsError, match="1 setting is wrong: FAIRSHARE_NOPE is not a setting"):
        read_settings({"FAIRSHARE_NOPE": "1"})


@pytest.mark.parametrize("variable", ["FAIRSHARE_SECRET", "FAIRSHARE_BOOKS_URL", "FAIRSHARE_EVENTS_URL"])
def test_what_may_hold_a_password_is_never_printed(variable):
    assert "hunter2" not in str(faults_of({variable: "hunter2"}))


def test_test_variables_are_no_settings_and_no_faults():
    assert read_settings({"FAIRSHARE_TEST_CLICKHOUSE_URL": "x"}) == Settings()


@pytest.mark.parametrize("trackers", ["0", "65", "-1"])
def test_bounds_are_closed(trackers):
    assert faults_of({"FAIRSHARE_TRACKERS": trackers}) == [f"FAIRSHARE_TRACKERS='{trackers}' is not between 1 and 64"]


def test_a_child_process_reads_the_same_settings():
    settings = Settings(data=Path("/srv/x"), secret=SECRET, trackers=3, trusted_proxies=("10.0.0.1", "::1"), durability="bounded")

    assert read_settings(environment_of(settings)) == settings


def test_the_page_about_settings_names_every_setting_and_no_other():
    named = re.findall(r"^\| `FAIRSHARE_([A-Z_]+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)

    assert sorted(named) == sorted(field.name.upper() for field in msgspec.structs.fields(Settings))
