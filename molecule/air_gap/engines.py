# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packs the engine of Debian 12 again: as that of Debian 13, where it runs, and as of another option. Usage: engines.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "resources"))

import engines

AS = {
    "trixie": ("trixie-amd64", {}),
    "second-bookworm": ("bookworm-amd64", {"ANOTHER": "ON"}),
    "second-trixie": ("trixie-amd64", {"ANOTHER": "ON"}),
}

with engines.unpacked() as engine:
    for name, (target, options) in AS.items():
        engines.pack_as(engine, Path(sys.argv[1]) / f"{name}.tar.gz", engines.plan_of(target, options))
