"""Who earned an order, and why: from orders and touches to decisions with their trace.

In reading order: ``policy`` (the rules in force, and in plain words), ``decide`` (the pure decision), ``words`` (a sentence
for every code), ``identity`` (whose keys belong together), ``journey`` (an order's candidate touches), ``changes`` (which
orders to look at again), ``decisions`` (what is stored), ``run`` (the incremental run and its loop), ``explain``.
"""
