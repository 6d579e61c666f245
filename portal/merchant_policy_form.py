"""The form of a new policy version: a place and a window for each class of touch, ``place_click``, ``window_click``, ``unit_click``."""

from typing import get_args

from attribution.policy import NOUNS
from core.catalogue import TouchWindow
from core.catalogue_rules import DAYS_LIMIT, HOURS_LIMIT
from core.credit import TouchClass
from portal.forms import Form

CLASSES: tuple[TouchClass, ...] = get_args(TouchClass)
PLACES = {"1": "first", "2": "second", "3": "third", "": "never earns"}
HOURS = {"days": 24, "hours": 1}


def policy_form(classes: tuple[TouchWindow, ...], **more: str) -> Form:
    """A precedence as a person would type it: where the next version starts from."""
    values = dict(more)
    for place, window in enumerate(classes, start=1):
        unit = "days" if window.window_hours % 24 == 0 and window.window_hours > 24 else "hours"
        values |= {
            f"place_{window.touch}": str(place),
            f"window_{window.touch}": str(window.window_hours // HOURS[unit]) if window.window_hours else "",
            f"unit_{window.touch}": unit,
        }
    return Form.of(**values)


def read_classes(form: Form) -> tuple[TouchWindow, ...]:
    """The precedence, strongest first. With faults on the form, it is not to be used."""
    placed: dict[str, TouchWindow] = {}
    for touch in CLASSES:
        place = form.choice(f"place_{touch}", PLACES, required=False)
        if not place:
            continue
        if place in placed:
            form.fault(f"place_{touch}", f"The {NOUNS[placed[place].touch][0]} has this place already; each needs its own.")
        placed[place] = TouchWindow(touch, _read_window_hours(form, touch))
    if not placed:
        form.fault("classes", "Please give at least one of them a place: otherwise nothing can ever be credited.")
    return tuple(placed[place] for place in sorted(placed))


def _read_window_hours(form: Form, touch: TouchClass) -> int:
    """Coupons have no window: they are used at the moment of the order."""
    if touch == "coupon":
        return 0
    unit = form.choice(f"unit_{touch}", HOURS)
    hours = form.whole(f"window_{touch}", 1, HOURS_LIMIT) * HOURS.get(unit, 1)
    if hours > HOURS_LIMIT:
        form.fault(f"window_{touch}", f"At most {DAYS_LIMIT} days.")
    return hours
