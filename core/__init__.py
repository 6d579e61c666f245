"""The vocabulary that every package shares. Standard library and msgspec only; nothing here does I/O.

In reading order: ``errors``, ``clock`` (instants), ``ids``, ``money``, ``events`` (what the tracker records),
``catalogue`` (who may earn from what), ``identity`` (keys that join a person), ``credit`` (who earned),
``scope`` (who may see), ``settings``.
"""
