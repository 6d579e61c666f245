"""From decisions to money: what an order line earns, the ledger that records it, and the payouts that settle it.

In reading order. Pure: ``refunds`` (what an order still holds), ``rate_card`` (what a rule pays), ``matching`` (which rule
fits), ``attributes`` (what its conditions ask), ``rate_words`` (a card in plain words), ``setting`` (what an order freezes),
``orders`` (what is priced), ``earnings`` (who earns which part), ``pricing`` (what an order should have earned), ``booking``
(that, minus what is posted), ``digests`` (canonical bytes and hashes), ``pricings`` (settings made, hashed and kept),
``exchange`` (one currency in another), ``ecb`` (published rates, read), ``calendar`` (periods of time), ``accounts`` (what
orders mean for each other), ``traffic`` (what clicks and impressions earn). With the books: ``standing`` (tiers and limits),
``measures`` (where nobody asks for them yet), ``bonuses``, ``progress`` (both, for pages), ``ledger``, ``rates`` (which rate
counts), ``tariffs``, ``surroundings`` (what orders ask of the catalogue), ``leads`` (paid as orders), ``facts`` (reads the events store),
``accrue``, ``traffic_accrual`` (days of clicks, booked), ``forecast`` (what other decisions would pay), ``outcomes``
(what became of each order), ``walk`` (orders in their order, in memory; pure), ``simulate`` (what other rate cards
would have paid), ``holds``, ``periods`` (accounting months), ``adjustments`` (by hand), ``batches``, ``balances``,
``commissions``, ``statement``, ``anchors`` (heads of the chains, elsewhere), ``checkpoints`` (how far they were verified),
``decided`` and ``verify``, ``recompute`` (every order, to the cent), ``renaming`` (books of earlier versions).
Files: ``cells``, ``payment_file``.
"""
