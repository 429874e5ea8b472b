# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many checks in one task."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import connection_loader
from ansible.template import Templar, trust_as_template
from ansible_collections.slm.copilot.plugins.action.preflight_check import ActionModule

CHECKS = """
- that: port | int > 1023
  fail_msg: "port is {{ port }}: give a port that needs no privilege."
- that: ["name | length > 0", "name is match('[a-z]+$')"]
  fail_msg: "name is {{ name | to_json }}: use lower-case letters."
- that: details.size > 1   # where there is no name there are no details
  fail_msg: "{{ name }} has the size {{ details.size }}, which is too small."
- that: caveat is not defined
  warn_msg: "{{ name }}: {{ caveat }}"
"""
GOOD = {"port": "8443", "name": "alice", "details": {"size": 2}}


def trusted(value):
    if isinstance(value, dict):
        return {name: trusted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [trusted(one) for one in value]
    return trust_as_template(value) if isinstance(value, str) else value


def run(variables, checks=CHECKS):
    variables = {**variables, "checks": trusted(yaml.safe_load(checks))}
    loader, context, task = DataLoader(), PlayContext(), Task()
    task.args = {"checks": "checks"}
    connection = connection_loader.get("ansible.builtin.local", context)
    action = ActionModule(task, connection, context, loader, Templar(loader, variables=variables), None)
    return action.run(task_vars=variables)


def test_what_holds_says_nothing():
    assert run(GOOD) == {"changed": False}


def test_all_that_does_not_hold_is_told_at_once_and_what_follows_from_it_is_not():
    result = run({"port": 80, "name": ""})
    assert result["failed"]
    assert result["msg"].splitlines() == [
        "port is 80: give a port that needs no privilege.",
        'name is "": use lower-case letters.',
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"name": "Alice"}, 'name is "Alice": use lower-case letters.', id="the second of two conditions"),
        pytest.param({"details": {"size": 1}}, "alice has the size 1, which is too small.", id="the last one"),
    ],
)
def test_one_that_does_not_hold(change, expected):
    assert run({**GOOD, **change})["msg"] == expected


def test_a_warning_lets_the_run_go_on():
    result = run({**GOOD, "caveat": "slow"})
    assert result == {"changed": False, "warnings": ["alice: slow"]}


def test_a_check_that_cannot_be_evaluated_is_an_error():
    with pytest.raises(AnsibleError, match="details"):
        run({"port": 8443, "name": "alice"})


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        pytest.param("- that: true", r"checks\[0\] must have that, and either", id="no message"),
        pytest.param("- {that: true, fail_msg: a, warn_msg: b}", "either fail_msg or warn_msg", id="two messages"),
        pytest.param("- {that: true, fail_msg: a, when: false}", r"checks\[0\] must have", id="an unknown key"),
        pytest.param("- text", r"checks\[0\] must have", id="no check"),
        pytest.param("{}", "there is no list checks", id="no list"),
    ],
)
def test_a_list_of_another_form_is_an_error(checks, expected):
    with pytest.raises(AnsibleActionFail, match=expected):
        run({}, checks)
