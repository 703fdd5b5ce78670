"""Reading recordings back, whatever became of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pytest_diagnostics.core.errors import RecordingError
from pytest_diagnostics.core.recording import MAX_SERIES, Recording, ShardRecords
from pytest_diagnostics.storage import recording as reading
from pytest_diagnostics.storage import records
from pytest_diagnostics.storage.files import Files
from pytest_diagnostics.storage.recording import iter_records, read_memory, read_run
from pytest_diagnostics.storage.runs import RunDirectory, create_run, run_header, shard_header
from pytest_diagnostics.storage.shard import MemoryShard, ShardWriter


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path / "d", {"settings": {"scope": "session"}})


def sample_lines() -> list[bytes]:
    return [
        records.encode(
            "run", {"run": "r", "role": "main", "pid": 1, "anchor": {"wall": 5.0, "monotonic": 1.0}}
        ),
        records.encode("test", {"nodeid": "é", "monotonic": 2.0}),
        records.encode(
            "result", {"collector": "cpu", "monotonic": 2.5, "seconds": 0.1, "data": {"percent": 3}}
        ),
        records.encode("phase", {"nodeid": "é", "when": "setup", "usage": {"fds": 3}}),
        records.encode("end", {"reason": "finished"}),
    ]


def read_shard(run: RunDirectory, content: bytes) -> ShardRecords:
    path = run.shards / "main-1.jsonl"
    path.write_bytes(content)
    (shard,) = read_run(run).shards
    return shard


def kinds(shard: ShardRecords) -> list[object]:
    """Return the kinds read, in an order of our own for the two that are kept apart."""
    found = ["run"] * bool(shard.header) + [str(fields["kind"]) for fields in shard.records]
    return [*found, *("result" for results in shard.collectors.values() for _ in range(results.results))]


def test_everything_written_is_read(run: RunDirectory) -> None:
    shard = read_shard(run, b"".join(sample_lines()))

    assert kinds(shard) == ["run", "test", "phase", "end", "result"]
    assert (shard.count, shard.damaged, shard.torn, shard.unknown) == (5, 0, False, 0)
    column = shard.collectors["cpu"].columns["cpu.percent"]
    assert (list(column.times), list(column.values), column.unit) == ([2.5], [3.0], "percent")
    assert shard.size == sum(map(len, sample_lines()))


def test_cut_at_every_byte_exactly_the_whole_records_survive(run: RunDirectory) -> None:
    lines = sample_lines()
    content = b"".join(lines)
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    for length in range(len(content) + 1):
        shard = read_shard(run, content[:length])
        # The line end is no part of a record: without it the record is whole.
        whole = sum(end - 1 <= length for end in ends)
        assert shard.count == whole, length
        assert shard.damaged == shard.unknown == 0
        assert shard.torn is (length not in (0, *ends, *(end - 1 for end in ends))), length


def test_any_flipped_bit_costs_only_the_record_it_hit(run: RunDirectory) -> None:
    lines = sample_lines()
    content = b"".join(lines)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
    for position in range(len(content)):
        hit = sum(start <= position for start in starts) - 1
        for bit in range(8):
            broken = bytearray(content)
            broken[position] ^= 1 << bit
            shard = read_shard(run, bytes(broken))
            at_line_end = content[position] == ord("\n")
            assert shard.count == (5 if at_line_end else 4), (position, bit)
            expected = [
                records.decode(line)["kind"] for n, line in enumerate(lines) if at_line_end or n != hit
            ]
            assert sorted(map(str, kinds(shard))) == sorted(map(str, expected))
            assert shard.damaged + shard.torn + shard.unknown >= (0 if position == len(content) - 1 else 1)


@pytest.mark.parametrize(
    ("junk", "damaged"),
    [
        (b"\x00" * 5000 + b"\n", 1),
        (b"\xff\xfe\xfa\n", 1),
        (b"\n\n\n", 0),
        (b"not json\r\n", 1),
        (b'{"v":1,"kind":"te\n', 1),
        (b"{" * 200_000 + b"\n", 1),
    ],
)
def test_junk_between_records_is_counted_and_passed_over(
    run: RunDirectory, junk: bytes, damaged: int
) -> None:
    lines = sample_lines()
    shard = read_shard(run, lines[0] + junk + b"".join(lines[1:]))

    assert (shard.count, shard.damaged, shard.torn) == (5, damaged, False)


def test_an_endless_line_does_not_fill_the_memory(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_LINE", 3 << 20)
    lines = sample_lines()
    longest = 0
    decode = records.decode

    def measured(line: bytes) -> object:
        nonlocal longest
        longest = max(longest, len(line))
        return decode(line)

    monkeypatch.setattr(records, "decode", measured)
    path = run.shards / "main-1.jsonl"
    with path.open("wb") as file:
        file.write(lines[0])
        file.truncate(100 << 20)  # zeros, without taking the room
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + lines[1])
    (shard,) = read_run(run).shards

    assert (shard.count, shard.damaged) == (2, 1)
    assert longest <= 5 << 20


def test_newer_versions_and_unknown_kinds_are_counted_apart(run: RunDirectory) -> None:
    newer = sample_lines()[1].replace(b'"v":1', b'"v":2')
    body = newer[: newer.rindex(b',"crc"')]
    newer = body + b',"crc":"%08x"}\n' % records._Json.crc32(body)

    shard = read_shard(run, newer + b"".join(sample_lines()))
    assert (shard.count, shard.unknown, shard.damaged) == (5, 1, 0)


def test_records_of_a_right_form_and_a_wrong_content_raise_nothing(run: RunDirectory) -> None:
    lines = [
        records.encode("result", {}),
        records.encode("result", {"collector": 3, "monotonic": "x", "data": []}),
        records.encode("result", {"collector": "a", "monotonic": True, "data": {"x": 1}}),
        records.encode("result", {"collector": "a", "monotonic": 1, "error": "no", "data": {"x": 10**400}}),
        records.encode("run", {"anchor": [1], "pid": "x"}),
        records.encode("phase", {"usage": [1]}),
    ]
    shard = read_shard(run, b"".join(lines))
    assert (shard.count, shard.damaged) == (6, 0)
    assert shard.collectors["a"].results == 1


def test_missing_and_empty_parts_are_told(run: RunDirectory) -> None:
    (run.shards / "gw0-7.jsonl").touch()
    run.header.unlink()

    recording = read_run(run)
    assert recording.header == {}
    assert recording.problems == ["run.json cannot be read: No such file or directory (ENOENT)"]
    assert [(shard.name, shard.count) for shard in recording.shards] == [("gw0-7", 0)]
    run.header.write_text("[1")
    assert read_run(run).problems == ["run.json is damaged"]
    shutil.rmtree(run.shards)
    assert "the shards cannot be read" in read_run(run).problems[1]


def test_a_path_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="there is no run directory"):
        read_run(tmp_path / "nowhere")


@pytest.mark.skipif(os.name != "posix", reason="FIFOs and symlinks")
def test_what_is_no_file_is_not_waited_for_nor_followed(run: RunDirectory, tmp_path: Path) -> None:
    os.mkfifo(run.shards / "a-1.jsonl")
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(b"".join(sample_lines()))
    (run.shards / "b-1.jsonl").symlink_to(outside)

    recording = read_run(run)
    assert [shard.count for shard in recording.shards] == [0, 0]
    assert "a-1" in recording.problems[0]
    assert "ELOOP" in recording.problems[1]


def zeros(recording: Recording) -> list[float]:
    return [shard.zero for shard in recording.shards]


def test_times_of_one_machine_count_from_the_runs_anchor_whatever_the_wall_clock_did(
    run: RunDirectory,
) -> None:
    for role, wall in (("main", 1000.0), ("gw0", 9_999_999.0)):
        writer = ShardWriter(run.shard(role, 1))
        header = shard_header(run.name, role)
        writer.append("run", {**header, "anchor": {"wall": wall, "monotonic": 77.0}})
    recording = read_run(run)

    anchor = recording.header["anchor"]
    assert isinstance(anchor, dict)
    assert zeros(recording) == [anchor["monotonic"]] * 2
    assert recording.started == anchor["wall"]


def test_a_shard_of_another_boot_is_placed_by_the_wall_clocks(run: RunDirectory) -> None:
    header = shard_header(run.name, "gw0")
    anchor = header["anchor"]
    assert isinstance(anchor, dict)
    recording = read_run(run)
    started = recording.started or 0.0
    ShardWriter(run.shard("gw0", 1)).append(
        "run", {**header, "boot_id": "another", "anchor": {"wall": started + 10.0, "monotonic": 500.0}}
    )
    if header["boot_id"] is None:
        pytest.skip("this machine has no boot id")
    assert zeros(read_run(run)) == [490.0]


def test_without_run_json_the_first_shard_gives_the_time(run: RunDirectory) -> None:
    run.header.unlink()
    for role, monotonic in (("gw0", 30.0), ("main", 20.0)):
        ShardWriter(run.shard(role, 1)).append("run", {"anchor": {"wall": 1000.0, "monotonic": monotonic}})

    recording = read_run(run)
    assert (recording.started, zeros(recording)) == (1000.0, [20.0, 20.0])


def test_without_any_anchor_the_first_moment_is_the_start(run: RunDirectory) -> None:
    run.header.unlink()
    shard = read_shard(run, b"".join(sample_lines()[1:]))
    assert shard.zero == 2.0


def test_a_run_in_memory_reads_like_one_on_disk() -> None:
    shard = MemoryShard("main-1")
    shard.append("run", shard_header("in-memory", "main"))
    shard.append("result", {"collector": "cpu", "monotonic": 5.0, "data": {"percent": 1}})
    shard.append("test", {"nodeid": "a", "monotonic": 5.0})
    shard.close({"reason": "finished"})
    header = run_header({"settings": {}})

    recording = read_memory(header, [shard])  # type: ignore[arg-type]  # a header is JSON by construction
    assert kinds(recording.shards[0]) == ["run", "test", "end", "result"]
    assert recording.shards[0].zero == header["anchor"]["monotonic"]  # type: ignore[index]


def test_shards_from_memory_that_share_a_name_are_told_apart() -> None:
    shards = [MemoryShard("brought") for _ in range(3)]
    for shard, role in zip(shards, ("gw0", "gw1", "gw1"), strict=True):
        shard.append("run", {"role": role, "pid": 7})
    assert [shard.name for shard in read_memory({}, shards).shards] == ["gw0-7", "gw1-7", "gw1-7.2"]


def test_raw_records_can_be_walked_with_all_their_data(run: RunDirectory) -> None:
    (run.shards / "main-1.jsonl").write_bytes(b"".join(sample_lines()))
    found = list(iter_records(run))
    assert [(name, fields["kind"]) for name, fields in found][2] == ("main-1", "result")
    assert found[2][1]["data"] == {"percent": 3}


def test_a_collector_whose_names_change_at_every_tick_does_not_fill_the_memory(run: RunDirectory) -> None:
    lines = [
        records.encode(
            "result", {"collector": "x", "monotonic": n, "data": {f"k{n}_{i}": i for i in range(100)}}
        )
        for n in range(30)
    ]
    results = read_shard(run, b"".join(lines)).collectors["x"]
    assert len(results.columns) == MAX_SERIES
    assert results.beyond == 30 * 100 - MAX_SERIES


def test_what_was_read_before_a_file_failed_is_kept(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = sample_lines()
    (run.shards / "main-1.jsonl").write_bytes(b"".join(lines))
    parts = iter([b"".join(lines[:4])])

    def read(fd: int, size: int) -> bytes:
        for part in parts:
            return part
        raise OSError(5, "Input/output error")

    shard = ShardRecords("main-1")
    monkeypatch.setattr(Files, "read", read)
    with pytest.raises(OSError, match="Input/output"):
        reading._fill(shard, reading._lines(str(run.shards / "main-1.jsonl"), shard))

    assert kinds(shard) == ["run", "test", "phase", "result"]


def test_many_records_with_a_damaged_one_among_them_keep_their_order(run: RunDirectory) -> None:
    lines = [records.encode("test", {"nodeid": f"t{n}", "monotonic": float(n)}) for n in range(300)]
    lines[150] = lines[150].replace(b"t150", b"t15x")

    shard = read_shard(run, b"".join(lines))

    assert [fields["nodeid"] for fields in shard.records] == [f"t{n}" for n in range(300) if n != 150]
    assert (shard.count, shard.damaged) == (299, 1)
