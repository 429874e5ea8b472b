# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The boot of an appliance: reads its context, runs slm.copilot.site on itself if something changed, and reports the outcome.

Run as root by the context package's hook, or by a unit where an image has no such package:

    python -m ansible_collections.slm.copilot.plugins.plugin_utils._appliance.boot [network]

``network`` does, before the network is up, what the context package would do: addresses, host name and root's SSH keys.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import SHARED, kept_keys
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.files import write
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked
from ansible_collections.slm.copilot.plugins.module_utils._image.root import HOME
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import TITLES, Target, run_checks
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import context, inventory, service, settings
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance.onegate import onegate

READY = "All set and ready to serve 8)"
ANSWER = ("https", "health", "with_key", "models", "chat")  # the checks of a boot that changed nothing
SUCCESS, FAILURE = "bootstrap_success", "bootstrap_failure"
ANSWER_WITHIN = 1800  # seconds from the start of the services to the first answer: a large model from a slow disk
PATIENCE = 7200  # seconds to wait for the end of another run
FOLLOWER = "slm-copilot-service.service"


@dataclass(frozen=True)
class Places:
    """Paths, below a root that tests change."""

    root: Path = field(default=Path("/"))

    @property
    def appliance(self) -> Path:
        return self.root / HOME

    @property
    def state(self) -> Path:
        return self.root / "etc/slm-copilot/appliance"  # the inventory, and the fleet's folder beside it

    @property
    def fleet(self) -> Path:
        return self.state / ".slm-copilot"

    @property
    def inventory(self) -> Path:
        return self.state / "inventory.yml"

    @property
    def others(self) -> Path:
        return self.state / "service.yml"  # of a VM that belongs to a service

    @property
    def backends_ca(self) -> Path:
        return self.state / "backends-ca.pem"

    @property
    def one(self) -> Path:
        return self.root / "etc/one-appliance"

    @property
    def log(self) -> Path:
        return self.root / "var/log/one-appliance/slm-copilot.log"


def networks(values: Mapping[str, str]) -> dict[str, str]:
    """Returns the files of systemd-networkd for the interfaces that a context names, by file name.

    :raises CopilotError: for an address that is none.
    """
    files = {"90-slm-copilot-dhcp.network": "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n"}
    for number in sorted({found[1] for name in values if (found := re.fullmatch(r"ETH([0-9]+)_MAC", name))}, key=int):
        get = {name.removeprefix(f"ETH{number}_"): value for name, value in values.items() if name.startswith(f"ETH{number}_")}
        lines = []
        try:
            for address, length in (("IP", get.get("MASK") or "24"), ("IP6", get.get("IP6_PREFIX_LENGTH") or "64")):
                if get.get(address):
                    lines += [f"Address={ipaddress.ip_interface(f'{get[address]}/{length}')}"]
            lines += [
                f"Gateway={ipaddress.ip_address(get[name])}" for name in ("GATEWAY", "GATEWAY6", "IP6_GATEWAY") if get.get(name)
            ]
            lines += [f"DNS={ipaddress.ip_address(one)}" for one in get.get("DNS", "").split()]
        except ValueError as error:
            raise CopilotError(f"ETH{number}_*: {error}.") from None
        mac = get["MAC"].lower()
        if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
            raise CopilotError(f"ETH{number}_MAC is no hardware address: write it as 02:00:c0:00:02:07.")
        lines = lines if any(line.startswith("Address=") for line in lines) else ["DHCP=yes"]
        files[f"10-slm-copilot-eth{number}.network"] = f"[Match]\nMACAddress={mac}\n\n[Network]\n" + "\n".join(lines) + "\n"
    return files


def prepare_system(values: Mapping[str, str], places: Places) -> None:
    """Applies the essential parts of a context: addresses, host name, root's SSH keys."""
    folder = places.root / "etc/systemd/network"
    folder.mkdir(parents=True, exist_ok=True)
    files = networks(values)
    for old in folder.glob("*-slm-copilot-*.network"):
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        write(folder / name, content, 0o644)
    name = values.get("SET_HOSTNAME", "")
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", name):
        write(places.root / "etc/hostname", name + "\n", 0o644)
        subprocess.run(["hostname", name], check=False)
    keys = [line for line in values.get("SSH_PUBLIC_KEY", "").splitlines() if re.match(r"(ssh|ecdsa|sk)-", line)]
    if keys:
        ssh = places.root / "root/.ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        write(ssh / "authorized_keys", "\n".join(keys) + "\n", 0o600)


def address_of(values: Mapping[str, str]) -> str:
    """Returns the address at which others reach this machine: the context's, otherwise that of the default route.

    :raises CopilotError: it has none.
    """
    for name in ("ETH0_IP", "ETH0_IP6"):
        if values.get(name):
            return values[name]
    for family in ("-4", "-6"):
        said = subprocess.run(
            ["ip", "-json", family, "address", "show", "scope", "global"], capture_output=True, check=False
        ).stdout
        for link in json.loads(said or b"[]"):
            for one in link.get("addr_info", []):
                return str(one["local"])
    raise CopilotError("This machine has no address. Give it a network (NIC) in its template.")


class Boot:
    """One pass from the context to a working service, or to an error message."""

    def __init__(self, places: Places, say: Callable[[str], None] = print) -> None:
        self.places = places
        self.say = say

    def status(self, word: str, lines: list[str]) -> None:
        """Records the state where OpenNebula and people look for it."""
        self.places.one.mkdir(parents=True, exist_ok=True)
        write(self.places.one / "status", word + "\n", 0o644)
        problems = self.places.one / "problems"
        if word == SUCCESS:
            problems.unlink(missing_ok=True)
        elif lines:
            write(problems, "\n".join(lines) + "\n", 0o600)
        write(self.places.root / "etc/motd", "\n" + "\n".join(f"  {line}" for line in lines) + "\n\n", 0o644)
        for line in lines:
            self.say(line)

    def run(self) -> int:
        """Waits for the end of another run before."""
        self.places.state.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.places.state.mkdir(exist_ok=True, mode=0o700)
        self.places.state.chmod(0o700)
        with locked(self.places.state, PATIENCE):
            return self._run()

    def _run(self) -> int:
        image = json.loads((self.places.appliance / "image.json").read_text())
        try:
            values, token = context.read(self.places.root)
            variables, problems = settings.variables(values)
            if problems:
                raise CopilotError("\n".join(problems))
            address = address_of(values)
        except CopilotError as error:
            self.status(
                "configure_failure",
                ["slm.copilot: the context is wrong, and nothing was changed.", *str(error).splitlines()],
            )
            return 1
        role = variables.pop("service_role", None)
        if ca := variables.get("copilot_extra_backends_ca"):
            write(self.places.backends_ca, ca, 0o600)
            variables["copilot_extra_backends_ca"] = str(self.places.backends_ca)
        else:
            self.places.backends_ca.unlink(missing_ok=True)
        self.belong_to(role)
        balancer = role == service.BALANCER or "copilot_extra_backends" in variables
        write(self.places.inventory, inventory.of_this_vm(variables, image, address, balancer), 0o600)
        changed = not self.is_applied()
        if changed:
            self.applied.unlink(missing_ok=True)
            if problem := self.apply():
                self.status(FAILURE, ["slm.copilot: the settings could not be applied.", problem, f"See {self.places.log}"])
                return 1
        if problem := self.wait_for_answer(TITLES if changed else ANSWER):
            self.status(FAILURE, ["slm.copilot: it does not answer.", problem, "See journalctl -u 'slm-copilot*'"])
            return 1
        self.note_applied()
        self.status(SUCCESS, [READY, "", f"Endpoint and key: {self.places.one / 'config'} (root only)"])
        if values.get("REPORT_READY") == "YES" and token and values.get("ONEGATE_ENDPOINT"):
            self.report_ready(values, token)
        subprocess.run(["systemctl", "--no-block", "restart" if role else "stop", FOLLOWER], check=False)
        return 0

    def belong_to(self, role: str | None) -> None:
        """Keeps what is known of the other VMs of the service while this VM has the same role there."""
        if not role:
            self.places.others.unlink(missing_ok=True)
        elif not inventory.is_of(role, self.others()):
            write(self.places.others, service.nobody(role), 0o600)

    def others(self) -> str:
        """Returns the inventory of the other VMs of the service."""
        return self.places.others.read_text() if self.places.others.is_file() else ""

    @property
    def applied(self) -> Path:
        return self.places.state / "applied"

    def digest(self) -> str:
        """Returns a checksum over all that a run applies."""
        state = self.places.state
        files = [self.places.inventory, self.places.others, self.places.backends_ca, *sorted(state.glob("group_vars/**/*"))]
        image = json.loads((self.places.appliance / "image.json").read_text())
        texts = [image["digest"], *(path.read_text() if path.is_file() else "" for path in files)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    def is_applied(self) -> bool:
        return self.applied.is_file() and self.applied.read_text().strip() == self.digest()

    def note_applied(self) -> None:
        write(self.applied, self.digest() + "\n", 0o600)

    def apply(self) -> str | None:
        """Applies everything. Returns why it failed, or None."""
        log = self.places.log
        self.status(
            "bootstrap_started", ["slm.copilot is being set up.", f"It takes some minutes; tail -f {log} shows how far it is."]
        )
        return self.play()

    def apply_others(self, text: str, tags: str) -> str | None:
        """Applies another inventory of the other VMs. Returns why that failed, or None. Then the former one stays.

        :param tags: parts of the playbook that it is of interest to.
        """
        with locked(self.places.state, PATIENCE):
            complete = self.is_applied()
            changed = self.places.others.with_name("service-new.yml")
            write(changed, text, 0o600)
            if problem := self.play("--tags", tags, others=changed):
                return problem
            changed.replace(self.places.others)
            if complete:
                self.note_applied()
            return None

    def play(self, *arguments: str, others: Path | None = None) -> str | None:
        """Runs the playbook on this machine. Returns why it failed, or None."""
        inventories = [path for path in (self.places.inventory, others or self.places.others) if path.is_file()]
        log = self.places.log
        log.parent.mkdir(parents=True, exist_ok=True)
        home = self.places.appliance
        command = [str(home / "ansible/bin/ansible-playbook"), "slm.copilot.site", "--limit", inventory.HOST, *arguments]
        command += [word for path in inventories for word in ("-i", str(path))]
        environment = {
            "PATH": f"{home}/ansible/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),  # where the collections are
            "LC_ALL": "C.UTF-8",
            "XDG_CACHE_HOME": "/var/cache",
            "ANSIBLE_NOCOLOR": "1",
        }
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "ab") as output:
            begin = output.tell()
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        with log.open("rb") as output:
            output.seek(begin)
            said = output.read().decode(errors="replace")
        return None if done.returncode == 0 else failure_in(said) or f"ansible-playbook ended with status {done.returncode}."

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.places.root / "etc/slm-copilot/report.json").read_text()))

    def endpoint(self) -> str:
        """The developers' URL from the report."""
        return str(self.report()["endpoint"])

    def wait_for_answer(self, only: Collection[str]) -> str | None:
        """Waits until the checks of slm.copilot.validate succeed through the gateway. Returns the last failure.

        :param only: ids of the checks.
        """
        folder = self.places.fleet
        until = time.monotonic() + ANSWER_WITHIN
        while True:
            try:
                key = kept_keys(str(folder / "api-keys"))[SHARED]
                # An ACME server's certificate is one that the system or the company trusts. Until then, our own CA's is used.
                company = self.places.root / "etc/slm-copilot/acme-ca.pem"
                for ca in (None, *([str(company)] if company.is_file() else []), str(folder / "ca/ca.pem")):
                    report = run_checks(Target(self.endpoint(), key, ca_path=ca, connect_host="127.0.0.1"), only)
                    if report.checks[0].ok:  # HTTPS, without which no other is made
                        break
            except (OSError, KeyError, CopilotError) as error:
                return f"{type(error).__name__}: {error}"
            failed = [f"{check.title}: {check.detail}" for check in report.checks if not check.ok and not check.skipped]
            if not failed:
                return None
            if time.monotonic() > until:
                return failed[0]
            time.sleep(2)

    def readiness(self, values: Mapping[str, str]) -> dict[str, str]:
        """Returns what OneGate hears of a VM that is ready; nothing of one that is not."""
        if (self.places.one / "status").read_text().strip() != SUCCESS:
            return {}
        zone = values.get(f"{settings.PREFIX}ZONE", "").strip()
        return {"READY": "YES", "COPILOT_URL": self.endpoint()} | ({"COPILOT_ZONE": zone} if zone else {})

    def report_ready(self, values: Mapping[str, str], token: str) -> None:
        """Reports to OneGate that this VM is ready. Nothing secret: everybody who can see the VM can read this."""
        try:
            onegate(values, token).publish(self.readiness(values))
            self.say("OneGate knows that this VM is ready.")
        except CopilotError as error:
            self.say(f"OneGate does not know that this VM is ready: {error}")


def failure_in(said: str) -> str | None:
    """Returns the message of the last failed task in the output of ansible-playbook: earlier ones were rescued."""
    found = re.findall(r'^(?:fatal|failed): .*?"msg": ("(?:[^"\\]|\\.)*")', said, re.M)
    return json.loads(found[-1]) if found else None


def main(arguments: list[str]) -> int:
    os.umask(0o022)
    places = Places()
    try:
        if arguments == ["network"]:
            prepare_system(context.read(places.root)[0], places)
            return 0
        return Boot(places, lambda line: print(line, flush=True)).run()
    except CopilotError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
