"""The only door to databases: the books (SQLite or PostgreSQL) and the events store (ClickHouse or chDB).

In reading order. The ground: ``installation`` (the data folder: its secret, its one owner), ``books`` (open, read, write),
``schema`` (the books' tables), ``events`` (open, ask, insert), ``columns`` (the events store's tables), ``engine_door`` (the
running engine lends its events store), ``versions`` (is a schema this program's), ``migrate`` (both schemas), ``cursors``
(where each poller stands), ``spools`` (how far each tracker's is stored), ``leases`` (whose turn it is).

The books' statements, one noun each: ``catalogue``, ``partners`` (what orders ask of it, in bulk), ``links``, ``programmes``,
``sessions``, ``receipts``, ``commissions``, ``accruals``, ``booked`` (both, of a whole period), ``standing`` (what
orders mean for each other), ``ledger``, ``writing`` (many rows at once), ``periods``, ``holds``, ``adjustments``,
``batches``, ``earnings``, ``reports``, ``rates`` (published exchange rates), ``traffic`` (days of clicks), ``overrides``
(what people decided instead), ``reruns`` (periods to decide anew), ``disputes``, ``replays``, ``identity`` (receipts
without an erased identifier).
"""
