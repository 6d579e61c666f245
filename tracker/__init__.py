"""From a request to a stored fact: hit, event, spool, drain.

The edge (one or more tracker processes, which never open a database on the hot path), in reading order: ``hit`` (a request
as read), ``destination`` (where a visitor may be sent), ``click`` (hit to answer and touch), ``spool`` (segments on disk),
``commit`` (many requests, one sync), ``links`` (the catalogue in memory), ``conversion`` (what a conversion may hold),
``orders`` (its JSON), ``postback`` (its query strings and pixels), ``receipts`` (recorded once, answered alike),
``counters`` (what was received, recorded and refused), ``edge`` (the one object behind both adapters), ``rsgi`` and
``asgi`` (the adapters), ``app`` (its composition), ``serve`` (the process).

The drain (in the engine process): ``country``, ``device`` and ``traffic`` say where, with what and who; ``enrich`` makes
rows of events, ``drain`` moves them from segments to the events store, ``conservation`` proves that none is missing,
``replay`` sends an access log through the front door.
"""
