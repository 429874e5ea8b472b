# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From bare to serving without any network, by one signed bundle; upgrades by a second one; what cannot work changes nothing.

One host runs Debian 12, the other one Debian 13.
"""

from __future__ import annotations

import json
import re

import pytest
from conftest import CONTROLLER, HOSTS, SECOND, begin, inside, left

NEWER = "1:99"  # of a package than in any bundle
ENGINES = "/opt/slm-copilot/llama.cpp"


def changed(said: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"^(\S+) .*changed=(\d+)", said, re.M)}


def words(said: str) -> str:
    return " ".join(said.replace("\\n", " ").split())


def test_the_counter_sees_who_asks_somebody_else(operator):
    """So that its zero in the end says something."""
    operator.controller.run("timeout 2 python3 -c \"import socket; socket.create_connection(('192.0.2.1', 443), 1)\"")
    assert left()[CONTROLLER] > 0
    for name in (CONTROLLER, *HOSTS):
        inside(name, "nft", "reset", "counter", "inet", "watched", "leaves")


def test_a_foreign_key_installs_nothing(operator):
    operator.controller.check_output("ssh-keygen -q -t ed25519 -N '' -f /root/foreign")
    before = operator.fingerprint(operator.controller)
    done = operator.controller.run("sh /media/first/install /root/foreign.pub")
    assert done.rc != 0
    assert "the signature of MANIFEST.json is not that of /root/foreign.pub" in done.stderr
    assert operator.fingerprint(operator.controller) == before


def test_a_bare_controller_is_set_up(operator):
    assert "Ready:" in operator.controller.check_output("sh /media/first/install /media/key.pub")


def test_a_model_of_a_hub_has_its_licence_and_lies_there_in_parts(operator):
    listed = json.loads(operator.controller.check_output("cat /media/first/MANIFEST.json"))["files"]
    (model,) = [one for one in listed if one["kind"] == "model"]
    assert model["licence"] == "Apache-2.0"
    assert re.fullmatch(r"pkg:huggingface/unsloth/Devstral-Small-2-24B-Instruct-2512-GGUF@[0-9a-f]{40}", model["origin"])
    assert len(model["parts"]) > 1


FLIP = "printf x | dd of=$(ls {0} | head -n 1) bs=1 seek=5000 conv=notrunc status=none"
DAMAGE = {
    "a package cut, a wheel missing and a file added": (
        "truncate -s 100 debs/bookworm-amd64/haproxy_*.deb; rm wheels/litellm-*.whl; touch wheels/more.whl",
        r"wheels/more.whl is not in MANIFEST.json.*haproxy_\S+ has 100 bytes.*wheels/litellm-\S+ is missing",
    ),
    "the manifest changed": ("sed -i s/slm.copilot/slm-copilot/ MANIFEST.json", "the signature of MANIFEST.json is not that of"),
    "the signature of another": ("cp /media/update/MANIFEST.json.sig .", "the signature of MANIFEST.json is not that of"),
    "a bit flipped in the engine": (FLIP.format("engine/*.gz"), r"engine/\S+ is damaged"),
    "bits flipped in a package, a wheel and a part of a model": (
        "; ".join(FLIP.format(one) for one in ("debs/*/haproxy_*.deb", "wheels/litellm-*.whl", "models/*.part-001")),
        r"haproxy_\S+ is damaged.*models/\S+\.part-001 is damaged.*wheels/litellm-\S+ is damaged",
    ),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_changes_nothing(operator, damage, told):
    operator.controller.check_output(f"rm -rf /root/damaged && cp -r /media/first /root/damaged && cd /root/damaged && {damage}")
    before = operator.fingerprints()
    status, said = operator.play("site", bundle="/root/damaged")
    assert status != 0
    assert re.search(told, words(said)), said[-3000:]
    assert operator.fingerprints() == before


WORK = "/var/cache/slm-copilot"


def test_a_disk_without_room_is_told_and_changes_nothing(operator):
    trixie = operator.hosts["air-gap-trixie"]
    trixie.check_output(f"mkdir {WORK} && mount -t tmpfs -o size=200m tmpfs {WORK}")
    before = operator.fingerprints()
    status, said = operator.play("site", "--limit air-gap-trixie")
    assert status != 0
    assert re.search(rf"too little disk space .* {WORK} has \d+ MB left, and \d+ MB are needed there", words(said)), said[-3000:]
    assert operator.fingerprints() == before
    trixie.check_output(f"umount {WORK} && rmdir {WORK}")


def test_a_host_whose_packages_are_newer_than_the_bundle_fits_is_told(operator):
    """python3.11-venv needs just the version of python3.11 that was made with it."""
    host = operator.hosts["air-gap-host"]
    packages = host.check_output("dpkg-query -W -f '${Package}\\n' 'python3.11*' 'libpython3.11*'").split()
    status_file = "/var/lib/dpkg/status"
    host.check_output(f"cp {status_file} /root/status")
    for package in packages:
        host.check_output(f"sed -i '/^Package: {package}$/,/^$/s/^Version: .*/Version: {NEWER}/' {status_file}")
        host.check_output(f"sed -i -E 's/\\b{package} \\(= [^)]*\\)/{package} (= {NEWER})/g' {status_file}")
    status, said = operator.play("site", "--limit air-gap-host")
    host.check_output(f"mv /root/status {status_file}")
    assert status != 0
    assert "do not go with those that the host has, and none was installed" in words(said), said[-3000:]
    assert "python3.11" in said
    assert not host.file("/usr/sbin/haproxy").exists


def test_a_disk_that_fills_and_a_run_that_is_killed_leave_what_the_next_run_puts_right(operator):
    """The disk of one host fills while it is given the packages, and what ran on the other one is killed while dpkg unpacks."""
    trixie, host = operator.hosts["air-gap-trixie"], operator.hosts["air-gap-host"]
    trixie.check_output(f"mkdir {WORK} && mount -t tmpfs -o size=700m tmpfs {WORK}")
    before = operator.sources()
    begin("air-gap-trixie", f"until [ -e {WORK}/bundle/lists ]; do sleep 0.02; done; dd if=/dev/zero of={WORK}/other bs=1M")
    begin("air-gap-host", "until [ -e /var/lib/dpkg/updates/0005 ]; do :; done; systemctl kill -s KILL ssh")
    status, said = operator.play("site")
    assert status != 0
    full = (
        rf"copying the packages of the bundle /media/first failed: No space left on device. Disk space left: 0.00 Bytes in {WORK}"
    )
    assert re.search(full, words(said)), said[-5000:]
    assert not trixie.file(f"{WORK}/bundle").exists
    assert not trixie.file("/usr/sbin/haproxy").exists
    assert host.check_output("dpkg --audit")  # it was killed while dpkg worked
    assert operator.sources() == before
    trixie.check_output(f"rm {WORK}/other")


def test_from_bare_to_serving(operator):
    # A package that is newer than the bundle's, which fits all the same
    for host in operator.hosts.values():
        host.check_output(f"sed -i '/^Package: ca-certificates$/,/^$/s/^Version: .*/Version: {NEWER}/' /var/lib/dpkg/status")
    before = operator.sources()
    status, said = operator.play("site")
    assert status == 0, said[-5000:]
    assert operator.sources() == before  # nor has apt a source of ours
    status, said = operator.play("validate")
    assert status == 0, said[-3000:]


@pytest.mark.parametrize("name", HOSTS)
def test_nothing_was_downgraded(operator, name):
    assert operator.hosts[name].check_output("dpkg-query -W -f '${Version}' ca-certificates") == NEWER


def test_a_second_run_changes_nothing(operator):
    status, said = operator.play("site")
    assert (status, changed(said)) == (0, dict.fromkeys(HOSTS, 0)), said[-3000:]


def test_an_update_is_copied_over_the_first_bundle(operator):
    """As docs/air-gap.md says."""
    operator.controller.check_output("cp -r /media/first /root/second && cp -r /media/update/. /root/second/")
    verify = "-e bundle_dir=/root/second -e bundle_key=/media/key.pub -e verify=true"
    status, said = operator.run("bundle", verify)
    assert status != 0
    old = set(re.findall(r"- (\S+) is not in MANIFEST.json: remove it", said))
    assert {name.partition("/")[0] for name in old} == {"engine", "models"}, said[-3000:]
    operator.controller.check_output(f"cd /root/second && rm {' '.join(old)}")
    status, said = operator.run("bundle", verify)
    assert status == 0, said[-3000:]


def test_a_bundle_without_the_engine_is_told(operator):
    before = operator.fingerprints()
    status, said = operator.play("site", bundle="/root/second")
    assert status != 0
    assert "needs the engine llama.cpp-" in said
    assert operator.fingerprints() == before


def test_a_second_bundle_upgrades_engine_and_model(operator):
    first = {name: host.check_output(f"readlink {ENGINES}/current") for name, host in operator.hosts.items()}
    status, said = operator.play("site", SECOND, bundle="/root/second")
    assert status == 0, said[-5000:]
    for name, host in operator.hosts.items():
        assert host.check_output(f"readlink {ENGINES}/current") != first[name]
        assert host.file(f"{ENGINES}/{first[name]}/bin/llama-server").exists  # to go back to
        assert host.file("/var/lib/slm-copilot/models/tiny.gguf").exists
    status, said = operator.play("validate", SECOND)
    assert status == 0, said[-3000:]


def test_nothing_tried_to_leave(operator):
    assert left() == dict.fromkeys((CONTROLLER, *HOSTS), 0)
