# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real programs against a server that is as slow as a real one: each gets its answer, and asks once.

Their file of CAs begins with another one, as where an operator's own CA has an intermediate: each reads it whole.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from conftest import Developer, Slow, slow_server
from test_programs import COMMANDS, question_of

SECONDS = 8  # more than the 3.6 after which a timeout in seconds that is taken for milliseconds ends
MINUTES = 330  # more than the five minutes after which programs end by default
PATIENCE = 300  # for programs that start, all at the same time, on a busy machine
# Who waits for headers longer than five minutes. Cline cannot: its limit is that of its runtime, Bun.
PATIENT = [program for program in COMMANDS if program != "cline"]
CASES = [("at once", program) for program in COMMANDS] + [("late", program) for program in COMMANDS]
Answered = Callable[[str, str], tuple["subprocess.CompletedProcess[str]", int]]


@pytest.fixture(scope="module", params=[SECONDS, pytest.param(MINUTES, marks=pytest.mark.full)], ids=["seconds", "minutes"])
def answered(request: pytest.FixtureRequest, developer: Developer, slow_certificate: None) -> Iterator[Answered]:
    """Has all programs ask at the same time, since they do nothing but wait; returns what came of one, and how often it asked."""
    wait = request.param
    jobs: dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]] = {}

    def ask(slow: Slow, headers: str, program: str) -> subprocess.CompletedProcess[str]:
        person = developer.elsewhere(f"{program}-{slow.port}")
        person.runs(f"grep -rlF https://10.89.83.11:8443 ~/slm-copilot | xargs sed -i s,https://10.89.83.11:8443,{slow.url},")
        person.runs("cat /opt/slow/other-ca.pem ~/slm-copilot/ca.pem > ~/both.pem && mv ~/both.pem ~/slm-copilot/ca.pem")
        command = question_of(program, f"headers {headers}")[1].replace("-t 60", f"-t {wait + PATIENCE}")
        return person.types(program, command, seconds=wait + PATIENCE)

    with ExitStack() as stack, ThreadPoolExecutor(len(CASES) if wait > SECONDS else 4) as pool:
        servers = {
            "at once": stack.enter_context(slow_server(9100 + wait, wait)),
            "late": stack.enter_context(slow_server(9101 + wait, wait, "--late-headers")),
        }
        for headers, program in CASES:
            if wait == SECONDS or headers == "at once" or program in PATIENT:
                jobs[headers, program] = pool.submit(ask, servers[headers], headers, program)

        def result(headers: str, program: str) -> tuple[subprocess.CompletedProcess[str], int]:
            if (headers, program) not in jobs:
                pytest.skip(f"{program} ends after five minutes without headers")
            done = jobs[headers, program].result()
            asked = servers[headers].asked(question_of(program, f"headers {headers}")[0])
            # OpenCode asks for a title, too, without tools.
            return done, len([one for one in asked if program == "aider" or '"tools"' in one["text"]])

        yield result


@pytest.mark.parametrize(("headers", "program"), CASES)
def test_a_slow_answer_arrives_and_was_asked_for_once(answered: Answered, headers: str, program: str) -> None:
    done, times = answered(headers, program)
    assert done.returncode == 0 and "Forty-two, after a while" in done.stdout, done.stdout[-3000:]
    assert times == 1
