# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real programs with a llama-server that is as slow as a real one: each gets its answer, and has its prompt computed once.

On a host of ours, alone or behind a balancer, all slots are busy when they ask, and then their prompts are computed. An endpoint
that says nothing, not even headers, before it answers shows how long they would wait by themselves.

Their file of CAs begins with another one, as where an operator's own CA has an intermediate: each reads it whole.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from conftest import Developer, Server, Slow, SlowEngine, slow_endpoint, slow_engine
from people import Operator
from slow_server import SPEED
from test_programs import COMMANDS, question_of


@dataclass(frozen=True)
class Prompts:
    """How long they are, in tokens: on a host of ours, and at the endpoint that says nothing, if that is asked."""

    ours: int
    silent: int = 0
    through_balancer: bool = False


# The silent endpoint takes more than the 3.6 s after which a timeout in seconds that is taken for milliseconds ends, or more than
# the five minutes after which programs end by default.
SHORT, LONG = Prompts(400, 320), Prompts(20_000, 13_200)
THROUGH_BALANCER = Prompts(20_000, through_balancer=True)
WAYS = [
    pytest.param(SHORT, id="seconds"),
    pytest.param(LONG, id="minutes", marks=pytest.mark.full),
    pytest.param(THROUGH_BALANCER, id="minutes-through-a-balancer", marks=pytest.mark.full),
]
PATIENCE = 300  # seconds for programs that start, all at the same time, on a busy machine
SLOTS = 8  # as in the inventory: all programs are answered at the same time
# Who waits for headers longer than five minutes. Cline cannot: its limit is that of its runtime, Bun.
PATIENT = [program for program in COMMANDS if program != "cline"]
CASES = [("ours", program) for program in COMMANDS] + [("silent", program) for program in COMMANDS]
BUNDLE = "cat /opt/slow/other-ca.pem ~/slm-copilot/ca.pem > ~/both.pem && mv ~/both.pem ~/slm-copilot/ca.pem"
Answered = Callable[[str, str], tuple["subprocess.CompletedProcess[str]", int]]


@contextmanager
def balancer_before(operator: Operator, server: str) -> Iterator[None]:
    """Makes the server a balancer, too, so that who asks it is carried to it by the way that leads to all servers."""
    groups = {"copilot_servers": [server]}
    try:
        made = operator.run(groups={**groups, "copilot_balancers": [server]})
        assert made.status == 0, made.output[-3000:]
        yield
    finally:
        alone = operator.run(groups=groups)
        assert alone.status == 0, alone.output[-3000:]


@pytest.fixture(scope="module", params=WAYS)
def answered(
    request: pytest.FixtureRequest, operator: Operator, developer: Developer, one: Server, slow_certificate: None
) -> Iterator[Answered]:
    """Has all programs ask at the same time, since they do nothing but wait; returns what came of one, and how often it asked."""
    prompts: Prompts = request.param
    seconds = max(prompts.ours, prompts.silent) // SPEED + PATIENCE
    jobs: dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]] = {}

    def ask(where: str, program: str, server: Slow | SlowEngine) -> subprocess.CompletedProcess[str]:
        person = developer.elsewhere(f"{program}-{where}-{request.param_index}")
        if isinstance(server, Slow):
            change = f"s,https://10.89.83.11:8443,{server.url},"
            person.runs(f"grep -rlF https://10.89.83.11:8443 ~/slm-copilot | xargs sed -i {change}")
        person.runs(BUNDLE)
        command = question_of(program, f"as it is {where}")[1].replace("-t 60", f"-t {seconds}")
        return person.types(program, command, seconds=seconds)

    with ExitStack() as stack, ThreadPoolExecutor(len(CASES)) as pool:
        if prompts.through_balancer:
            stack.enter_context(balancer_before(operator, "clients-one"))
        ours = stack.enter_context(slow_engine(one.host, SLOTS, prompts.ours))
        servers: dict[str, Slow | SlowEngine] = {"ours": ours}
        if prompts.silent:
            servers["silent"] = stack.enter_context(slow_endpoint(9000 + prompts.silent, prompts.silent))
        for where, program in CASES:
            if where == "ours" or prompts is SHORT or (prompts.silent and program in PATIENT):
                jobs[where, program] = pool.submit(ask, where, program, servers[where])
        end = time.monotonic() + PATIENCE
        while ours.waiting < len(COMMANDS):
            assert time.monotonic() < end, f"only {ours.waiting} programs wait for a slot"
            time.sleep(1)
        ours.free()

        def result(where: str, program: str) -> tuple[subprocess.CompletedProcess[str], int]:
            if (where, program) not in jobs:
                pytest.skip("it ends after five minutes without headers" if prompts.silent else "no balancer of ours is silent")
            done = jobs[where, program].result()
            words = question_of(program, f"as it is {where}")[0]
            asked = [one["text"] for one in servers[where].asked() if words in one["text"]]
            # OpenCode asks for a title, too, without tools.
            return done, len([text for text in asked if program == "aider" or '"tools"' in text])

        yield result


@pytest.mark.parametrize(("where", "program"), CASES)
def test_a_slow_answer_arrives_and_its_prompt_was_computed_once(answered: Answered, where: str, program: str) -> None:
    done, times = answered(where, program)
    assert done.returncode == 0 and "Forty-two, after a while" in done.stdout, done.stdout[-3000:]
    assert times == 1
