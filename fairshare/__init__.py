"""The command line and the all-in-one program: composition only, no rules of its own.

In reading order: ``__main__`` (every command), ``options`` and ``output`` (what commands share), ``up`` (the supervisor),
``engine`` (the process that owns the stores), ``ready`` (what a newcomer is shown), ``catalog``, ``demo``.
"""
