# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last test: the host is what it was before, as the hub still is, which began as the same image."""

from __future__ import annotations

import json
import re

import pytest
from conftest import Operator
from testinfra.host import Host

# Prints what a host consists of: files with mode, owner and content, packages and their marks, accounts. Units, masks, links and
# timers are files.
FINGERPRINT = r"""
import glob, hashlib, json, os, pwd, grp, re, stat, subprocess
found = {}
for top in ("/etc", "/opt", "/usr", "/var", "/root", "/home", "/srv"):
    for folder, folders, files in os.walk(top):
        for path in (os.path.join(folder, name) for name in [*folders, *files]):
            there = os.lstat(path)
            what = os.readlink(path) if stat.S_ISLNK(there.st_mode) else ""
            if stat.S_ISREG(there.st_mode):
                with open(path, "rb") as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            found[path] = f"{stat.filemode(there.st_mode)} {there.st_uid} {there.st_gid} {what}"
run = lambda *command: subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
found |= {f"package {line}": "" for line in run("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\n")}
found |= {f"wanted {name}": "" for name in run("apt-mark", "showmanual")}
found |= {f"account {one.pw_name}": str(one[2:]) for one in pwd.getpwall()}
found |= {f"group {one.gr_name}": str(one[2:]) for one in grp.getgrall()}
print(json.dumps(found))
"""
# What may differ. Nothing of it is ours.
MAY_DIFFER = (
    r"/etc/(hosts|hostname|resolv\.conf|machine-id|ssl/certs/ca-certificates\.crt)",  # of the container
    r"/root/\.(ssh|ansible|ansible_async|cache)(/.*)?",  # of who logs in, and of Ansible
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-",  # what tools keep of the state before the last change
    r"/var/lib/dpkg/(status-old|lock.*|triggers/.*)|/var/lib/apt/.*|/etc/ld\.so\.cache",  # the same; marks are compared
    r"/var/(log|cache|backups|tmp)(/.*)?|/var/lib/systemd/.*",  # logs and caches
    r"/usr/.*/__pycache__(/.*)?",
)


def fingerprint(host: Host) -> dict[str, str]:
    found: dict[str, str] = json.loads(host.check_output("python3 -c %s", FINGERPRINT))
    return {path: what for path, what in found.items() if not re.fullmatch("|".join(MAY_DIFFER), path)}


@pytest.mark.parametrize("purge", ["none", "all"])
def test_a_host_becomes_what_it_was(operator: Operator, server: Host, hub: Host, purge: str) -> None:
    """First without models and keys, which stay, and then with them."""
    there = operator.run("--check", playbook="playbooks/remove.yml", purge=purge)
    assert there.status == 0, there.output[-3000:]
    refused = operator.run(playbook="playbooks/remove.yml", purge=purge)
    assert refused.status != 0 and "confirm it with -e confirmed=true" in " ".join(refused.output.split())
    run = operator.run(playbook="playbooks/remove.yml", confirmed=True, purge=purge)
    assert run.status == 0, run.output[-3000:]
    again = operator.run(playbook="playbooks/remove.yml", confirmed=True, purge=purge)
    assert (again.status, again.changed("copilot-default")) == (0, 0), again.output[-3000:]

    before, after = fingerprint(hub), fingerprint(server)
    differ = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    stays = (
        r"/etc/slm-copilot(/.*)?|/var/lib/slm-copilot(/.*)?|(account|group) slm-copilot(-gateway)?|/etc/g?(shadow|passwd|group)"
    )
    assert {path for path in differ if purge == "all" or not re.fullmatch(stays, path)} == set()
    if purge == "none":
        for path in ("/etc/slm-copilot/server-key.pem", "/var/lib/slm-copilot/models"):
            owner = server.file(path)
            assert owner.exists and owner.group.startswith("slm-copilot"), "nobody else gets a removed account's number"
