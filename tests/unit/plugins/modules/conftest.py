# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module's ``main`` in this process, as Ansible would call it."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args


@pytest.fixture
def run_module(capsys):
    """``run_module(module, {parameters})`` gives the result that the module prints."""

    def run(module, parameters, check=False, diff=False):
        umask = os.umask(0o022)
        try:
            with (
                patch_module_args({**parameters, "_ansible_check_mode": check, "_ansible_diff": diff}),
                pytest.raises(SystemExit),
            ):
                module.main()
        finally:
            os.umask(umask)
        return json.loads(capsys.readouterr().out)

    return run
