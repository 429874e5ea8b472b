# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the variables of a host on the controller; see the module of the same name for its documentation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load  # with libyaml, where that is there
from ansible.plugins.action import ActionBase
from ansible_collections.slm.copilot.plugins.plugin_utils._settings import (
    name_problems,
    name_warnings,
    value_problems,
    value_warnings,
)

ROLES = Path(__file__).parents[2] / "roles"


def documented_variables(roles: Path = ROLES) -> set[str]:
    """Returns the names of all options in the roles' argument specifications."""
    names: set[str] = set()
    for spec in roles.glob("*/meta/argument_specs.yml"):
        for entry_point in yaml_load(spec.read_text())["argument_specs"].values():
            names.update(entry_point.get("options", {}))
    return names


def results(roles: Path = ROLES) -> set[str]:
    """Returns the names of the variables that roles set for others. They are no settings, and most have no value yet."""
    return {name for file in roles.glob("*/meta/results.yml") for name in yaml_load(file.read_text())}


class ActionModule(ActionBase):
    """Fails with all problems at once, so that they can be fixed together."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        variables = task_vars or {}
        options = documented_variables()
        known = options | results()
        settings = {
            name: self._templar.template(variables[name])
            for name in options
            if name.startswith(("copilot_", "tls_extra_names")) and name in variables
        }
        problems = name_problems(variables, known) + value_problems(settings)
        result["changed"] = False
        warnings = name_warnings(variables, known, (role.name for role in ROLES.iterdir()))
        if not problems:
            settings["inventory_hostname"] = variables.get("inventory_hostname", "")
            warnings += value_warnings(settings, time.time())
        if warnings:
            result["warnings"] = warnings
        if problems:
            result["failed"] = True
            result["msg"] = "\n".join(["The settings cannot work:", *(f"- {problem}" for problem in problems)])
        return result
