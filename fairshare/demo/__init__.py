"""The demo world: three invented merchants over ninety days, made from a seed and loaded through the real route.

In reading order: ``cards`` (rate cards and exchange rates), ``cast`` (the catalogue: who, with which links), ``goods``
(what they sell), ``visitors`` (devices, addresses, hours), ``people`` (customers and their keys), ``story`` (writes
events), ``scenes`` (how one order comes about), ``world`` (all of it together), ``stages`` (when it is booked and paid),
``load`` (into an installation), ``facts`` and ``__main__`` (the same as JSON, to check totals against).
"""
