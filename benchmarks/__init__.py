"""Benchmarks: each is a command that answers one question and prints JSON with ratios to a baseline measured in the same run.

``redirect`` (clicks over HTTP), ``hot_path`` (one click, step by step), ``drain`` (spool to events store, with ``freshness``),
``attribution`` (decisions), ``accrue`` (commissions and ledger). They share ``result`` (figures, ratios, the machine),
``watched`` (an events store that keeps time), ``clicks`` and ``journeys`` (made-up traffic), ``load`` (the requests) and
``plain_starlette`` (a baseline). The README keeps the last results.
"""
