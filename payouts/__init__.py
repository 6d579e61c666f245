"""From decisions to money: what an order line earns, the ledger that records it, and the payouts that settle it.

In reading order. Pure: ``refunds`` (what an order still holds), ``rate_card`` (which rule pays, and how much), ``earnings``
(who earns which part), ``booking`` (target minus what is posted), ``digests`` (canonical bytes and hashes). With the
books: ``ledger``, ``facts`` (reads the events store), ``accrue``, ``forecast`` (what other decisions would pay), ``holds``,
``batches``, ``balances``, ``commissions``, ``statement``, ``verify``. Files: ``cells``, ``payment_file``.
"""
