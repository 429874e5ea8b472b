# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From bare to serving without any network, by one signed bundle; upgrades by a second one; damage changes nothing."""

from __future__ import annotations

import re

import pytest
from conftest import inside, left


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
    done = operator.controller.run("sh /media/first/install /root/foreign.pub")
    assert done.rc != 0
    assert "the signature of MANIFEST.json is not that of /root/foreign.pub" in done.stderr
    assert not operator.controller.file("/root/slm-copilot").exists


def test_a_bare_controller_is_set_up(operator):
    assert "Ready:" in operator.controller.check_output("sh /media/first/install /media/key.pub")


DAMAGE = {
    "a package cut": ("truncate -s 100 debs/bookworm-amd64/haproxy_*.deb", r"debs/bookworm-amd64/haproxy_\S+ has 100 bytes"),
    "a wheel missing": ("rm wheels/litellm-*.whl", r"wheels/litellm-\S+ is missing"),
    "a file added": ("touch wheels/more.whl", r"wheels/more.whl is not in MANIFEST.json"),
    "the manifest changed": ("sed -i s/slm.copilot/slm-copilot/ MANIFEST.json", "the signature of MANIFEST.json is not that of"),
    "the signature of another": ("cp /media/second/MANIFEST.json.sig .", "the signature of MANIFEST.json is not that of"),
    "a bit flipped in the engine": ("printf x | dd of=$(ls engine/*.gz) bs=1 seek=5000 conv=notrunc status=none", "engine/"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_changes_nothing(operator, damage, words):
    operator.controller.check_output(f"rm -rf /root/damaged && cp -r /media/first /root/damaged && cd /root/damaged && {damage}")
    status, said = operator.play("site", bundle="/root/damaged")
    assert status != 0
    assert re.search(words, re.sub(r"\\n|\n", " ", said)), said[-3000:]
    assert not operator.host.file("/etc/systemd/system/slm-copilot.service").exists


def test_from_bare_to_serving(operator):
    status, said = operator.play("site")
    assert status == 0, said[-5000:]
    status, said = operator.play("validate")
    assert status == 0, said[-3000:]


def test_a_second_run_changes_nothing(operator):
    status, said = operator.play("site")
    assert (status, changed(said)) == (0, 0), said[-3000:]


def test_apt_is_left_without_a_source_of_ours(operator):
    said = operator.host.check_output("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true")
    assert "slm-copilot" not in said


def test_a_second_bundle_upgrades(operator):
    before = operator.host.check_output("sha256sum /var/lib/slm-copilot/models/*.gguf")
    status, said = operator.play("site", bundle="/media/second")
    assert status == 0, said[-5000:]
    assert operator.host.check_output("sha256sum /var/lib/slm-copilot/models/*.gguf") != before
    status, said = operator.play("validate")
    assert status == 0, said[-3000:]


def test_nothing_tried_to_leave(operator):
    assert left() == {"air-gap-controller": 0, "air-gap-host": 0}
