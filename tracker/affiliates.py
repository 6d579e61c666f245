"""Whose a foreign name is: the merchant's members as a foreign file calls them, and new ones where its map creates them. Pure.

A name leads to an affiliate's id by the map's values, or as it is, in small letters and with dashes. An account belongs to the whole
installation: one that is no member of this merchant's programmes is somebody else's, whatever it is called, and is never taken.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable

import msgspec

from core.catalogue import Affiliate, Membership
from core.clock import Instant
from core.errors import BadInput
from core.ids import is_slug
from tracker.mapping import Values, suggest
from tracker.readings import Bad, Reading

NOBODYS = "affiliate.invalid"
"""The host of the addresses that new affiliates get until somebody enters theirs. No mail reaches it (RFC 2606)."""

_SLUG_CHARS = 48
_NAME_CHARS = 255

Place = tuple[str | Bad, str]
"""A programme, and an affiliate as the file calls it."""


class NewMember(msgspec.Struct):
    """Somebody the catalogue does not know in a programme, and when the file first shows them. ``name`` is the file's."""

    affiliate_id: str
    programme_id: str
    name: str
    since: Instant
    is_new_account: bool


class Affiliates:
    """The members of one merchant, asked for by programme (empty: any) and foreign name. ``by_name[programme, name]`` is an id or
    :class:`Bad`.

    Args:
        accounts: every affiliate of the installation.
        creates: unknown names become new members (:meth:`note`), not faults.
    """

    def __init__(self, memberships: Iterable[Membership], accounts: Collection[str], values: Values, creates: bool) -> None:
        self.members = {(one.programme_id, one.affiliate_id): one for one in memberships}
        self._own = {affiliate_id for _, affiliate_id in self.members}
        self._accounts = accounts
        self._values = values
        self._creates = creates
        self.new: dict[tuple[str, str], NewMember] = {}
        self.by_name: Reading[Place] = Reading(self._read)

    def knows(self, programme_id: str, affiliate_id: str) -> bool:
        """True for a member, or for one that was noted as new."""
        return (programme_id, affiliate_id) in self.members or (programme_id, affiliate_id) in self.new

    def note(self, programme_id: str, name: str, at: Instant, title: str = "") -> None:
        """The file shows somebody at ``at``: remember new ones, with the earliest time."""
        affiliate_id = self._id_of(name)
        place = (programme_id, affiliate_id)
        if place in self.members:
            return
        found = self.new.get(place)
        if found is None:
            is_new = affiliate_id not in self._accounts
            self.new[place] = NewMember(affiliate_id, programme_id, (title or name)[:_NAME_CHARS], at, is_new)
        elif at < found.since:
            found.since = at

    def _read(self, place: Place) -> str:
        programme_id, name = place
        if not name or isinstance(programme_id, Bad):
            return ""  # told as what it is
        affiliate_id = self._id_of(name)
        is_known = self.knows(programme_id, affiliate_id) if programme_id else affiliate_id in self._own
        if not is_known and not (self._creates and programme_id):
            own = [one for programme, one in self.members if programme_id in ("", programme)]
            what = f"{name!r:.60} is no member of {f'programme {programme_id}' if programme_id else 'any programme'}"
            raise BadInput("inactive_affiliate", f"{what}{suggest(affiliate_id, own)}; map it in [[values]], or create it", "affiliate")
        return affiliate_id

    def _id_of(self, name: str) -> str:
        if self._values.refuses_others and name not in self._values.known:
            raise BadInput("malformed", f"{name!r:.60} is none of the values that the map knows", "affiliate")
        said = self._values.known.get(name)
        if said is not None:
            if not is_slug(said):
                raise BadInput("malformed", f"{said!r:.60}, which the map says for {name!r:.60}, is not an affiliate's id", "affiliate")
            return said
        affiliate_id = slug_of(name)
        if affiliate_id in self._own or affiliate_id not in self._accounts:
            return affiliate_id
        other = f"{affiliate_id}-{fingerprint(name)}"
        if other in self._own or other not in self._accounts:
            return other
        raise BadInput(
            "inactive_affiliate", f"{name!r:.60} has the id of somebody who is no member here; map it in [[values]]", "affiliate"
        )


def slug_of(name: str) -> str:
    """The id that a name becomes: ``Anna Blog`` and ``anna-blog`` are ``anna-blog``. Names that lose more than capitals and blanks on
    the way get an end of their own, so that ``A&B`` and ``A+B`` stay two."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_CHARS].strip("-")
    if slug and slug == re.sub(r"[\s_-]+", "-", name.strip().lower()):
        return slug
    return f"{slug or 'affiliate'}-{fingerprint(name)}"


def fingerprint(name: str) -> str:
    """Eight letters that another name will hardly have."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]


def records_of(tenant_id: str, member: NewMember) -> tuple[Affiliate | None, Membership]:
    """The catalogue's records of a new member: approved from the first touch on. The account is None where it is there already."""
    account = Affiliate(member.affiliate_id, member.name, f"{member.affiliate_id}@{NOBODYS}") if member.is_new_account else None
    return account, Membership(tenant_id, member.programme_id, member.affiliate_id, "approved", member.since, member.since)
