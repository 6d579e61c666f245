"""Segments on disk and group commit: what was confirmed is there, whatever the disk does."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Unavailable
from tests.disks import RecordingDisk, crash_states
from tracker.commit import GroupCommit, SpoolBroken, SpoolFull
from tracker.files import SystemFiles
from tracker.manifest import Cursor, Manifest, write_cursor, write_manifest
from tracker.spool import (
    Damage,
    SegmentWriter,
    first_sequence,
    frame,
    is_finished,
    is_owned,
    own_folder,
    read_records,
    segments,
    spool_folders,
    unframe,
)

payloads = st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")), max_size=5)


def found_in(folder: Path) -> list[bytes | Damage]:
    return [payload for segment in segments(folder) for _, _, payload in read_records(segment)]


def in_commit(writer: SegmentWriter, scenario: Callable[[GroupCommit], Any], **options: Any) -> None:
    async def whole() -> None:
        spool = GroupCommit(writer, **options)
        try:
            await scenario(spool)
        finally:
            await spool.close()

    asyncio.run(whole())


@pytest.fixture
def writer(tmp_path: Path, files: Any) -> SegmentWriter:
    return SegmentWriter(tmp_path, 1000, 1 << 20, files)


# --- the format ------------------------------------------------------------------------------------------------------


def test_a_record_is_checksum_space_json_newline():
    assert frame(b'{"a":1}') == b'561bacaf {"a":1}\n'
    assert unframe(b'561bacaf {"a":1}\n') == b'{"a":1}'


@pytest.mark.parametrize(
    "line",
    [b'561bacae {"a":1}\n', b'561bacaf {"a":2}\n', b'561BACAF {"a":1}\n', b'561bacaf{"a":1}\n', b"\n", b"561bacaf \n", b"\0\0\0\0\0\0\n"],
)
def test_a_line_that_does_not_fit_its_checksum_is_damage_with_its_bytes(line: bytes):
    assert unframe(line) == Damage(line[:-1])


@given(payloads)
@settings(max_examples=20, deadline=None)
def test_a_torn_tail_costs_only_the_torn_record(tmp_path_factory: pytest.TempPathFactory, records: list[bytes]):
    path = tmp_path_factory.mktemp("torn") / "segment"
    frames = [frame(record) for record in records]
    whole = b"".join(frames)
    ends = [sum(map(len, frames[: count + 1])) for count in range(len(frames))]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends)
        assert [payload for _, _, payload in read_records(path)] == records[:complete]


@given(payloads.filter(bool), st.data())
@settings(max_examples=20, deadline=None)
def test_a_flipped_bit_is_never_read_as_a_record(tmp_path_factory: pytest.TempPathFactory, records: list[bytes], data: st.DataObject):
    path = tmp_path_factory.mktemp("flip") / "segment"
    whole = bytearray(b"".join(frame(record) for record in records))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    good = [payload for _, _, payload in read_records(path) if isinstance(payload, bytes)]

    assert len(good) < len(records)
    assert all(payload in records for payload in good)


def test_damage_in_the_middle_is_reported_and_reading_goes_on(tmp_path: Path):
    path = tmp_path / "segment"
    path.write_bytes(frame(b"one") + b"00000000 two\n" + frame(b"three"))

    assert [(offset, end, payload) for offset, end, payload in read_records(path)] == [
        (0, 13, b"one"),
        (13, 26, Damage(b"00000000 two")),
        (26, 41, b"three"),
    ]


def test_reading_goes_on_at_any_next_offset(tmp_path: Path):
    path = tmp_path / "segment"
    path.write_bytes(b"".join(frame(b"%d" % number) for number in range(5)))
    everything = list(read_records(path))

    for index, (_, following, _) in enumerate(everything):
        assert list(read_records(path, following)) == everything[index + 1 :]
    assert list(read_records(path, 10_000)) == []


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "t0"
    lock = own_folder(folder)
    yield folder
    os.close(lock)


def test_two_processes_never_share_a_folder(owned: Path):
    with pytest.raises(Unavailable, match="in use by another tracker process; give this one another --tracker-id"):
        own_folder(owned, patience_s=0.05)


def test_a_segment_is_finished_when_a_newer_one_exists_or_its_tracker_is_gone(owned: Path, tmp_path: Path):
    old, new = owned / f"{1:020d}.log", owned / f"{2:020d}.log"
    old.touch()
    new.touch()
    assert (is_owned(owned), is_finished(old), is_finished(new)) == (True, True, False)

    gone = tmp_path / "gone"
    gone.mkdir()
    last = gone / f"{1:020d}.log"
    last.touch()
    assert (is_owned(gone), is_finished(last)) == (False, True)


def test_a_start_counts_from_above_everything_before(tmp_path: Path):
    assert first_sequence(tmp_path, now=1_700_000_000_000) == 1_700_000_000_000_000
    (tmp_path / f"{1_700_000_000_000_000:020d}.log").write_bytes(b"x" * 500)
    (tmp_path / "counters.json").touch()

    assert first_sequence(tmp_path, now=1_600_000_000_000) == 1_700_000_000_000_501, "the clock was set back"


def test_a_start_counts_from_above_what_the_drain_speaks_of(tmp_path: Path):
    write_cursor(tmp_path, Cursor(segment=f"{7_000:020d}.log", offset=500))
    assert first_sequence(tmp_path, now=1) == 7_001, "segments were deleted, and the clock was set back"
    write_manifest(tmp_path, Manifest("t0", f"{9_000:020d}.log", 0, 10, 0, 0, 0, 0, []))
    assert first_sequence(tmp_path, now=1) == 9_001
    (tmp_path / "cursor.json").write_bytes(b"?")
    (tmp_path / "manifest").write_bytes(b"?")
    assert first_sequence(tmp_path, now=1) == 1_000


def test_a_start_makes_safe_what_a_killed_process_left(tmp_path: Path):
    disk = RecordingDisk(tmp_path)
    lock = own_folder(tmp_path / "spool" / "t0", files=disk)
    writer = SegmentWriter(tmp_path / "spool" / "t0", 1000, 1 << 20, disk)
    writer.write(frame(b"confirmed in bounded mode"), 1)
    os.close(lock)
    assert not survives(disk, b"confirmed")

    os.close(own_folder(tmp_path / "spool" / "t0", files=disk))
    assert survives(disk, b"confirmed")


def survives(disk: RecordingDisk, text: bytes) -> bool:
    """True where every power loss that comes now leaves the text."""
    states = crash_states(disk.log, begin=len(disk.log))
    return all(any(text in (content or b"") for _, content in state.image) for state in states)


# --- writing ---------------------------------------------------------------------------------------------------------


def test_segments_roll_at_their_size_and_are_named_by_their_first_record(tmp_path: Path, files: Any):
    writer = SegmentWriter(tmp_path, 1000, 30, files)
    for number in range(7):
        writer.commit(frame(b"%d" % number), 1)
    writer.finish()

    assert [path.name for path in segments(tmp_path)] == [f"{first:020d}.log" for first in (1000, 1003, 1006)]
    assert found_in(tmp_path) == [b"%d" % number for number in range(7)]


def test_a_hundred_at_once_share_a_few_syncs(writer: SegmentWriter, files: Any, tmp_path: Path):
    files.sync_takes_s = 0.02

    async def scenario(spool: GroupCommit) -> None:
        first = spool.append(b"first")
        await asyncio.sleep(0.005)
        rest = [spool.append(b"%d" % number) for number in range(100)]
        await asyncio.gather(first, *rest)

    in_commit(writer, scenario)
    assert files.syncs <= 2
    assert len(found_in(tmp_path)) == 101


def test_strict_answers_only_after_the_sync(writer: SegmentWriter, files: Any):
    files.sync_takes_s = 0.1

    async def scenario(spool: GroupCommit) -> None:
        answer = spool.append(b"one")
        await asyncio.sleep(0.05)
        assert (files.syncs, answer.done()) == (1, False), "the sync runs, and the answer waits"
        await answer

    in_commit(writer, scenario)


def test_bounded_answers_before_the_sync_and_syncs_within_the_bound(writer: SegmentWriter, files: Any):
    async def scenario(spool: GroupCommit) -> None:
        await spool.append(b"one")
        assert files.syncs == 0
        assert spool.state().loss_bound_ms == 80
        await asyncio.sleep(0.08)
        assert files.syncs == 1

    in_commit(writer, scenario, durability="bounded", sync_ms=80)


def test_bounded_syncs_within_the_bound_under_constant_traffic_too(writer: SegmentWriter, files: Any):
    async def scenario(spool: GroupCommit) -> None:
        for _ in range(30):
            await spool.append(b"one")
            await asyncio.sleep(0.005)
        assert files.syncs >= 3

    in_commit(writer, scenario, durability="bounded", sync_ms=40)


def test_a_failed_sync_ends_the_segment_and_is_never_tried_again(writer: SegmentWriter, files: Any, tmp_path: Path):
    async def scenario(spool: GroupCommit) -> None:
        await spool.append(b"before")
        files.sync_fails = True
        with pytest.raises(SpoolBroken, match="Input/output error"):
            await spool.append(b"lost")
        assert (files.syncs, spool.is_healthy) == (2, False)
        files.sync_fails = False
        await spool.append(b"after")
        assert spool.is_healthy
        assert spool.state().failures == 1

    in_commit(writer, scenario)
    assert len(files.created) == 2
    assert [next(iter(read_records(path)))[2] for path in segments(tmp_path)] == [b"before", b"after"]
    assert found_in(tmp_path) == [b"before", b"after"], "who heard 'not recorded' is not found either"


def test_a_failed_late_sync_keeps_what_was_confirmed(writer: SegmentWriter, files: Any, tmp_path: Path):
    async def scenario(spool: GroupCommit) -> None:
        files.sync_fails = True
        await spool.append(b"confirmed")
        await asyncio.sleep(0.06)
        assert (files.syncs, spool.state().failures) == (1, 1)
        files.sync_fails = False
        await spool.append(b"next")

    in_commit(writer, scenario, durability="bounded", sync_ms=40)
    assert found_in(tmp_path) == [b"confirmed", b"next"]
    assert len(segments(tmp_path)) == 2


def test_a_full_disk_fails_those_who_wait_and_leaves_whole_records(writer: SegmentWriter, files: Any, tmp_path: Path):
    async def scenario(spool: GroupCommit) -> None:
        await spool.append(b"before")
        files.full = True
        lost = [spool.append(b"this one is too long for what is left") for _ in range(3)]
        outcomes = await asyncio.gather(*lost, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SpoolBroken] * 3
        assert "No space left on device" in str(outcomes[0])
        with pytest.raises(SpoolBroken):
            await spool.append(b"no new segment either")
        files.full = False
        await spool.append(b"after")

    in_commit(writer, scenario)
    assert found_in(tmp_path) == [b"before", b"after"]
    assert not any(path.read_bytes()[-1:] not in (b"", b"\n") for path in segments(tmp_path)), "no torn tail is left"


def test_a_full_disk_in_bounded_mode_still_syncs_what_was_confirmed(writer: SegmentWriter, files: Any, tmp_path: Path):
    async def scenario(spool: GroupCommit) -> None:
        await spool.append(b"confirmed")
        files.full = True
        with pytest.raises(SpoolBroken):
            await spool.append(b"this one is too long for what is left")
        assert files.syncs == 1

    in_commit(writer, scenario, durability="bounded", sync_ms=10_000)
    assert found_in(tmp_path) == [b"confirmed"]


def test_a_queue_that_is_full_says_so_at_once(writer: SegmentWriter, files: Any):
    files.sync_takes_s = 0.05

    async def scenario(spool: GroupCommit) -> None:
        waiting = [spool.append(b"x") for _ in range(3)]
        with pytest.raises(SpoolFull, match="3 records wait for the disk already"):
            spool.append(b"one too many")
        await asyncio.gather(*waiting)
        await spool.append(b"room again")

    in_commit(writer, scenario, queue_records=3)


def test_closing_waits_for_everything(writer: SegmentWriter, files: Any, tmp_path: Path):
    files.sync_takes_s = 0.02

    async def scenario(spool: GroupCommit) -> None:
        for number in range(50):
            spool.append(b"%d" % number)

    in_commit(writer, scenario)
    assert len(found_in(tmp_path)) == 50


def test_a_disk_that_fails_leaves_no_empty_segments(writer: SegmentWriter, files: Any, tmp_path: Path):
    files.sync_fails = True
    for number in range(3):
        with pytest.raises(OSError, match="Input/output error"):
            writer.commit(frame(b"%d" % number), 1)
    files.sync_fails = False
    writer.commit(frame(b"kept"), 1)

    assert len(files.created) == 4
    assert [path.name for path in segments(tmp_path)] == [f"{1003:020d}.log"]


class Stubborn(SystemFiles):
    """Takes ten bytes more, then no more; and does not cut them off, for as long as it is told."""

    def __init__(self) -> None:
        self.room: int | None = None

    def write(self, file: int, data: memoryview) -> int:
        if self.room is None:
            return super().write(file, data)
        if self.room == 0:
            raise OSError(28, "No space left on device")
        taken, self.room = super().write(file, data[: self.room]), 0
        return taken

    def truncate(self, file: int, size: int) -> None:
        if self.room is not None:
            raise OSError(5, "Input/output error")
        super().truncate(file, size)


def test_a_torn_record_that_cannot_be_cut_off_now_is_cut_off_later(tmp_path: Path):
    files = Stubborn()
    writer = SegmentWriter(tmp_path, 1000, 1 << 20, files)
    writer.commit(frame(b"before"), 1)
    files.room = len(frame(b"one")) + 3
    with pytest.raises(OSError, match="No space"):
        writer.commit(frame(b"one") + frame(b"two"), 2)
    first = segments(tmp_path)[0]
    assert first.read_bytes()[-1:] != b"\n"

    files.room = None
    writer.commit(frame(b"after"), 1)

    assert found_in(tmp_path) == [b"before", b"one", b"after"], "a whole record stays: the drain may have stored it"
    assert first.read_bytes()[-1:] == b"\n", "or it would be counted as reported and as torn"


def test_it_is_cut_off_at_the_end_too(tmp_path: Path):
    files = Stubborn()
    writer = SegmentWriter(tmp_path, 1000, 1 << 20, files)
    files.room = 5
    with pytest.raises(OSError, match="No space"):
        writer.commit(frame(b"one"), 1)
    files.room = None
    writer.finish()
    assert not any(path.read_bytes() for path in segments(tmp_path))


# --- somebody deletes or moves files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["commit", "write"])
def test_a_batch_is_written_again_where_its_segment_was_deleted(writer: SegmentWriter, tmp_path: Path, keep: str):
    getattr(writer, keep)(frame(b"gone"), 1)
    segments(tmp_path)[0].unlink()
    getattr(writer, keep)(frame(b"one") + frame(b"two"), 2)
    getattr(writer, keep)(frame(b"three"), 1)
    writer.finish()

    assert found_in(tmp_path) == [b"one", b"two", b"three"]
    assert (len(segments(tmp_path)), writer.vanished) == (1, 1)


def test_a_segment_that_was_moved_away_holds_nothing_twice_when_it_comes_back(writer: SegmentWriter, tmp_path: Path):
    writer.commit(frame(b"before"), 1)
    first = segments(tmp_path)[0]
    away = tmp_path / "away"
    first.rename(away)
    writer.commit(frame(b"after"), 1)
    away.rename(first)

    assert found_in(tmp_path) == [b"before", b"after"]


def test_a_folder_that_was_deleted_is_made_and_owned_again(tmp_path: Path, files: Any):
    folder = tmp_path / "spool" / "t0"
    lock = own_folder(folder)
    writer = SegmentWriter(folder, 1000, 1 << 20, files)
    for record in (b"one", b"two"):
        shutil.rmtree(folder)
        writer.commit(frame(record), 1)
        assert (found_in(folder), is_owned(folder)) == ([record], True)
    writer.finish()
    assert not is_owned(folder)
    os.close(lock)


def test_where_the_whole_spool_is_gone_so_is_perhaps_its_disk(tmp_path: Path, files: Any):
    folder = tmp_path / "spool" / "t0"
    lock = own_folder(folder)
    writer = SegmentWriter(folder, 1000, 1 << 20, files)
    writer.commit(frame(b"one"), 1)
    shutil.rmtree(folder.parent)
    with pytest.raises(FileNotFoundError):
        writer.commit(frame(b"two"), 1)
    assert not folder.parent.exists()
    os.close(lock)


def test_segments_that_always_vanish_are_a_refusal(tmp_path: Path):
    class Nowhere(SystemFiles):
        def is_at(self, file: int, path: Path) -> bool:
            return False

    writer = SegmentWriter(tmp_path, 1000, 1 << 20, Nowhere())
    with pytest.raises(FileNotFoundError, match="segments are deleted as soon as they are begun"):
        writer.commit(frame(b"one"), 1)
    writer.finish()
    assert found_in(tmp_path) == []


class MemoryDisk:
    """A disk whose power can go at any moment: of each file, ``durable`` says how much is sure to survive."""

    def __init__(self, fail_at: frozenset[int]) -> None:
        self.contents: list[bytearray] = []
        self.durable: list[int] = []
        self._fail_at = fail_at
        self._operation = 0

    def _maybe_fail(self) -> None:
        self._operation += 1
        if self._operation in self._fail_at:
            raise OSError(5, "Input/output error")

    def create(self, path: Path) -> int:
        self._maybe_fail()
        self.contents.append(bytearray())
        self.durable.append(0)
        return len(self.contents) - 1

    def write(self, file: int, data: memoryview) -> int:
        self._maybe_fail()
        taken = max(1, len(data) // 2)  # short writes are legal
        self.contents[file] += data[:taken]
        return taken

    def sync(self, file: int) -> None:
        self._maybe_fail()
        self.durable[file] = len(self.contents[file])

    def truncate(self, file: int, size: int) -> None:
        del self.contents[file][size:]

    def close(self, file: int) -> None:
        return None

    def is_at(self, file: int, path: Path) -> bool:
        return True

    def sync_path(self, path: Path) -> None:
        self._maybe_fail()

    def remove(self, path: Path) -> None:
        del self.contents[-1][:]

    def survivors(self) -> set[bytes]:
        lines = b"".join(bytes(content[:sure]) for content, sure in zip(self.contents, self.durable, strict=True)).splitlines(keepends=True)
        return {payload for line in lines if isinstance(payload := unframe(line), bytes)}


@settings(deadline=None)
@given(st.frozensets(st.integers(1, 60)), st.lists(st.integers(1, 4), max_size=12))
def test_whatever_fails_and_whenever_the_power_goes_confirmed_records_survive(fail_at: frozenset[int], batches: list[int]):
    disk = MemoryDisk(fail_at)
    writer = SegmentWriter(Path("unused"), 0, 60, disk)
    confirmed: set[bytes] = set()
    for number, size in enumerate(batches):
        batch = [b"%d.%d" % (number, index) for index in range(size)]
        try:
            writer.commit(b"".join(frame(payload) for payload in batch), size)
        except OSError:
            pass
        else:
            confirmed |= set(batch)
        assert disk.survivors() == confirmed, "after every batch, as if the power went now"


def test_only_folders_that_a_tracker_may_be_called_by_are_spools(tmp_path: Path):
    """A disk of its own holds a ``lost+found`` that only root may read."""
    for name in ("t0", "lost+found", "T1", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "drain.lock").touch()
    assert [folder.name for folder in spool_folders(tmp_path)] == ["t0"]
