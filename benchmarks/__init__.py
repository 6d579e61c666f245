"""Benchmarks: each is a command that answers one question and prints JSON with ratios to a baseline measured in the same run.

``redirect`` (clicks over HTTP), ``open_loop`` (answer times at a constant rate), ``scale`` (a second tracker), ``restart``, ``memory``,
``hot_path`` (one click, step by step), ``lookups`` (its link, class and country), ``drain`` (spool to events store, with ``freshness``),
``attribution`` (decisions), ``bulk`` (a million of them, in a world by ``million``), ``decided`` (how soon), ``identity`` (persons),
``price`` (order lines under a rate card), ``simulate`` (another card on past orders), ``accrue`` (commissions and ledger). They share
``result`` (figures, ratios, the machine), ``servers`` (real processes, pinned and watched), ``watched`` (an events store that keeps
time), ``peak`` (memory), ``clicks`` and ``journeys`` (made-up traffic), ``load`` and ``arrivals`` (the requests, closed and open loop)
and ``plain_starlette`` (a baseline). The README keeps the last results.

``kill`` and ``outage`` measure no speed: processes and the events store die under a load that remembers what it was told
(``witness``), in an installation whose parts can be killed one by one (``household``, ``events_server``); ``audit`` judges.
"""
