# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evaluates a list of checks on the controller, in one task; see the module of the same name for its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.playbook.conditional import Conditional
from ansible.plugins.action import ActionBase

MESSAGES = ("fail_msg", "warn_msg")


class ActionModule(ActionBase):
    """Fails with the messages of all failed checks, so that they can be fixed together."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(argument_spec={"checks": {"type": "str", "required": True}})
        name = arguments["checks"]
        if not isinstance(variables.get(name), list):
            raise AnsibleActionFail(f"checks: there is no list {name}; give the name of a variable that is a list of checks.")

        said: dict[str, list[str]] = {kind: [] for kind in MESSAGES}
        # The variable itself is not templated yet, so that a message is only made where its check does not hold.
        for number, check in enumerate(variables[name]):
            kinds = set(check) & set(MESSAGES) if isinstance(check, Mapping) else set()
            if len(kinds) != 1 or set(check) != {"that", *kinds}:
                raise AnsibleActionFail(f"checks: {name}[{number}] must have that, and either fail_msg or warn_msg.")
            kind = kinds.pop()
            try:
                conditions = check["that"] if isinstance(check["that"], list) else [check["that"]]
                if not all(self._holds(condition, variables) for condition in conditions):
                    said[kind].append(str(self._templar.template(check[kind])))
            except AnsibleError:
                # An error that follows from a reported problem is not reported itself.
                if not said["fail_msg"]:
                    raise
        result["changed"] = False
        if said["warn_msg"]:
            result["warnings"] = said["warn_msg"]
        if said["fail_msg"]:
            result["failed"] = True
            result["msg"] = "\n".join(said["fail_msg"])
        return result

    def _holds(self, condition: Any, variables: dict[str, Any]) -> bool:
        if hasattr(self._templar, "evaluate_conditional"):  # ansible-core 2.19 and later
            return bool(self._templar.evaluate_conditional(condition))
        conditional = Conditional(loader=self._loader)
        conditional.when = [condition]
        return bool(conditional.evaluate_conditional(self._templar, variables))
