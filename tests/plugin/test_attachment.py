"""What goes on a test's reports: for whom, how much, of which types, and how it travels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Differential

SUITE = """
    import pytest

    def test_passes():
        pass

    def test_fails():
        assert 0, "on purpose"

    @pytest.mark.xfail
    def test_xfails():
        assert 0

    @pytest.mark.xfail(strict=True)
    def test_strict():
        pass

    def test_imperative():
        pytest.xfail("so")

    @pytest.fixture
    def broken():
        yield
        raise RuntimeError("broken")

    def test_teardown(broken):
        pass
"""

#: A user's own wrapper, and what a reporter sees of every report.
SEEN = """
    import json
    import os
    import pytest

    def tell(who, report):
        found = getattr(report, "diagnostics", None)
        kind = "dict" if isinstance(found, dict) else type(found).__name__
        plain = kind, json.loads(json.dumps(found)) == found
        names = [name for name, _ in report.sections if name == "diagnostics"]
        size = len(json.dumps(found))
        with open(os.environ["SEEN"], "a") as file:
            file.write(json.dumps([who, report.nodeid, report.when, plain[0], plain[1], size, names]) + "\\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        tell("makereport", report)
        return report

    def pytest_runtest_logreport(report):
        tell("worker" if "PYTEST_XDIST_WORKER" in os.environ else "main", report)

    @pytest.hookimpl(tryfirst=True, wrapper=True)
    def pytest_report_to_serializable(config, report):
        data = yield
        if data is not None and "diagnostics" in data:
            text = data["diagnostics"]
            with open(os.environ["SEEN"], "a") as file:
                seen = ["wire", data["nodeid"], data["when"], type(text).__name__, text.isascii()]
                file.write(json.dumps(seen) + "\\n")
        return data
"""


class Sight(dict[tuple[str, str, str], list[object]]):
    """What was seen, by who saw it, test and phase."""

    def by(self, who: str) -> dict[tuple[str, str], list[object]]:
        """Return what one of them saw."""
        return {(name, when): rest for (seer, name, when), rest in self.items() if seer == who}


def seen(differential: Differential, *args: str) -> Sight:
    path = differential.path / "seen.jsonl"
    path.unlink(missing_ok=True)
    differential.env["SEEN"] = str(path)
    differential.write(test_it=SUITE, conftest=SEEN)
    differential.run(*args, on=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return Sight({(who, nodeid.rpartition("::")[2], when): rest for who, nodeid, when, *rest in lines})


def test_failed_and_teardown_reports_carry_diagnostics(differential: Differential) -> None:
    sight = seen(differential).by("main")

    carrying = {key for key, (kind, *_) in sight.items() if kind != "NoneType"}
    teardowns = {(name, when) for name, when in sight if when == "teardown"}
    assert carrying == {("test_fails", "call"), ("test_strict", "call"), *teardowns}
    assert len(teardowns) == 6
    for kind, plain, size, _ in (rest for key, rest in sight.items() if key in carrying):
        assert (kind, plain) == ("dict", True)
        assert int(str(size)) <= 4096


def test_the_section_is_on_the_failed_phase_alone(differential: Differential) -> None:
    sight = seen(differential).by("main")

    assert {key for key, (*_, names) in sight.items() if names} == {
        ("test_fails", "call"),
        ("test_strict", "call"),
        ("test_teardown", "teardown"),
    }
    assert all(names in ([], ["diagnostics"]) for *_, names in sight.values())


def test_a_users_own_wrapper_sees_what_is_attached(differential: Differential) -> None:
    sight = seen(differential).by("makereport")

    assert sight["test_fails", "call"][0] == "dict"
    assert sight["test_fails", "call"][-1] == ["diagnostics"]
    assert sight["test_passes", "teardown"][0] == "dict"
    assert sight["test_passes", "call"][0] == "NoneType"


@pytest.mark.xdist
def test_diagnostics_travel_as_one_string_and_arrive_as_a_dict(xdist: Differential) -> None:
    sight = seen(xdist, "-n2")

    wire = sight.by("wire")
    assert {key: tuple(rest) for key, rest in wire.items()} == dict.fromkeys(wire, ("str", True))
    assert ("test_fails", "call") in wire
    assert sight.by("worker")["test_fails", "call"][0] == "dict"
    assert sight.by("main")["test_fails", "call"][0] == "dict"
    assert sight.by("main")["test_fails", "call"][-1] == ["diagnostics"]


def test_a_report_log_holds_them_as_one_string(inside: pytest.Pytester) -> None:
    inside.makepyfile(test_it="def test_fails(): assert 0")
    inside.makeconftest(
        """
        def pytest_configure(config):
            class Log:
                def pytest_runtest_logreport(self, report):
                    hook = config.hook
                    data = hook.pytest_report_to_serializable(config=config, report=report)
                    again = hook.pytest_report_from_serializable(config=config, data=dict(data))
                    if report.when == "call":
                        assert type(data["diagnostics"]) is str
                        assert again.diagnostics == report.diagnostics
                        print("COMPARED")
            config.pluginmanager.register(Log())
        """
    )

    result = inside.runpytest_inprocess("--diagnostics", "-s")

    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("COMPARED") == 1


def test_a_section_says_in_words_what_the_phase_used(differential: Differential) -> None:
    differential.write(test_it="def test_fails(): assert sum(range(2_000_000)) == 0")

    on = differential.run(on=True)

    section = on.out.partition(" diagnostics ---")[2]
    first, second, *_ = section.partition("\n")[2].splitlines()
    assert first.startswith("call took ")
    assert "on a CPU (" in first
    assert second.startswith("peak memory ")


def test_figures_that_do_not_fit_are_left_out(inside: pytest.Pytester) -> None:
    inside.makepyfile(
        test_it="""
            import pytest
            limits = {"wall_seconds": 1000, "cpu_seconds": 1000, "peak_rss": "99 GB", "rss_growth": "9 GB"}
            @pytest.mark.diagnostics_limit(**limits)
            def test_fails(request):
                pass
            @pytest.fixture(autouse=True)
            def broken():
                yield
                assert 0
        """,
        conftest="""
            import json
            import pytest_diagnostics.attachment as attachment
            attachment.MAX_BYTES = 1200
            def pytest_runtest_logreport(report):
                if report.when == "teardown":
                    assert len(json.dumps(report.diagnostics)) <= 1200 + 60
                    print("LEFT OUT:", sorted(k for k, v in report.diagnostics.items() if isinstance(v, str)))
        """,
    )

    result = inside.runpytest_subprocess("--diagnostics", "-s", "--diagnostics-collectors=cpu")

    result.stdout.fnmatch_lines("*LEFT OUT: [[]*'limits'*")


@pytest.mark.parametrize(
    "args", [(), pytest.param(("-n2",), marks=pytest.mark.xdist)], ids=["alone", "xdist"]
)
def test_junit_properties_are_there_once(xdist: Differential, args: tuple[str, ...]) -> None:
    xdist.write(test_it=SUITE)

    xdist.run("--diagnostics-junit", "--junit-xml=out.xml", *args, on=True)

    xml = (xdist.path / "out.xml").read_text()
    cases = xml.split("<testcase ")[1:]
    names = [case.partition(' name="')[2].partition('"')[0] for case in cases]
    assert {"test_passes", "test_fails", "test_xfails", "test_teardown"} <= set(names)
    for name in ("test_passes", "test_fails", "test_xfails", "test_teardown"):
        of_test = "".join(case for case in cases if f' name="{name}"' in case)
        assert of_test.count('name="diagnostics_cpu_seconds"') == 1
        assert of_test.count('name="diagnostics_peak_rss_bytes"') == 1


def test_junit_has_no_properties_unasked(differential: Differential) -> None:
    differential.write(test_it=SUITE)

    differential.run("--junit-xml=out.xml", on=True)

    assert "diagnostics_" not in (differential.path / "out.xml").read_text()


def test_nobody_is_shown_a_section_with_show_none(differential: Differential) -> None:
    differential.write(test_it=SUITE)

    on = differential.run("--diagnostics-show=none", on=True)

    assert " diagnostics ---" not in on.out
    assert "peak memory" not in on.out
