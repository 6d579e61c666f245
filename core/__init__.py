"""The vocabulary that every package shares. Standard library and msgspec only; nothing here does I/O.

In reading order: ``errors``, ``clock`` (instants), ``ids``, ``money``, ``events`` (what the tracker records),
``catalogue`` (who may earn from what), ``catalogue_file`` (the same as TOML text) with ``catalogue_rules``,
``policy_rules``, ``flaws`` and ``toml_tables``, ``segments`` (what kind of customer), ``identity`` (keys that join a
person), ``credit`` (who earned), ``scope`` (who may see), ``settings``.
"""
