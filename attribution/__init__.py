"""Who earned an order, and why: from orders and touches to decisions with their trace.

In reading order: ``policy`` (the rules in force, and in plain words), ``rules`` (what keeps a touch
from earning), ``weights`` (the models' exact shares), ``decide`` (the pure decision), ``words`` (a sentence
for every code), ``identity`` (a person, and an order's own keys), ``keys`` (keys as numbers),
``graph`` (their components), ``households`` (a component with two customers), ``keyring`` (a tenant's keys as they are stored),
``people`` (its persons), ``portraits`` (one of them, to be looked at),
``erasure`` (an identifier forgotten), ``touches`` (orders and touches as they are read in
bulk), ``candidates`` (what may earn an order), ``revisions`` (decisions as rows), ``batch`` (orders with all that decides them, and their
decisions), ``lookups`` (touches by visitor and id), ``decisions`` (what is stored), ``history`` (what a person had ordered before),
``coalition`` (other tenants' touches), ``journey`` (an order's facts, fetched), ``bulk`` (very many orders), ``workers`` (processes that
decide), ``changes`` (which orders to look at again), ``leads`` (those that earn), ``run`` (the incremental run and its loop), ``explain``,
``disputes`` (what may be asked and answered), ``replay`` (a period under other policies). Reports over many journeys: ``paths``
(how they are written and shortened), ``tally`` (millions of them in columns, exact sums), ``heuristics``, ``shapley``, ``markov``,
``comparison`` (all models side by side),
``observed`` (the journeys behind stored decisions).
"""
