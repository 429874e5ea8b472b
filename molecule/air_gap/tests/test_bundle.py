# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From bare to serving without any network, by one signed bundle; upgrades by a second one; what cannot work changes nothing."""

from __future__ import annotations

import json
import re

import pytest
from conftest import SECOND, inside, left

NEWER = "1:99"  # of a package than in any bundle


def changed(said: str) -> int:
    found = re.search(r"^air-gap-host .*changed=(\d+)", said, re.M)
    assert found, said[-3000:]
    return int(found[1])


def test_the_counter_sees_who_asks_somebody_else(operator):
    """So that its zero in the end says something."""
    operator.controller.run("timeout 2 python3 -c \"import socket; socket.create_connection(('192.0.2.1', 443), 1)\"")
    assert left()["air-gap-controller"] > 0
    for name in ("air-gap-controller", "air-gap-host"):
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
    "a package cut": ("truncate -s 100 debs/bookworm-amd64/haproxy_*.deb", r"debs/bookworm-amd64/haproxy_\S+ has 100 bytes"),
    "a wheel missing": ("rm wheels/litellm-*.whl", r"wheels/litellm-\S+ is missing"),
    "a file added": ("touch wheels/more.whl", r"wheels/more.whl is not in MANIFEST.json"),
    "the manifest changed": ("sed -i s/slm.copilot/slm-copilot/ MANIFEST.json", "the signature of MANIFEST.json is not that of"),
    "the signature of another": ("cp /media/second/MANIFEST.json.sig .", "the signature of MANIFEST.json is not that of"),
    "a bit flipped in the engine": (FLIP.format("engine/*.gz"), r"engine/\S+ is damaged"),
    "bits flipped in a package, a wheel and a part of a model": (
        "; ".join(FLIP.format(one) for one in ("debs/*/haproxy_*.deb", "wheels/litellm-*.whl", "models/*.part-001")),
        r"haproxy_\S+ is damaged.*models/\S+\.part-001 is damaged.*wheels/litellm-\S+ is damaged",
    ),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_changes_nothing(operator, damage, words):
    operator.controller.check_output(f"rm -rf /root/damaged && cp -r /media/first /root/damaged && cd /root/damaged && {damage}")
    before = operator.fingerprint(operator.host)
    status, said = operator.play("site", bundle="/root/damaged")
    assert status != 0
    assert re.search(words, re.sub(r"\\n|\n", " ", said)), said[-3000:]
    assert operator.fingerprint(operator.host) == before


def test_a_full_disk_is_told_and_changes_nothing(operator):
    operator.host.check_output("mkdir /var/cache/slm-copilot && mount -t tmpfs -o size=200m tmpfs /var/cache/slm-copilot")
    before = operator.fingerprint(operator.host)
    status, said = operator.play("site")
    assert status != 0
    assert "left for copilot_work_dir (/var/cache/slm-copilot)" in " ".join(said.split())
    assert operator.fingerprint(operator.host) == before
    operator.host.check_output("umount /var/cache/slm-copilot && rmdir /var/cache/slm-copilot")


def test_a_host_whose_packages_are_newer_than_the_bundle_fits_is_told(operator):
    """python3.11-venv needs just the version of python3.11 that was made with it."""
    packages = operator.host.check_output("dpkg-query -W -f '${Package}\\n' 'python3.11*' 'libpython3.11*'").split()
    status_file = "/var/lib/dpkg/status"
    operator.host.check_output(f"cp {status_file} /root/status")
    for package in packages:
        operator.host.check_output(f"sed -i '/^Package: {package}$/,/^$/s/^Version: .*/Version: {NEWER}/' {status_file}")
        operator.host.check_output(f"sed -i -E 's/\\b{package} \\(= [^)]*\\)/{package} (= {NEWER})/g' {status_file}")
    status, said = operator.play("site")
    operator.host.check_output(f"mv /root/status {status_file}")
    assert status != 0
    assert "do not go with those that the host has, and none was installed" in " ".join(said.split()), said[-3000:]
    assert "python3.11" in said
    assert not operator.host.file("/usr/sbin/haproxy").exists


def test_from_bare_to_serving(operator):
    # A package that is newer than the bundle's, which fits all the same
    operator.host.check_output(f"sed -i '/^Package: ca-certificates$/,/^$/s/^Version: .*/Version: {NEWER}/' /var/lib/dpkg/status")
    status, said = operator.play("site")
    assert status == 0, said[-5000:]
    status, said = operator.play("validate")
    assert status == 0, said[-3000:]


def test_nothing_was_downgraded(operator):
    assert operator.host.check_output("dpkg-query -W -f '${Version}' ca-certificates") == NEWER


def test_a_second_run_changes_nothing(operator):
    status, said = operator.play("site")
    assert (status, changed(said)) == (0, 0), said[-3000:]


def test_apt_is_left_without_a_source_of_ours(operator):
    said = operator.host.check_output("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true")
    assert "slm-copilot" not in said


def test_a_bundle_without_the_engine_is_told(operator):
    before = operator.fingerprint(operator.host)
    status, said = operator.play("site", bundle="/media/second")
    assert status != 0
    assert "needs the engine llama.cpp-" in said
    assert operator.fingerprint(operator.host) == before


def test_a_second_bundle_upgrades_engine_and_model(operator):
    first = operator.host.check_output("readlink /opt/slm-copilot/llama.cpp/current")
    status, said = operator.play("site", SECOND, bundle="/media/second")
    assert status == 0, said[-5000:]
    assert operator.host.check_output("readlink /opt/slm-copilot/llama.cpp/current") != first
    assert operator.host.file(f"/opt/slm-copilot/llama.cpp/{first}/bin/llama-server").exists  # to go back to
    assert operator.host.file("/var/lib/slm-copilot/models/tiny.gguf").exists
    status, said = operator.play("validate", SECOND)
    assert status == 0, said[-3000:]


def test_nothing_tried_to_leave(operator):
    assert left() == {"air-gap-controller": 0, "air-gap-host": 0}
