"""Versions of a policy or a rate card in time: which one is in force, which is planned, which never was."""

from datetime import UTC, datetime
from typing import Generic, Literal

import msgspec

from core.catalogue import Version, version_at
from core.clock import DAY, Instant, start_of_day
from portal.forms import Form

Standing = Literal["in force", "planned", "ended", "replaced"]


class Span(msgspec.Struct, Generic[Version], frozen=True):
    """One version and the order times it rules: ``[effective_from, until)``; None is open, ``replaced`` rules none."""

    version: Version
    until: Instant | None
    standing: Standing


def timeline(versions: tuple[Version, ...], at: Instant) -> list[Span[Version]]:
    """Every version with its span, newest version first. Agrees with :func:`core.catalogue.version_at` at any instant."""
    newest_first = sorted(versions, key=lambda version: -version.version)
    return [_span(version, versions, at) for version in newest_first]


def _span(version: Version, versions: tuple[Version, ...], at: Instant) -> Span[Version]:
    if version_at(versions, version.effective_from) != version:
        return Span(version, version.effective_from, "replaced")
    later = [other.effective_from for other in versions if other.effective_from > version.effective_from]
    until = min(later, default=None)
    if at < version.effective_from:
        return Span(version, until, "planned")
    return Span(version, until, "in force" if until is None or at < until else "ended")


def newest_version(versions: tuple[Version, ...]) -> int:
    """The highest number; 0 where there is none. Numbers are never used again."""
    return max((version.version for version in versions), default=0)


def read_effective_from(form: Form, at: Instant) -> Instant:
    """Field ``effective_from``, the start of a new version, typed in UTC; empty means ``at``.

    Never in the past: that would change by what past orders were decided and priced.
    """
    begins = form.instant("effective_from", required=False)
    if begins is None:
        return at
    if begins < at:
        form.fault("effective_from", "This lies in the past, where orders keep their version. Leave it empty to begin now.")
    return begins


def tomorrow(at: Instant) -> str:
    """The next midnight UTC, as a ``datetime-local`` field wants it: the proposal for a new version."""
    return typed_instant(start_of_day(at) + DAY)


def typed_instant(at: Instant) -> str:
    """An instant as a ``datetime-local`` field wants it, in UTC; to the millisecond only where it has such parts."""
    text = datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % 1000:03}"
    return text.removesuffix(".000").removesuffix(":00") if text.endswith(":00.000") else text.removesuffix(".000")
