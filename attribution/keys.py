"""Keys by the million, as numbers: a sorted array of 64-bit hashes, and the texts in one buffer. Pure.

Keys are numbered from 0 in the order in which they were added. The hash is SipHash-2-4 (Aumasson and Bernstein, 2012) under a secret
of the process, as the events store's ``sipHash64Keyed`` computes it too, so that nobody can choose keys that collide. Every row's
second, independent hash is compared as well: two keys that share a number are found out.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import FairshareError

Secret = tuple[int, int]
"""Two numbers of 64 bits."""

Array = np.ndarray[Any, Any]

_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


class Collision(FairshareError):
    """Two keys have one hash: begin again under another secret. Once in a million loads of five million keys."""


class Growing:
    """An array that is appended to: as much again is set aside whenever it is full, so that appending copies little."""

    def __init__(self, values: Array) -> None:
        self._all = values
        self._size = len(values)

    @property
    def values(self) -> Array:
        return self._all[: self._size]

    def append(self, values: Array) -> None:
        size = self._size + len(values)
        if size > len(self._all):
            self._all = np.concatenate([self._all[: self._size], np.empty(max(len(values), self._size), self._all.dtype)])
        self._all[self._size : size] = values
        self._size = size


class KeyTable:
    """The keys of one tenant. Nothing is ever taken out."""

    def __init__(self) -> None:
        self._hashes = np.empty(0, np.uint64)
        self._numbers = np.empty(0, np.int32)
        self._checks = Growing(np.empty(0, np.uint64))
        self._ends = Growing(np.zeros(1, np.int64))
        self._text = Growing(np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self._checks.values)

    def add(self, hashes: Array, checks: Array, texts: pa.Array) -> Array:
        """The number of each row's key; those not known yet get the next ones, in the rows' order.

        Raises:
            Collision: one hash stands for two keys.
        """
        order = ranked(hashes)
        ordered = hashes[order]
        begins = np.ones(len(order), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        found, firsts = ordered[begins], order[begins]
        numbers = self._find_sorted(found)
        new = numbers < 0
        is_new = np.zeros(len(hashes), bool)
        is_new[firsts[new]] = True
        numbers[new] = (np.cumsum(is_new, dtype=np.int32) + np.int32(len(self) - 1))[firsts[new]]
        if new.any():
            self._append(found[new], numbers[new], checks[is_new], texts.filter(pa.array(is_new)))
        rows = np.empty(len(hashes), np.int32)
        rows[order] = numbers[np.cumsum(begins) - 1]
        in_order = checks[order]
        if (in_order[1:] != in_order[:-1])[~begins[1:]].any() or (self._checks.values[numbers] != checks[firsts]).any():
            raise Collision("two keys have one hash")
        return rows

    def find(self, hashes: Array) -> Array:
        """The number of each hash's key, -1 where there is none."""
        order = ranked(hashes)  # sorted needles are found ten times faster
        result = np.empty(len(hashes), np.int32)
        result[order] = self._find_sorted(hashes[order])
        return result

    def _find_sorted(self, hashes: Array) -> Array:
        if not len(self._hashes):
            return np.full(len(hashes), -1, np.int32)
        places = np.searchsorted(self._hashes, hashes)
        np.minimum(places, len(self._hashes) - 1, out=places)
        return np.where(self._hashes[places] == hashes, self._numbers[places], np.int32(-1))

    def texts(self, numbers: Array) -> list[str]:
        """The keys with these numbers."""
        ends, text = self._ends.values, self._text.values
        every = pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(ends), pa.py_buffer(text))
        result: list[str] = every.take(pa.array(numbers)).to_numpy(zero_copy_only=False).tolist()
        return result

    def texts_from(self, first: int) -> pa.Array:
        """The keys from number ``first`` on, as Arrow keeps them."""
        ends = self._ends.values[first:]
        text = self._text.values[ends[0] : ends[-1]]
        return pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends - ends[0]), pa.py_buffer(text))

    def hashes(self) -> Array:
        """Every key's hash, by number."""
        result = np.empty(len(self), np.uint64)
        result[self._numbers] = self._hashes
        return result

    def begins_with(self, prefix: str, first: int) -> Array:
        """Which of the keys from number ``first`` on begin so."""
        wanted = np.frombuffer(prefix.encode(), np.uint8)
        starts, ends, text = self._ends.values[first:-1], self._ends.values[first + 1 :], self._text.values
        result = ends - starts >= len(wanted)
        for place, byte in enumerate(wanted):
            result[result] = text[starts[result] + place] == byte
        return result

    def _append(self, hashes: Array, numbers: Array, checks: Array, texts: pa.Array) -> None:
        places = np.searchsorted(self._hashes, hashes)
        self._hashes, self._numbers = np.insert(self._hashes, places, hashes), np.insert(self._numbers, places, numbers)
        self._checks.append(checks)
        ends, text = _buffers(texts)
        self._ends.append(ends + self._ends.values[-1])
        self._text.append(text)


def ranked(hashes: Array) -> Array:
    """The rows in the order of their hashes, of equal ones the first before.

    The row's number is written over a hash's low bits and both are sorted as one, which is five times as fast as ``argsort``. Where
    two hashes differ in those bits alone, which seldom happens, it is ``argsort`` after all.
    """
    bits = np.uint64(max(1, len(hashes).bit_length()))
    low = np.uint64((1 << int(bits)) - 1)
    packed = np.sort((hashes & ~low) | np.arange(len(hashes), dtype=np.uint64))
    order: Array = (packed & low).astype(np.int64)
    ordered = hashes[order]
    return order if (ordered[1:] >= ordered[:-1]).all() else np.argsort(hashes, kind="stable")


def distinct(values: Array) -> Array:
    """The distinct values, sorted. ``np.unique`` would hash them, which takes ten times as long for millions."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    result: Array = ordered[first]
    return result


def _buffers(texts: pa.Array) -> tuple[Array, Array]:
    """Where each text ends, and all of them in a row."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    array = array.cast(pa.large_string())
    _, ends, data = array.buffers()
    limits = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return limits[1:] - limits[0], text[limits[0] : limits[-1]]


# --- the hash --------------------------------------------------------------------------------------------------------


def hashes_of(keys: Sequence[str], secret: Secret) -> Array:
    """SipHash-2-4 of each key, many at a time."""
    encoded = [key.encode() for key in keys]
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    result = np.empty(len(encoded), np.uint64)
    for words in np.unique(sizes // 8).tolist():
        rows = np.flatnonzero(sizes // 8 == words)
        padded = np.array([encoded[row] for row in rows.tolist()], dtype=f"S{words * 8 + 8}")
        columns = padded.view("<u8").reshape(len(rows), words + 1).astype(np.uint64)
        columns[:, words] |= sizes[rows].astype(np.uint64) << np.uint64(56)
        result[rows] = _siphash(columns.T, secret)
    return result


def _siphash(words: Iterable[Array], secret: Secret) -> Array:
    columns = list(words)
    keys = [secret[0], secret[1], secret[0], secret[1]]
    state = [np.full(len(columns[0]), start ^ key, np.uint64) for start, key in zip(_START, keys, strict=True)]
    for word in columns:
        state[3] = state[3] ^ word
        _round(_round(state))
        state[0] = state[0] ^ word
    state[2] = state[2] ^ np.uint64(0xFF)
    for _ in range(4):
        _round(state)
    result: Array = state[0] ^ state[1] ^ state[2] ^ state[3]
    return result


def _round(v: list[Array]) -> list[Array]:
    v[0] = v[0] + v[1]
    v[1] = _rotated(v[1], 13) ^ v[0]
    v[0] = _rotated(v[0], 32)
    v[2] = v[2] + v[3]
    v[3] = _rotated(v[3], 16) ^ v[2]
    v[0] = v[0] + v[3]
    v[3] = _rotated(v[3], 21) ^ v[0]
    v[2] = v[2] + v[1]
    v[1] = _rotated(v[1], 17) ^ v[2]
    v[2] = _rotated(v[2], 32)
    return v


def _rotated(value: Array, bits: int) -> Array:
    result: Array = (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))
    return result
