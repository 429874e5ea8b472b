# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds network interfaces in the facts of a host. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def interface_of(facts: Mapping[str, Any], address: str) -> str:
    """Returns the name of the interface that has an address; an empty string where none has.

    :param facts: of the subset ``network`` (Ansible's ``ansible_facts``).
    """
    for fact in facts.values():
        if isinstance(fact, Mapping) and "device" in fact:
            entries = [fact.get("ipv4") or {}, *(fact.get("ipv4_secondaries") or []), *(fact.get("ipv6") or [])]
            if any(entry.get("address") == address for entry in entries):
                return str(fact["device"])
    return ""
