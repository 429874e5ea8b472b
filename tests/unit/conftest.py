# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes ``ansible_collections.slm.copilot`` and the tools importable from a checkout at any path."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

if (CHECKOUT / ".collections").is_dir():  # ansible-test brings its own finder
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    _AnsibleCollectionFinder(paths=[str(CHECKOUT / ".collections")])._install()
    sys.path.insert(0, str(CHECKOUT / "tools"))
