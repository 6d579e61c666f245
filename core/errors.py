"""Every error that Fairshare raises on purpose.

FairshareError
├── BadInput            a person or a system sent something unusable; carries ``code`` and ``field``
├── Conflict            the same id came before with another content
├── NotFound            unknown, or not visible to the one who asks: the two are not told apart
├── NotAllowed          known and visible, but this person may not do it
├── Unavailable         a store is down, full or busy; try again after ``retry_after_s``
│   └── InUse           a folder or a port belongs to another running process
├── SettingsError       one or more settings are wrong; lists them all
└── StoreVersionError   a store is newer than this program, or was not migrated
"""


class FairshareError(Exception):
    """The root: its text is one sentence a person can act on."""


class BadInput(FairshareError):
    """Input that cannot be used. ``code`` is one of the closed list in docs/tracking.md; ``field`` names the culprit."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field


class Conflict(FairshareError):
    """The id is taken by another content."""


class NotFound(FairshareError):
    """Unknown or foreign: the answer is the same, so that nobody can probe for other tenants' ids."""


class NotAllowed(FairshareError):
    """The person is known and sees the thing, but may not do this to it."""


class Unavailable(FairshareError):
    """Nothing was recorded; the caller may repeat the same request after ``retry_after_s`` seconds."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InUse(Unavailable):
    """Another process has what this one needs to start: the data folder, a spool folder, a port; the text names it."""


class SettingsError(FairshareError):
    """All wrong settings at once, one sentence each, in ``faults``."""

    def __init__(self, faults: list[str]) -> None:
        noun = "setting is" if len(faults) == 1 else "settings are"
        super().__init__(f"{len(faults)} {noun} wrong: " + "; ".join(faults))
        self.faults = faults


class StoreVersionError(FairshareError):
    """The store's schema and the program do not fit together; the text says which command mends it."""
