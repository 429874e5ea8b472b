# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._long_job import (
    Report,
    Sample,
    amount,
    clean_result,
    duration,
    parse_sample,
    seconds_until_next_poll,
)


def samples(*figures, phase="downloading", total=14_300_000_000, unit="bytes"):
    return [Sample(phase, done, total, unit, float(when), 7) for when, done in figures]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        pytest.param([], "starting", id="nothing-yet"),
        pytest.param(
            samples((0, 5_590_000_000), (6, 6_100_000_000)),
            "downloading, 42 % (6.1 of 14.3 GB, 85.0 MB/s, about 1 min 36 s left)",
            id="download",
        ),
        pytest.param(
            samples((0, 180), (20, 200), phase="compiling", total=467, unit="steps"),
            "compiling, 42 % (200 of 467 steps, 1.0 steps/s, about 4 min 27 s left)",
            id="steps",
        ),
        pytest.param(samples((0, 6_100_000_000)), "downloading, 42 % (6.1 of 14.3 GB)", id="no-rate-from-one-sample"),
        pytest.param(samples((0, 0), (2, 3_000_000), total=None), "downloading (3.0 MB, 1.5 MB/s)", id="size-not-known"),
        pytest.param(samples((0, 0), phase="configuring", total=None, unit="steps"), "configuring", id="no-figures"),
        pytest.param(samples((0, 0), (9, 0)), "downloading, 0 % (0.0 of 14.3 GB)", id="nothing-comes"),
        pytest.param(
            [*samples((0, 9), total=10, phase="a", unit="x"), *samples((1, 1), total=10, phase="b", unit="x")],
            "b, 10 % (1 of 10 x)",
            id="rate-only-within-a-phase",
        ),
        pytest.param(
            samples((0, 0), (100, 10**9), (130, 10**9 + 30_000_000)),
            "downloading, 7 % (1.0 of 14.3 GB, 1.0 MB/s, about 3 h 41 min left)",
            id="rate-of-the-last-minute",
        ),
        pytest.param(
            samples((0, 14_300_000_000 - 10), (1, 14_300_000_000)),
            "downloading, 100 % (14.3 of 14.3 GB, 10.0 bytes/s)",
            id="complete",
        ),
        pytest.param(samples((0, 10**9), (1, 5)), "downloading, 0 % (0.0 of 14.3 GB)", id="started-over"),
    ],
)
def test_a_line_says(given, line):
    report = Report()
    for sample in given:
        report.add(sample)
    assert report.line() == line


def test_a_sample_that_was_seen_before_says_nothing_new():
    report = Report()
    for sample in samples((0, 0), (5, 50), (5, 50), total=100, unit="steps"):
        report.add(sample)
    report.add(None)
    assert report.line() == "downloading, 50 % (50 of 100 steps, 10.0 steps/s, about 5 s left)"
    assert report.pid == 7


@pytest.mark.parametrize(
    ("text", "done"),
    [
        pytest.param("", None, id="no-file-yet"),
        pytest.param("{", None, id="half-a-file"),
        pytest.param('{"done": 1}', None, id="figures-missing"),
        pytest.param("[]", None, id="not-a-mapping"),
        pytest.param('{"phase": "a", "done": 3, "total": null, "unit": "bytes", "time": 1.5, "pid": 9, "more": 1}', 3, id="good"),
    ],
)
def test_a_progress_file_is_read(text, done):
    sample = parse_sample(text)
    assert (sample.done if sample else None) == done


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (96, "1 min 36 s"), (3600, "1 h 0 min"), (7530, "2 h 5 min")],
)
def test_a_duration_is_for_people(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (85_000_000, "85.0 MB")])
def test_an_amount_is_for_people(value, text):
    assert amount(value, "bytes") == text


def test_short_jobs_are_asked_often_and_long_ones_at_least_every_five_seconds():
    intervals = [seconds_until_next_poll(elapsed) for elapsed in (0, 2.9, 10, 60, 86400)]
    assert intervals == sorted(intervals)
    assert intervals[0] <= 0.5
    assert intervals[-1] <= 5


@pytest.mark.parametrize(
    ("result", "cleaned"),
    [
        pytest.param(
            {
                "changed": True,
                "ansible_job_id": "j1.2",
                "started": True,
                "finished": True,
                "results_file": "/root/.ansible_async/j1.2",
                "stdout": "",
                "stdout_lines": [],
                "stderr": "",
                "stderr_lines": [],
                "invocation": {"module_args": {"dest": "/m", "progress_file": "/p"}},
            },
            {"changed": True, "invocation": {"module_args": {"dest": "/m"}}},
            id="success",
        ),
        pytest.param(
            {"failed": True, "msg": "no such repo", "finished": 1},
            {"failed": True, "msg": "no such repo"},
            id="failure-of-the-module",
        ),
    ],
)
def test_a_result_looks_as_if_the_module_had_run_directly(result, cleaned):
    assert clean_result(result, "tiny", 60) == cleaned


@pytest.mark.parametrize(
    ("result", "words"),
    [
        pytest.param(
            {"msg": "Timeout exceeded", "failed": True, "child_pid": 12},
            ["tiny", "within 60 seconds", "copilot_job_timeout", "Run the play again"],
            id="time-limit",
        ),
        pytest.param(
            {"failed": True, "cmd": "/tmp/x", "data": "", "stderr": "", "msg": "Traceback: no start of json char"},
            ["tiny ended on the host without a result", "killed", "Run the play again"],
            id="killed",
        ),
        pytest.param(
            {"failed": True, "cmd": "/tmp/x", "data": "", "stderr": "Segmentation fault", "msg": "Traceback"},
            ["without a result", "Segmentation fault"],
            id="crashed",
        ),
    ],
)
def test_what_the_wrapper_says_is_put_into_words(result, words):
    cleaned = clean_result(result, "tiny", 60)
    assert cleaned["failed"] is True
    assert "Traceback" not in cleaned["msg"]
    for word in words:
        assert word in cleaned["msg"]
