# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What control groups leave of the hardware, from trees as kernels have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._host.limits import MemoryLimit, cpu_limit, memory_limit, usable_cpus
from ansible_collections.slm.copilot.plugins.module_utils._host.meminfo import memory_mib

LIMITED = {"cpu.max": "150000 100000\n", "memory.max": "4294967296\n", "memory.stat": "anon 1073741824\nfile 2147483648\n"}
FIRST_VERSION = {
    "cpu/cpu.cfs_quota_us": "400000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "memory/memory.limit_in_bytes": "4294967296\n",
    "memory/memory.stat": "cache 2147483648\nrss 5\ntotal_rss 1073741824\n",
}
UNLIMITED_FIRST = {**FIRST_VERSION, "cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}
MEMINFO = "MemTotal:       32862056 kB\nMemFree:         8123456 kB\nMemAvailable:   20480000 kB\n"


@pytest.mark.parametrize(
    ("tree", "cpus", "total", "available"),
    [
        pytest.param(LIMITED, 1, 4096, 3072, id="a container"),
        pytest.param(FIRST_VERSION, 4, 4096, 3072, id="one under the first version"),
        pytest.param({"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.stat": ""}, None, 32091, 20000, id="no limits"),
        pytest.param(UNLIMITED_FIRST, None, 32091, 20000, id="none under the first version"),
        pytest.param({"memory.stat": "anon 5\n"}, None, 32091, 20000, id="the root of a host"),
        pytest.param({**LIMITED, "cpu.max": "5000 100000"}, 1, 4096, 3072, id="less than one CPU"),
        pytest.param({**LIMITED, "memory.stat": "anon 8589934592"}, 1, 4096, 0, id="more taken than there is"),
        pytest.param({**LIMITED, "memory.stat": "strange"}, 1, 4096, 4096, id="figures that cannot be read"),
        pytest.param({}, None, 32091, 20000, id="nothing mounted"),
    ],
)
def test_the_lower_of_limit_and_hardware_counts(
    tmp_path: Path, tree: dict[str, str], cpus: int | None, total: int, available: int
) -> None:
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    limit = memory_limit(tmp_path)
    assert cpu_limit(tmp_path) == cpus
    assert [memory_mib(field, MEMINFO, limit) for field in ("MemTotal", "MemAvailable")] == [total, available]
    assert memory_mib("MemFree", MEMINFO, limit) == 7933, "which no plan is made by"


def test_without_a_tree_the_text_alone_counts() -> None:
    assert memory_mib("MemTotal", MEMINFO) == 32091
    assert memory_mib("MemTotal", MEMINFO, MemoryLimit(16000)) == 16000


def test_this_process_may_use_a_cpu() -> None:
    assert usable_cpus() >= 1
