"""The vocabulary that every package shares. Standard library and msgspec only; nothing here does I/O.

In reading order: ``errors``, ``clock`` (instants), ``ids``, ``money``, ``events`` (what the tracker records),
``catalogue`` (who may earn from what), ``leads`` (their names), ``catalogue_file`` (the same as TOML text) with ``catalogue_tables``,
``catalogue_values`` and ``toml_tables``, ``catalogue_rules`` (what is sound) with ``policy_rules``, ``rate_rules``,
``conditions`` and ``flaws``, ``segments`` (what kind of customer), ``identity`` (keys that join a person), ``credit``
(who earned), ``scope`` (who may see), ``settings``.
"""
