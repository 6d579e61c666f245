"""The command line and the all-in-one program: composition only, no rules of its own.

In reading order: ``__main__`` (the door), ``track`` (a tracker, at once), ``commands`` (every command), ``options``,
``text_file``, ``output`` and ``collector`` (what commands share), ``up`` (the supervisor) and ``child`` (what it started), ``engine``
(the process that owns the stores), ``ready`` (what a newcomer is shown), ``parts`` (the engine's parts run apart),
``relay`` (beside trackers where the queue is Redis), ``books`` and ``stores`` (opening and migrating), ``questions``
(commands that ask), ``ledgers`` (anchors and adjustments), ``compare`` (models side by side) with ``path_file`` (what
they read), ``replay`` (a period under other policies), ``simulate`` (under other rate cards) with ``trial_file`` (what
both read), ``identity`` (persons, revocations, erasures), ``catalog``, ``importing``, ``rates`` and ``people`` (what
is set up), and the demo world in a folder of its own.
"""
