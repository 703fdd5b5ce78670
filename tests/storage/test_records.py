"""The written form of records."""

from __future__ import annotations

import json
import zlib
from datetime import datetime, timezone

import pytest

from pytest_diagnostics.core.errors import ErrorType, ValidationError
from pytest_diagnostics.core.model import (
    CollectorError,
    DiagnosticResult,
    Event,
    EventKind,
    Execution,
    Health,
    HealthState,
    JsonValue,
    Stage,
)
from pytest_diagnostics.storage import records

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


def roundtrip(kind: str, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return records.decode(records.encode(kind, fields))


def closed(text: str) -> bytes:
    """Return any text closed by a checksum that fits."""
    body = text.encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def test_a_record_is_one_ascii_line_closed_by_the_crc_of_what_stands_before_it() -> None:
    line = records.encode("phase", {"nodeid": "t.py::é\n", "usage": {"cpu_seconds": 0.25}})

    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    body, _, crc = line.rpartition(b',"crc":')
    assert json.loads(crc.rstrip(b"}\n")) == f"{zlib.crc32(body):08x}"
    assert list(json.loads(line)) == ["v", "kind", "nodeid", "usage", "crc"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "\udc80 lone", "emoji": "\U0001f40d", "nul": "\0", "sep": "\u2028"},
        {"deep": {"a": [1, 2.5, None, True, {"b": "c"}]}, "big": 2**70},
        {"crc in text": '","crc":"00000000"}', "quoted": '{"v":1,"kind":"end"}'},
    ],
)
def test_what_was_written_is_read_back(fields: dict[str, JsonValue]) -> None:
    assert roundtrip("test", fields) == {"v": 1, "kind": "test", **fields}


@pytest.mark.parametrize("kind", sorted(records.KINDS))
def test_every_kind_can_be_written(kind: str) -> None:
    assert roundtrip(kind, {"a": 1})["kind"] == kind


@pytest.mark.parametrize(
    ("kind", "fields", "match"),
    [
        ("finish", {}, "no record kind 'finish'"),
        ("test", {"v": 2}, "may not name a field"),
        ("test", {"crc": "x"}, "may not name a field"),
        ("test", {"x": float("nan")}, "test record cannot be written"),
        ("test", {"x": {1, 2}}, "set is not JSON serializable"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_reason(
    kind: str, fields: dict[str, object], match: str
) -> None:
    with pytest.raises(ValidationError, match=match):
        records.encode(kind, fields)


def test_a_structure_that_contains_itself_is_refused() -> None:
    cycle: dict[str, object] = {}
    cycle["self"] = cycle

    with pytest.raises(ValidationError):
        records.encode("test", cycle)
    line, replaced = records.encode_leniently("test", {"ok": 1, "cycle": cycle})
    assert replaced
    assert records.decode(line)["ok"] == 1


def test_leniently_a_record_keeps_everything_but_the_value_that_json_cannot_say() -> None:
    line, replaced = records.encode_leniently(
        "phase",
        {"usage": {"cpu_seconds": float("inf"), "fds": 3}, "who": {1}, "what": object(), "n": 10**5000},
    )

    assert replaced
    assert records.decode(line) == {
        "v": 1,
        "kind": "phase",
        "usage": {"cpu_seconds": None, "fds": 3},
        "who": [1],
        "what": "<object>",
        "n": None,
    }
    assert records.encode_leniently("phase", {"fds": 3}) == (records.encode("phase", {"fds": 3}), False)


def test_a_line_cut_anywhere_is_torn_and_whole_without_its_line_end() -> None:
    line = records.encode("test", {"nodeid": "a"})

    for length in range(len(line) - 1):
        with pytest.raises(records.TornRecordError):
            records.decode(line[:length])
    assert records.decode(line[:-1]) == records.decode(line)


def test_every_flipped_bit_is_noticed() -> None:
    line = records.encode("test", {"nodeid": "a", "monotonic": 1.5})

    for position in range(len(line) - 1):
        for bit in range(8):
            broken = bytearray(line)
            broken[position] ^= 1 << bit
            with pytest.raises(records.RecordError):
                records.decode(bytes(broken))


@pytest.mark.parametrize(
    "text",
    [
        '["v",1',
        '{"v":1',
        '{"v":true,"kind":"test"',
        '{"kind":"test"',
        "{nonsense",
        '{"v":1,"kind":"test","x":NaN',
    ],
)
def test_a_fitting_checksum_alone_makes_no_record(text: str) -> None:
    with pytest.raises(records.DamagedRecordError):
        records.decode(closed(text))


@pytest.mark.parametrize(
    ("text", "match"), [('{"v":2,"kind":"test"', "version 2"), ('{"v":1,"kind":"dream"', "'dream'")]
)
def test_newer_versions_and_kinds_are_told_from_damage(text: str, match: str) -> None:
    with pytest.raises(records.UnknownRecordError, match=match):
        records.decode(closed(text))


def test_nesting_beyond_all_measure_is_damage() -> None:
    with pytest.raises(records.DamagedRecordError):
        records.decode(closed('{"v":1,"kind":"test","x":' + "[" * 100_000))


def result(**changes: object) -> DiagnosticResult:
    fields: dict[str, object] = {
        "collector_name": "cpu",
        "timestamp": NOON,
        "monotonic": 12.5,
        "seconds": 0.001,
        "data": {"usage_percent": 3.5},
        "collected": True,
        "stored": True,
        **changes,
    }
    return DiagnosticResult(**fields)  # type: ignore[arg-type]  # a test's builder


def test_a_usual_result_says_only_what_is_not_usual() -> None:
    assert records.from_record(result()) == (
        "result",
        {"collector": "cpu", "monotonic": 12.5, "seconds": 0.001, "data": {"usage_percent": 3.5}},
    )


def test_a_failed_result_says_why() -> None:
    error = CollectorError(
        ErrorType.TIMEOUT, Stage.COLLECT, "late", is_critical=True, time=NOON, details={"n": 1}
    )
    written = records.from_record(
        result(data=None, collected=False, stored=False, error=error, coerced=2, truncated=True, final=True)
    )

    assert written is not None
    assert roundtrip(*written) == {
        "v": 1,
        "kind": "result",
        "collector": "cpu",
        "monotonic": 12.5,
        "seconds": 0.001,
        "data": None,
        "collected": False,
        "stored": False,
        "error": {
            "type": "timeout",
            "stage": "collect",
            "message": "late",
            "is_critical": True,
            "time": "2026-01-02T12:00:00+00:00",
            "details": {"n": 1},
        },
        "coerced": 2,
        "truncated": True,
        "final": True,
    }


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (EventKind.GAP, "gap"),
        (EventKind.CLOCK_STEP, "gap"),
        (EventKind.SUSPEND, "gap"),
        (EventKind.HEALTH, "health"),
        (EventKind.STARTED, "event"),
        (EventKind.SINK_FAILED, "event"),
    ],
)
def test_an_event_becomes_the_record_of_its_kind(kind: EventKind, written: str) -> None:
    found = records.from_record(Event(kind, NOON, 3.0, "cpu", {"state": "failing", "reason": "x"}))

    assert found is not None
    assert found[0] == written
    fields = roundtrip(*found)
    assert fields["collector"] == "cpu"
    if written == "health":
        assert (fields["state"], fields["reason"]) == ("failing", "x")
    else:
        assert fields[written] == kind.value
        assert fields["details"] == {"state": "failing", "reason": "x"}


def test_a_call_that_succeeded_is_not_written_because_its_result_says_it_all() -> None:
    assert records.from_record(Execution("cpu", 1.0, 1.1, 0.2, 1, succeeded=True)) is None


def test_a_call_that_failed_is_written_with_its_attempt() -> None:
    found = records.from_record(Execution("cpu", 1.0, 1.1, 0.2, 2, succeeded=False))

    assert found is not None
    assert roundtrip(*found)["details"] == {"due": 1.0, "seconds": 0.2, "attempt": 2}


def test_a_final_account_holds_everything_that_health_knows() -> None:
    health = Health(
        "cpu", HealthState.DEGRADED, "why", runs=7, failures=2, timeouts=1, missed=3, seconds_total=0.5
    )

    fields = roundtrip(*records.from_health(health, 9.0))

    assert (fields["collector"], fields["state"], fields["reason"]) == ("cpu", "degraded", "why")
    account = fields["account"]
    assert isinstance(account, dict)
    assert (account["runs"], account["failures"], account["missed"]) == (7, 2, 3)
    assert account["seconds_total"] == 0.5


def test_lines_decoded_together_are_what_they_are_one_by_one() -> None:
    lines = [records.encode("phase", {"nodeid": f"test_{n}", "usage": {"fds": n}})[:-1] for n in range(5)]
    assert records.decode_together(lines) == [records.decode(line) for line in lines]
    assert records.decode_together([]) == []


def sealed(body: bytes) -> bytes:
    return b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\n",
        records.encode("phase", {"n": 1})[:-2],
        records.encode("phase", {"n": 1})[:-1].replace(b"1", b"2", 1),
        sealed(b'{"v":99,"kind":"phase"'),
        sealed(b'{"v":1,"kind":"unheard of"'),
        sealed(b'{"v":true,"kind":"phase"'),
        sealed(b'{"v":1,"kind":"phase"},{"v":1,"kind":"phase"'),
        sealed(b'{"v":1,"kind":"phase","n":NaN'),
        sealed(b'["v",{"kind":"phase"'),
    ],
)
def test_one_line_that_is_no_record_sends_all_of_them_to_be_decoded_one_by_one(odd: bytes) -> None:
    whole = records.encode("phase", {"n": 0})[:-1]
    assert records.decode_together([whole, odd, whole]) is None
