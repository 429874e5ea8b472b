# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._summary import Host, changes, summary

REPORT = {
    "endpoint": "https://100.64.1.5:8443/v1",
    "model": "devstral-small-2",
    "models": [{"name": "devstral-small-2", "slots": 2, "context_size": 32768}],
    "mode": "standalone",
    "backends": [],
    "engine": "0.3.36-1f2e",
    "cpu_variant": "zen4",
    "certificate": {"path": "/etc/slm-copilot/server.pem", "not_after": "2029-02-28T10:00:00Z"},
    "users": ["alice"],
    "warnings": [],
    "files": {"slm-copilot.service": "0a", "slm-copilot-proxy.service": "0b"},
}
TINY = {"name": "tiny", "slots": 1, "context_size": 4096}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"engine": "0.3.37-aa"}, ["engine: 0.3.36-1f2e -> 0.3.37-aa"], id="a new engine"),
        pytest.param(
            {"mode": "balancer", "engine": ""}, ["mode: standalone -> balancer", "engine: 0.3.36-1f2e -> none"], id="mode"
        ),
        pytest.param({"models": [TINY]}, ["model added: tiny", "model removed: devstral-small-2"], id="another model"),
        pytest.param(
            {"models": [{**REPORT["models"][0], "context_size": 65536}]},
            ["devstral-small-2: 2 x 32768 -> 2 x 65536"],
            id="context",
        ),
        pytest.param({"users": ["alice", "bob", "carol"]}, ["user added: bob, carol"], id="users who came"),
        pytest.param({"users": []}, ["user removed: alice"], id="a user who left"),
        pytest.param({"backends": [{"id": "paris-1"}]}, ["backend added: paris-1"], id="a backend"),
        pytest.param(
            {"certificate": {"path": "/x", "not_after": "2031-01-01T00:00:00Z"}},
            ["certificate: until 2031-01-01"],
            id="certificate",
        ),
        pytest.param(
            {"files": {"slm-copilot.service": "1a", "firewall.nft": "0c"}},
            ["file added: firewall.nft", "file removed: slm-copilot-proxy.service", "file changed: slm-copilot.service"],
            id="units, and rules of the firewall",
        ),
        pytest.param({"warnings": ["late"], "cpu": "other"}, [], id="what is told otherwise, or not at all"),
    ],
)
def test_changes_are_told_in_an_operators_terms(change, told):
    assert changes(Host("madrid-1", REPORT, {**REPORT, **change})) == told


def test_files_that_the_report_before_does_not_tell_of_are_no_change():
    before = {name: value for name, value in REPORT.items() if name != "files"}
    assert changes(Host("madrid-1", before, REPORT)) == []


def test_a_first_run_says_what_is_served_and_what_is_next():
    hosts = [Host("madrid-1", {}, REPORT), Host("paris-1", {}, {**REPORT, "models": [*REPORT["models"], TINY]})]
    assert summary(hosts, ["zones.ini", "my hosts"], "/etc/one-appliance/config on each host, for root") == [
        "",
        "host      endpoint                    model                        conversations x tokens  certificate until",
        "madrid-1  https://100.64.1.5:8443/v1  devstral-small-2             2 x 32768               2029-02-28",
        "paris-1   https://100.64.1.5:8443/v1  devstral-small-2 and 1 more  2 x 32768               2029-02-28",
        "",
        "changed  madrid-1: set up",
        "changed  paris-1: set up",
        "",
        "The key is in /etc/one-appliance/config on each host, for root.",
        "Validate from here:        ansible-playbook slm.copilot.validate -i zones.ini -i 'my hosts'",
        "Write developers' files:   ansible-playbook slm.copilot.clients -i zones.ini -i 'my hosts'",
    ]


def test_a_run_that_changed_nothing_says_so_in_a_line():
    assert summary([Host("a", REPORT, REPORT)], ["i"], "k") == ["1 host is unchanged."]
    assert summary([Host(name, REPORT, REPORT) for name in "ab"], ["i"], "k") == ["2 hosts are unchanged."]


def test_a_warning_is_told_also_where_nothing_changed():
    warned = {**REPORT, "warnings": ["The ACME server gave no certificate."]}
    assert "WARNING  a: The ACME server gave no certificate." in summary([Host("a", warned, warned)], ["i"], "k")


def test_check_mode_foretells_and_names_no_next_step():
    lines = summary([Host("a", {}, {**REPORT, "certificate": {"path": "/x", "not_after": ""}})], ["i"], "k", check_mode=True)
    assert lines[-1] == "would change  a: set up"
    assert "made by the first run" in lines[2]


SPEED = {"expected": {"prompt": 61.2, "generated": 7.94}}


@pytest.mark.parametrize(
    ("speeds", "told"),
    [
        pytest.param({"devstral-small-2": SPEED}, "about 61, 7.9", id="expected"),
        pytest.param({"devstral-small-2": {**SPEED, "measured": {"prompt": 65.5, "generated": 8.25}}}, "66, 8.2", id="measured"),
        pytest.param({"other": SPEED}, "about 61, 7.9", id="of_a_model_that_is_not_the_first"),
        pytest.param({}, None, id="unknown"),
    ],
)
def test_the_speeds_of_the_model_are_told(speeds, told):
    heads, row = summary([Host("madrid-1", {}, {**REPORT, "speeds": speeds})], [], "k")[1:3]
    assert ("prompt, answer tokens/s" in heads) == (told is not None)
    assert told is None or f"  {told}  " in row
