#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: variables_check
short_description: Refuse misspelt, renamed and invalid variables
version_added: 0.1.0
description:
  - Compares the variables of a host with the documented variables of the collection's roles, and checks the values of the
    fleet-wide C(copilot_*) variables.
  - A name that is one or two typing errors away from a documented one is refused. Any other undocumented name that starts with a
    role's name causes a warning, since it may belong to another collection.
  - Fails with all problems at once. Never shows the value of a secret.
extends_documentation_fragment:
  - slm.copilot.controller_only
author:
  - The slm.copilot maintainers (@slm-copilot)
"""

EXAMPLES = r"""
- name: Refuse misspelt, renamed and removed variables
  slm.copilot.variables_check:
"""

RETURN = r"""
msg:
  description: All problems, one per line. Only returned if there are any.
  returned: failure
  type: str
  sample: "The settings cannot work:\n- copilot_contextsize is not a variable of slm.copilot: did you mean copilot_context_size?"
"""
