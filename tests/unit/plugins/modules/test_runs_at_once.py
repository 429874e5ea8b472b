# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several runs at once, each a process of its own, with one folder: they found one fleet with one CA, and lose no key."""

from __future__ import annotations

import multiprocessing

from ansible_collections.slm.copilot.plugins.module_utils._access.keys import parse_key_file
from ansible_collections.slm.copilot.plugins.modules import api_key, certificate_authority, fleet_folder

PROCESSES = multiprocessing.get_context("fork")
RUNS, ROUNDS = 6, 3


def one_run(run_module, folder, number, start, told):
    """What each run of the playbook does in the folder; this one has a server of its own in its inventory."""
    start.wait()
    fleet = run_module(fleet_folder, {"path": str(folder)})
    authority = run_module(certificate_authority, {"path": str(folder / "ca"), "name": "fleet CA"})
    developers = {"path": str(folder / "api-keys"), "exclusive": True, "keys": [{"name": "shared"}, {"name": "alice"}]}
    servers = {"path": str(folder / "backend-keys"), "keys": [{"name": "madrid-1"}, {"name": f"paris-{number}"}]}
    keys = [run_module(api_key, {**one, "return_values": True})["values"] for one in (developers, servers)]
    told.put((number, fleet["id"], authority["done"], (folder / "ca/ca.pem").read_bytes(), *keys))


def test_they_found_one_fleet_and_lose_no_key(run_module, tmp_path):
    for round_ in range(ROUNDS):
        folder = tmp_path / str(round_) / "fleet"
        start, told = PROCESSES.Barrier(RUNS), PROCESSES.Queue()
        runs = [PROCESSES.Process(target=one_run, args=(run_module, folder, number, start, told)) for number in range(RUNS)]
        for one in runs:
            one.start()
        numbers, fleets, done, authorities, developers, servers = zip(*(told.get(timeout=60) for _run in runs), strict=True)
        for one in runs:
            one.join()
        assert len(set(fleets)) == len(set(authorities)) == 1
        assert sorted(done) == [""] * (RUNS - 1) + ["founded"]
        assert all(keys == developers[0] for keys in developers), "no developer's key is made twice"
        kept = parse_key_file((folder / "backend-keys").read_bytes())
        assert sorted(kept) == ["madrid-1", *(f"paris-{number}" for number in range(RUNS))], "no run drops what another made"
        for number, keys in zip(numbers, servers, strict=True):
            assert keys == {name: kept[name] for name in keys}, number
