"""From a request to a stored fact: hit, event, spool, drain.

The edge, one or more tracker processes that open no database on the hot path. A click, in reading order: ``hit`` (a request
as read), ``answer`` (what can be said to it), ``destination`` (where a visitor may be sent), ``links`` (the catalogue in
memory), ``watch`` (which keeps it current), ``click`` (hit to answer and touch), ``files`` (what a disk promises), ``spool``
(segments on disk), ``commit`` (many requests, one sync). Beside it, what trackers share: ``limits`` (caps and rates, counted
in memory), ``exchange`` (which tells the others), ``snapshot`` (the link table as bytes), ``kept`` (both in the tracker's
folder) and ``shared`` (both in Redis).

A conversion: ``fields`` (taken out of a body one by one), ``customer`` (whose it is), ``conversion`` (what all kinds have in
common), ``claims`` (what an assistant's checkout says), ``orders`` (the typed JSON), ``postback`` (query strings and pixels),
``basket`` (a marketplace's order, divided among merchants), ``recording`` (once, under the sender's id), ``confirmation`` (what
the sender is told). A touch without a link's visitor: ``reported`` (by the merchant) and ``landing`` (by the shop's page).

The whole: ``counters`` and ``health`` (what it says of itself), ``edge`` (the one object that answers everything), ``wire``
(HTTP by itself, the fastest way to it), ``rsgi`` and ``asgi`` (the same through other servers), ``app`` (its composition),
``serve`` (the process).

The drain, in the engine process: ``country``, ``device`` and ``traffic`` say where, with what and who; ``enrich`` makes rows
of events, ``manifest`` writes down what a step will insert, ``loading`` inserts it, ``drain`` moves records from segments to
the events store, ``conservation`` proves that none is missing; ``accesslog`` reads a web server's log and ``replay`` sends it
through the front door.

History from elsewhere: ``mapping`` (which column is what), ``sheet`` (a foreign CSV file), ``readings`` (cells as what they mean),
``cells`` (a chunk column by column), ``affiliates`` (whose a foreign name is), ``past_touches`` and ``past_conversions`` (rows as
events), ``shelf`` (blocks, inserted once) and ``history`` (the whole of an import).

Between machines: ``relay`` passes a spool on and ``lag`` says how far, ``stream`` is the way through Redis, ``intake`` the drain
at its other end.
"""
