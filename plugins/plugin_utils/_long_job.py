# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Base class of the action plugins whose modules run for minutes: shows their progress.

The module runs in the background of the host, under Ansible's own async wrapper. Meanwhile the
action plugin reads the module's progress file and prints a line every few seconds. A cut
connection does no harm, and neither does Ctrl-C: the job on the host goes on, and the next run
finds the module's lock and waits for it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

DEFAULT_TIMEOUT = 6 * 3600
SECONDS_TO_FIRST_LINE = 3.0
SECONDS_BETWEEN_LINES = 10.0  # Together with one poll well below the 15 seconds that are promised.
SECONDS_WITHOUT_CONNECTION = 300.0
SECONDS_WITHOUT_PROCESS = 10.0
RATE_WINDOW = 60.0
# What async keeps for itself, and no module of ours returns.
ASYNC_KEYS = ("ansible_job_id", "started", "finished", "results_file")


@dataclass(frozen=True)
class Sample:
    """The content of a progress file."""

    phase: str
    done: int
    total: int | None
    unit: str
    time: float
    pid: int


def parse_sample(text: str) -> Sample | None:
    """Returns the content of a progress file, or None for one that is not there yet or makes no sense."""
    try:
        figures = json.loads(text)
        return Sample(**{name: figures[name] for name in Sample.__dataclass_fields__})
    except (ValueError, KeyError, TypeError):
        return None


def seconds_until_next_poll(elapsed: float) -> float:
    """Returns the polling interval: short for new jobs, so that short ones return quickly, and longer later."""
    if elapsed < 3:
        return 0.5
    return 1.0 if elapsed < 15 else 3.0


class Report:
    """Turns samples into lines for people."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def add(self, sample: Sample | None) -> None:
        if sample is None or (self._samples and sample.time == self._samples[-1].time):
            return
        last = self._samples[-1] if self._samples else sample
        if (sample.phase, sample.unit) != (last.phase, last.unit) or sample.done < last.done:
            self._samples = []
        self._samples = [one for one in self._samples if one.time >= sample.time - RATE_WINDOW] + [sample]

    @property
    def pid(self) -> int | None:
        return self._samples[-1].pid if self._samples else None

    def line(self) -> str:
        """Returns for example ``downloading, 43 % (6.1 of 14.3 GB, 85.0 MB/s, about 1 min 36 s left)``."""
        if not self._samples:
            return "starting"
        first, last = self._samples[0], self._samples[-1]
        seconds = last.time - first.time
        rate = (last.done - first.done) / seconds if seconds > 0 else 0.0
        if not last.total:
            figures = [] if not last.done else [amount(last.done, last.unit)]
        else:
            figures = [f"{amount(last.done, last.unit, last.total)} of {amount(last.total, last.unit)}"]
        if rate > 0:
            figures.append(rate_text(rate, last.unit))
            if last.total and last.total > last.done:
                figures.append(f"about {duration((last.total - last.done) / rate)} left")
        percent = f", {100 * last.done // last.total} %" if last.total else ""
        return f"{last.phase}{percent}" + (f" ({', '.join(figures)})" if figures else "")


def scale(value: float) -> tuple[float, str]:
    """Returns the decimal multiple of bytes that people read most easily for this value."""
    for factor, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value >= factor:
            return factor, name
    return 1, "bytes"


def amount(value: int, unit: str, alike: int | None = None) -> str:
    """Returns an amount with its unit; without it and in the same multiple when it stands before ``alike``."""
    if unit != "bytes":
        return str(value) if alike is not None else f"{value} {unit}"
    factor, name = scale(alike if alike is not None else value)
    number = f"{value / factor:.1f}" if factor > 1 else str(value)
    return number if alike is not None else f"{number} {name}"


def rate_text(rate: float, unit: str) -> str:
    if unit != "bytes":
        return f"{rate:.1f} {unit}/s"
    factor, name = scale(rate)
    return f"{rate / factor:.1f} {name}/s"


def duration(seconds: float) -> str:
    """Returns for example ``1 min 36 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clean_result(result: dict[str, Any], label: str, timeout: int) -> dict[str, Any]:
    """Makes the result of a background job look as if the module had run in the foreground."""
    cleaned = {key: value for key, value in result.items() if key not in ASYNC_KEYS}
    for key in ("stdout", "stderr"):  # async_status adds them, empty
        if not cleaned.get(key):
            cleaned.pop(key, None)
            cleaned.pop(f"{key}_lines", None)
    module_args = cleaned.get("invocation", {}).get("module_args", {})
    module_args.pop("progress_file", None)
    if "child_pid" in cleaned:  # The wrapper's own word for its time limit.
        cleaned = {
            "failed": True,
            "msg": f"{label} was stopped on the host: it did not finish within {timeout} seconds "
            "(variable copilot_job_timeout). Run the play again; it goes on where it stopped.",
        }
    elif cleaned.get("failed") and "cmd" in cleaned and ("data" in cleaned or "outdata" in cleaned):
        said = str(cleaned.get("stderr") or cleaned.get("data") or "").strip()
        cleaned = {"failed": True, "msg": gone_text(label) + (f" Its last words: {said[-500:]}" if said else "")}
    return cleaned


def gone_text(label: str) -> str:
    return (
        f"{label} ended on the host without a result: somebody killed it, the host ran out of memory, or it was "
        "restarted. Run the play again; it goes on where it stopped."
    )


class LongJobActionBase(ActionBase):
    """Runs ``module_name`` in the background and shows its progress.

    The module must take ``progress_file`` (type path) and give it to ``ProgressFile``. The
    variable ``copilot_job_timeout`` bounds the job (seconds).
    """

    _supports_check_mode = True
    _supports_async = True
    module_name: str

    @abstractmethod
    def label(self, args: dict[str, Any]) -> str:
        """Returns what stands before the progress, in a few words. Must not hold a secret."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self.run_job(dict(self._task.args), task_vars or {}))
        return result

    def run_plainly(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Runs the module in the foreground, without progress."""
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        result: dict[str, Any] = self._execute_module(
            module_name=self.module_name, module_args=args, task_vars=task_vars, wrap_async=wrap_async
        )
        return result

    def run_job(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Runs the module in the background, and in the foreground where nothing long can happen."""
        args.pop("progress_file", None)
        if self._task.check_mode or self._task.async_val:
            return self.run_plainly(args, task_vars)
        label = self.label(args)
        timeout = int(self._templar.template(task_vars.get("copilot_job_timeout", DEFAULT_TIMEOUT)))
        progress_name = f"slm-copilot-progress-{uuid.uuid4().hex}"
        async_dir = self.get_shell_option("async_dir", default="~/.ansible_async")
        started = self._start({**args, "progress_file": f"{async_dir}/{progress_name}"}, task_vars, timeout)
        job = started.get("results_file")
        if not job or started.get("failed"):
            return clean_result(started, label, timeout)
        progress = os.path.join(os.path.dirname(job), progress_name)
        try:
            self._wait(label, job, progress, timeout, str(task_vars.get("inventory_hostname", "")))
            status_args = {"jid": os.path.basename(job), "_async_dir": os.path.dirname(job)}
            result = self._execute_module(module_name="ansible.legacy.async_status", module_args=status_args, task_vars=task_vars)
        finally:
            self._remove(job, progress)
        return clean_result(result, label, timeout)

    def _start(self, args: dict[str, Any], task_vars: dict[str, Any], timeout: int) -> dict[str, Any]:
        # _execute_module takes the limit from the task. Put it back at once: with it in place,
        # the task executor would believe that it has to poll for the job itself.
        self._task.async_val = timeout
        try:
            result: dict[str, Any] = self._execute_module(
                module_name=self.module_name, module_args=args, task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = 0
        return result

    def _wait(self, label: str, job: str, progress: str, timeout: int, host: str) -> None:
        """Waits for the result of the job, and prints its progress meanwhile."""
        report = Report()
        start = last_contact = last_alive = time.monotonic()
        next_line = start + SECONDS_TO_FIRST_LINE
        while True:
            now = time.monotonic()
            if now - start > timeout + 60:  # The wrapper on the host should have ended it.
                raise AnsibleActionFail(clean_result({"child_pid": 0}, label, timeout)["msg"])
            time.sleep(seconds_until_next_poll(now - start))
            try:
                finished, alive, sample = self._poll(job, progress, report.pid)
            except AnsibleConnectionFailure as error:
                if time.monotonic() - last_contact > SECONDS_WITHOUT_CONNECTION:
                    raise
                display.vvv(f"{label}: no connection, trying again: {error}", host=host)
                self._reset_connection()
                continue
            now = last_contact = time.monotonic()
            if finished:
                return
            if alive:
                last_alive = now
            elif now - last_alive > SECONDS_WITHOUT_PROCESS:
                raise AnsibleActionFail(gone_text(label))
            report.add(sample)
            if now >= next_line:
                display.display(f"[{host}] {label}: {report.line()}", stderr=True)  # standard output may be a callback's JSON
                next_line = now + SECONDS_BETWEEN_LINES

    def _poll(self, job: str, progress: str, pid: int | None) -> tuple[bool, bool, Sample | None]:
        """Returns whether the job has a result, whether its process lives, and the newest progress."""
        living = f"[ -d /proc/{pid} ]" if pid else "true"
        answer = self._low_level_execute_command(
            # While a job runs, its result file says "started".
            f"cat {shlex.quote(progress)} 2>/dev/null; echo; grep -qs '\"started\"' {shlex.quote(job)} "
            f"&& echo running || echo finished; {living} && echo alive || echo gone"
        )
        said = re.search(r"^(.*)\n(running|finished)\s+(alive|gone)\s*$", answer["stdout"], re.DOTALL)
        if not said:
            raise AnsibleConnectionFailure(
                f"the host did not answer as expected: {answer['stdout']!r} (exit status {answer.get('rc')}: "
                f"{str(answer.get('stderr', '')).strip()[-500:]})"
            )
        sample_lines = said[1].strip().splitlines()
        return said[2] == "finished", said[3] == "alive", parse_sample(sample_lines[-1] if sample_lines else "")

    def _remove(self, job: str, progress: str) -> None:
        names = " ".join(shlex.quote(name) for name in (job, progress, f"{progress}.new"))
        self._quietly(lambda: self._low_level_execute_command(f"rm -f {names}"))

    def _reset_connection(self) -> None:
        self._quietly(self._connection.reset)

    @staticmethod
    def _quietly(step: Callable[[], Any]) -> None:
        try:
            step()
        except (AnsibleConnectionFailure, AttributeError) as error:
            display.vvv(f"ignored: {error}")
