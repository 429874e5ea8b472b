# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sets what of a host makes models faster, and puts back what was there before.

    host_settings.py apply|restore FILE [ROOT]

FILE keeps the values of before. A value that somebody else has changed since is left alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# What the roles' modules read and judge, too (_host/conditions.py).
WANTED = {
    "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor": "performance",
    "sys/kernel/mm/transparent_hugepage/enabled": "always",
    "proc/sys/kernel/numa_balancing": "0",
}


def holds(path: Path) -> str:
    """Returns the value; of several that the kernel lists, the one in brackets."""
    text = path.read_text(encoding="ascii").strip()
    return text.partition("[")[2].partition("]")[0] or text


def change(path: Path, value: str) -> bool:
    try:
        path.write_text(value, encoding="ascii")
    except OSError as error:
        print(f"{path} stays {holds(path)}: {error.strerror}", file=sys.stderr)
        return False
    return True


def apply(root: Path) -> dict[str, str]:
    """Returns what was there before, by path."""
    before = {}
    for pattern, wanted in WANTED.items():
        for path in sorted(root.glob(pattern)):
            former = holds(path)
            if former != wanted and change(path, wanted):
                before[str(path.relative_to(root))] = former
    return before


def restore(root: Path, before: dict[str, str]) -> None:
    for pattern, wanted in WANTED.items():
        for path in sorted(root.glob(pattern)):
            former = before.get(str(path.relative_to(root)))
            if former is not None and holds(path) == wanted:
                change(path, former)


def main() -> None:
    action, file, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) > 3 else "/")
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if action == "apply":
        file.write_text(json.dumps({**apply(root), **kept}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    else:
        restore(root, kept)


if __name__ == "__main__":
    main()
