"""One frozen record of settings, read once at start from ``FAIRSHARE_*`` variables and the command's options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from core.errors import SettingsError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. An empty URL means "embedded, under ``data``" (see the properties).

    docs/settings.md says what each is for; a test compares the two lists.
    """

    data: Path = Path("var")
    books_url: str = ""
    events_url: str = ""
    events_engine: str = "MergeTree"
    queue_url: str = ""
    queue_mb: int = 64
    secret: str = ""
    tracker_host: str = "127.0.0.1"
    tracker_port: int = 8700
    tracker_server: str = "wire"
    portal_host: str = "127.0.0.1"
    portal_port: int = 8701
    trackers: int = 1
    tracker_url: str = ""
    portal_url: str = ""
    durability: str = "strict"
    overload: str = "availability"
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    spool_queue_records: int = 20_000
    spool_sync_ms: int = 50
    spool_segment_mb: int = 128
    spool_keep_days: int = 7
    ip_keep_days: int = 30
    country_db: str = ""
    bad_clock_tolerance_minutes: int = 10
    clicks_a_minute: int = 0
    conversions_a_minute: int = 6_000
    attribution_processes: int = 0

    @property
    def is_embedded(self) -> bool:
        """True where both stores live in the data folder."""
        return not self.books_url and not self.events_url

    @property
    def books(self) -> str:
        return self.books_url or f"sqlite:///{(self.data / 'books.sqlite').absolute()}"

    @property
    def events(self) -> str:
        return self.events_url or f"chdb://{(self.data / 'events').absolute()}"

    @property
    def queue(self) -> str:
        return self.queue_url or f"file://{(self.data / 'spool').absolute()}"

    @property
    def spool(self) -> Path:
        """The folder that trackers write to, one sub-folder per tracker process; of this machine, also where the queue is Redis."""
        return self.data.absolute() / "spool" if self.has_redis_queue else Path(self.queue.removeprefix("file://"))

    @property
    def has_redis_queue(self) -> bool:
        """True where relays carry what trackers recorded through Redis, to a drain that does not see their folders."""
        return self.queue_url.startswith(("redis://", "rediss://"))

    @property
    def tracker(self) -> str:
        """The tracker's public address, without a slash at its end."""
        return self.tracker_url.rstrip("/") or f"http://{self.tracker_host}:{self.tracker_port}"

    @property
    def portal(self) -> str:
        """The portal's public address, without a slash at its end."""
        return self.portal_url.rstrip("/") or f"http://{self.portal_host}:{self.portal_port}"


_CHOICES = {"durability": ("strict", "bounded"), "overload": ("availability", "accountability"), "tracker_server": ("wire", "granian")}
_SCHEMES = {
    "books_url": ("sqlite:///", "postgresql+psycopg://"),
    "events_url": ("chdb://", "clickhouse://", "clickhouses://"),
    "queue_url": ("file:///", "redis://", "rediss://"),
}
_BOUNDS = {
    "tracker_port": (1, 65535),
    "portal_port": (1, 65535),
    "trackers": (1, 64),
    "queue_mb": (1, 65_536),
    "spool_queue_records": (1, 10_000_000),
    "spool_sync_ms": (1, 10_000),
    "spool_segment_mb": (1, 4096),
    "spool_keep_days": (0, 3650),
    "ip_keep_days": (1, 3650),
    "bad_clock_tolerance_minutes": (0, 1440),
    "clicks_a_minute": (0, 50_000),
    "conversions_a_minute": (0, 10_000_000),
    "attribution_processes": (0, 64),
}


def read_settings(environment: Mapping[str, str], **options: Any) -> Settings:
    """Settings from ``FAIRSHARE_NAME`` variables; ``options`` that are not None win over them.

    Raises:
        SettingsError: lists every wrong value, and every ``FAIRSHARE_`` variable that is no setting.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for variable, text in sorted(environment.items()):
        if not variable.startswith("FAIRSHARE_") or variable.startswith("FAIRSHARE_TEST_"):
            continue
        name = variable.removeprefix("FAIRSHARE_").lower()
        if name not in fields:
            faults.append(f"{variable} is not a setting")
            continue
        try:
            values[name] = _convert(text, fields[name])
        except ValueError:
            faults.append(f"{variable}={_shown(name, text)} is not a whole number")
    values |= {name: value for name, value in options.items() if value is not None}
    faults += [fault for name, value in sorted(values.items()) if (fault := _fault(name, value))]
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables from which :func:`read_settings` makes the same record: how a child process gets its settings."""
    named = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    return {f"FAIRSHARE_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value) for name, value in named.items()}


def _convert(text: str, kind: Any) -> Any:
    if kind is int:
        return int(text)
    if kind is Path:
        return Path(text)
    return text if kind is str else tuple(part.strip() for part in text.split(",") if part.strip())


def _fault(name: str, value: Any) -> str | None:
    shown = f"FAIRSHARE_{name.upper()}={_shown(name, value)}"
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"{shown} is not one of {', '.join(_CHOICES[name])}"
    if name in _BOUNDS and not _BOUNDS[name][0] <= value <= _BOUNDS[name][1]:
        return f"{shown} is not between {_BOUNDS[name][0]} and {_BOUNDS[name][1]}"
    if name in _SCHEMES and value and not value.startswith(_SCHEMES[name]):
        return f"{shown} does not begin with {' or '.join(_SCHEMES[name])}"
    if name == "secret" and value and len(value) < 32:
        return f"{shown} is shorter than 32 characters"
    return None


def _shown(name: str, value: Any) -> str:
    """Secrets, and URLs that may hold a password, are named but never printed."""
    return "(hidden)" if name == "secret" or name.endswith("_url") else repr(str(value))
