# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns functions into filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError


def explained(filters: Mapping[str, Callable[..., Any]], unprefixed: Iterable[str] = ()) -> dict[str, Callable[..., Any]]:
    """Returns filters by name, which turn the errors of their functions into messages.

    :param unprefixed: names of filters whose functions name a variable in their errors.
    :raises AnsibleFilterError: by the filters, for what the functions refuse, and for input of another form than documented.
    """
    return {name: _explained(name, function, "" if name in unprefixed else f"{name}: ") for name, function in filters.items()}


def _explained(name: str, function: Callable[..., Any], prefix: str) -> Callable[..., Any]:
    def filtered(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except CopilotError as error:
            raise AnsibleFilterError(f"{prefix}{error}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Other texts than the name of what is missing may repeat a secret.
            detail = repr(error) if isinstance(error, KeyError) else type(error).__name__
            raise AnsibleFilterError(f"{name}: its input does not have the documented form ({detail})") from None

    return filtered
