"""Benchmarks: each is a command that answers one question and prints JSON with a ratio to a baseline measured in the same run.

``redirect`` (clicks), ``drain`` (spool to events store), ``attribution`` (decisions), ``accrue`` (commissions and ledger);
``load`` is the request generator they use. The README keeps the last results.
"""
