# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of a fleet's variables."""

from __future__ import annotations

import datetime
import re

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._settings import (
    name_problems,
    name_warnings,
    value_problems,
    value_warnings,
)

KEY = "sk-0123456789abcdef"
KNOWN = {
    "copilot_endpoint_host",
    "report_ca_path",
    "tls_certificate_path",
    "copilot_model",
    "copilot_context_size",
    "llama_server_slots",
    "tls_mode",
    "tls_extra_names",
}
GOOD = {
    "copilot_acme_port": 8402,
    "copilot_tls_domain": "copilot.example.com",
    "copilot_mtls": "off",
    "copilot_journal_days": 0,
    "copilot_journal_max_use": "",
    "copilot_usage": "off",
    "copilot_access_log": "name",
    "copilot_usage_days": 90,
    "copilot_zone_policy": "any",
    "copilot_zone": "",
    "copilot_extra_backends": [],
    "copilot_extra_balancers": [],
    "copilot_context_size": 32768,
    "copilot_slots": "2",
    "copilot_threads": 0,
    "copilot_speculation": "auto",
    "copilot_port": 8443,
    "copilot_upgrade_batch": "1",
    "copilot_drain_timeout": 900,
    "copilot_gate_slowdown": 30,
    "copilot_install_dir": "/opt/slm-copilot",
    "copilot_config_dir": "/etc/slm-copilot",
    "copilot_data_dir": "/var/lib/slm-copilot",
    "copilot_work_dir": "/var/cache/slm-copilot",
    "copilot_api_key": "",
    "copilot_users": [{"name": "alice"}, {"name": "bob", "state": "absent"}],
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("copilot_model", None, id="known"),
        pytest.param("copilot_contextsize", "did you mean copilot_context_size?", id="misspelt"),
        pytest.param("copilot_modle", "did you mean copilot_model?", id="two letters swapped"),
        pytest.param("copilot_mdl", None, id="two errors in a short name"),
        pytest.param("copilot_contxt_siz", "did you mean copilot_context_size?", id="two errors in a long name"),
        pytest.param("llama_server_slot", "did you mean llama_server_slots?", id="one letter missing"),
        pytest.param("llama_server_nonsense", None, id="unknown in a prefix of ours"),
        pytest.param("copilot_endpoint", None, id="what an example registers"),
        pytest.param("report_path", None, id="somebody else's, close to one of ours"),
        pytest.param("tls_certificate", None, id="somebody else's, the beginning of one of ours"),
        pytest.param("copilot_api_password", "use copilot_api_key", id="renamed"),
        pytest.param("tls_extra_name", "did you mean tls_extra_names?", id="near miss in a shared prefix"),
        pytest.param("tls_certificate_authority", None, id="somebody else's in a shared prefix"),
        pytest.param("nginx_port", None, id="none of ours"),
        pytest.param("__copilot_model", None, id="what a role keeps for itself"),
    ],
)
def test_names(name: str, expected: str | None) -> None:
    problems = name_problems([name, "copilot_model"], KNOWN)
    if expected is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert name in problems[0]
        assert expected in problems[0]


def test_a_stranger_s_names_are_warned_of() -> None:
    names = ["copilot_model", "copilot_modle", "copilot_lb_backends", "report_path", "tls_private", "nginx_port", "__tls_x"]
    (warning,) = name_warnings(names, KNOWN, ["copilot", "report", "tls"])
    assert ": report_path (the nearest is report_ca_path), tls_private. See" in warning
    assert not {"copilot_modle", "copilot_lb_backends", "nginx_port"} & set(re.findall(r"\w+", warning))
    assert name_warnings(["copilot_model", "nginx_port"], KNOWN, ["copilot", "report", "tls"]) == []


def test_good_values_have_no_problem() -> None:
    assert value_problems(GOOD) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"copilot_tls_domain": "https://copilot.example.com"}, "without scheme", id="domain with a scheme"),
        pytest.param({"copilot_tls_domain": "192.0.2.1"}, "leave it empty", id="address for a domain"),
        pytest.param({"copilot_tls_domain": "*.example.com"}, "or wildcard", id="domain with a star"),
        pytest.param({"copilot_endpoint_host": "copilot_1"}, "is 'copilot_1', which no client can connect", id="underscore"),
        pytest.param({"copilot_endpoint_host": "https://a.example.com"}, "which no client", id="URL for a host"),
        pytest.param({"copilot_endpoint_host": "fe80::1%eth0"}, "other machines cannot connect", id="link-local address"),
        pytest.param({"copilot_endpoint_host": "::1"}, "of this machine alone", id="loopback address"),
        pytest.param(
            {"copilot_endpoint_host": "localhost", "copilot_fleet_balancers": ["lb-1"]},
            "for each balancer that is its own machine",
            id="localhost behind a balancer",
        ),
        pytest.param({"copilot_virtual_ip": "192.0.2.100/24"}, "without the length of a network", id="network for an address"),
        pytest.param({"copilot_virtual_ip": "127.0.0.2"}, "which nobody can connect to", id="moving loopback address"),
        pytest.param(
            {"copilot_virtual_ip": "192.0.2.100", "copilot_fleet_balancers": ["lb-1"]},
            "no second one",
            id="address of one balancer",
        ),
        pytest.param({"tls_extra_names": ["a.example.com", "my_host"]}, "tls_extra_names has 'my_host'", id="extra name"),
        pytest.param({"copilot_monitoring": "true"}, "with a capital letter", id="what an INI inventory makes of monitoring"),
        pytest.param({"copilot_firewall": "true"}, "with a capital letter", id="what an INI inventory makes of true"),
        pytest.param({"copilot_mtls": False}, "with quotes", id="what YAML makes of off"),
        pytest.param({"copilot_mtls": "on"}, "choose one of off, optional, required", id="unknown mtls"),
        pytest.param({"copilot_access_log": True}, "choose one of off, pseudonym, name", id="access log of an earlier version"),
        pytest.param({"copilot_access_log": False}, 'write copilot_access_log: "off"', id="what YAML makes of log off"),
        pytest.param({"copilot_access_log": "names"}, "choose one of off, pseudonym, name", id="unknown access log"),
        pytest.param({"copilot_usage": False}, 'write copilot_usage: "off", with quotes', id="what YAML makes of usage off"),
        pytest.param({"copilot_usage": "names"}, "choose one of off, pseudonym, name", id="unknown usage"),
        pytest.param({"copilot_journal_max_use": "2 GB"}, "copilot_journal_max_use is '2 GB': give a size", id="a size in words"),
        pytest.param({"copilot_journal_days": -1}, "days for which the journal keeps lines", id="lines of tomorrow"),
        pytest.param({"copilot_usage_days": 0}, "days for which usage is kept", id="usage that is not kept"),
        pytest.param({"copilot_speculation": False}, "with quotes", id="what YAML makes of no speculation"),
        pytest.param(
            {"copilot_speculation": "draft-eagle3"}, "choose one of auto, off, ngram-mod", id="speculation by another model"
        ),
        pytest.param({"copilot_context_size": 100}, "whole number from 1024", id="context too small"),
        pytest.param({"copilot_context_size": "big"}, "copilot_context_size is 'big'", id="context no number"),
        pytest.param(
            {"copilot_slots": "auto", "copilot_fleet_balancers": ["madrid-1"]}, "copilot_slots is 'auto'", id="slots of a pool"
        ),
        pytest.param({"copilot_slots": True}, "copilot_slots is True", id="slots a boolean"),
        pytest.param({"copilot_upgrade_batch": "0"}, "copilot_upgrade_batch: '0' is not a number of hosts", id="batch of none"),
        pytest.param({"copilot_upgrade_batch": "120%"}, "such as 1 or 25%", id="batch of more than all"),
        pytest.param({"copilot_drain_timeout": -1}, "whole number from 0", id="drain that is over before it begins"),
        pytest.param({"copilot_drain_cuts": "now"}, "'now': give true or false", id="cuts no boolean"),
        pytest.param(
            {"copilot_save_slots": "true"}, "copilot_save_slots is the text 'true'", id="switch of an inventory as text"
        ),
        pytest.param({"copilot_port": 443}, "no privilege", id="privileged port"),
        pytest.param({"copilot_install_dir": "opt"}, "absolute path", id="relative path"),
        pytest.param({"copilot_install_dir": "/opt/my dir"}, "absolute path", id="path with a space"),
        pytest.param({"copilot_users": "alice"}, "copilot_users is a text", id="users no list"),
        pytest.param({"copilot_users": ["alice"]}, "copilot_users[0] has no name", id="user no mapping"),
        pytest.param({"copilot_users": [{"name": "Alice"}]}, "lower-case", id="user in upper case"),
        pytest.param({"copilot_users": [{"name": "a" * 70}]}, "1 to 64 lower-case", id="long user name"),
        pytest.param({"copilot_users": [{"name": "shared"}]}, "uses itself", id="reserved user"),
        pytest.param({"copilot_users": [{"name": "a"}, {"name": "a"}]}, "each developer once", id="user twice"),
        pytest.param({"copilot_users": [{"name": "a", "mail": "x"}]}, "unknown keys (mail)", id="unknown user key"),
        pytest.param({"copilot_users": [{"name": "a", "state": "gone"}]}, "present or absent", id="unknown state"),
        pytest.param({"copilot_users": [{"name": "a", "expires": "31.12.2026"}]}, "such as 2026-12-31", id="no day"),
        pytest.param({"copilot_users": [{"name": "a", "expires": "2026-02-30"}]}, "'2026-02-30' is not a date", id="no such day"),
        pytest.param({"copilot_users": [{"name": "a", "expires": 20261231}]}, "'20261231' is not a date", id="a number"),
        pytest.param(
            {"copilot_users": [{"name": "a", "expires": "2026-12-31"}], "copilot_mtls_replaces_key": True},
            "certificate would go on",
            id="expiry that a certificate outlives",
        ),
        pytest.param({"copilot_users": [{"name": "a", "admin": "yes"}]}, "admin is 'yes': give a boolean", id="admin no boolean"),
        pytest.param({"copilot_zone_policy": "local"}, "any, prefer_local, local_only", id="unknown zone policy"),
        pytest.param({"copilot_zone": "Madrid 1"}, "copilot_zone is 'Madrid 1'", id="zone with a space"),
        pytest.param({"copilot_extra_backends": "key@host:1"}, "copilot_extra_backends is a text", id="backends no list"),
        pytest.param({"copilot_extra_backends": ["host:8443"]}, "entry 1, has another form", id="backend without a key"),
        pytest.param({"copilot_extra_balancers": ["192.0.2.7"]}, "must be a list of mappings", id="a balancer that is a text"),
        pytest.param(
            {"copilot_extra_balancers": [{"address": "192.0.2.7", "key_sha256": "sk-a-key-instead"}]},
            "entry 1: key_sha256 must be a SHA-256",
            id="a balancer's key instead of its hash",
        ),
        pytest.param(
            {"copilot_extra_balancers": [{"address": "balancer", "key_sha256": "0" * 64}]},
            "entry 1 has 'balancer': give an address",
            id="a balancer by name",
        ),
    ],
)
def test_bad_values(change: dict[str, object], expected: str) -> None:
    problems = value_problems({**GOOD, **change})
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize("host", ["copilot-1", "a.example.com", "192.0.2.1", "2001:db8::10", "fd00::1"])
def test_good_hosts_have_no_problem(host: str) -> None:
    values = {**GOOD, "copilot_endpoint_host": host, "copilot_fleet_balancers": ["lb-1"], "tls_extra_names": [host]}
    assert value_problems(values) == []
    assert value_warnings(values, 0) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "copilot.localhost"])
def test_what_leads_developers_to_their_own_machine_is_told(host: str) -> None:
    values = {**GOOD, "copilot_endpoint_host": host, "copilot_port": 8443}
    assert value_problems(values) == []
    (warning,) = value_warnings(values, 0)
    assert f"developers get https://{host}:8443, which is their own machine" in warning


def test_a_name_that_no_certificate_has_is_told() -> None:
    values = {**GOOD, "copilot_endpoint_host": "192.0.2.1"}
    assert value_warnings({**values, "inventory_hostname": "lb-1"}, 0) == []
    (warning,) = value_warnings({**values, "inventory_hostname": "lb_1"}, 0)
    assert "name in the inventory, 'lb_1' (it is neither" in warning and "Connect to 192.0.2.1" in warning


def test_an_expired_key_is_told() -> None:
    users = [
        {"name": "alice", "expires": "2026-12-31"},
        {"name": "bob", "expires": datetime.date(2027, 1, 1), "admin": True},
        {"name": "carol", "expires": "2020-01-01", "state": "absent"},
        {"name": "dave"},
    ]
    assert value_problems({**GOOD, "copilot_users": users}) == []
    new_year = datetime.datetime(2027, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
    assert value_warnings({"copilot_users": users}, new_year - 1) == []
    (warning,) = value_warnings({"copilot_users": users}, new_year)
    assert ": alice (after 2026-12-31). A later" in warning


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("too-short", id="short"),
        pytest.param("sixteen letters and spaces", id="spaces"),
        pytest.param("#0123456789abcdef0123", id="a comment"),
        pytest.param("0123456789abcdef\n", id="line end"),
        pytest.param("schlüssel-0123456789", id="umlaut"),
        pytest.param("xyz" * 200, id="600 characters"),
        pytest.param(12345678901234567890, id="number"),
        pytest.param(["sixteen-characters-or-more"], id="list"),
    ],
)
@pytest.mark.parametrize("where", ["copilot_api_key", "copilot_users[1].key"])
def test_a_bad_key_is_refused_and_never_shown(key: object, where: str) -> None:
    users = [{"name": "alice", "key": None}, {"name": "bob", "key": key}]
    problems = value_problems({**GOOD, **({"copilot_users": users} if "[1]" in where else {"copilot_api_key": key})})
    assert len(problems) == 1
    assert problems[0].startswith(f"{where} ")
    assert str(key) not in problems[0]
    assert repr(key)[3:-3] not in problems[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            {"copilot_users": [{"name": "a", "key": KEY}, {"name": "b", "key": KEY}]},
            "copilot_users[1].key is the same as copilot_users[0].key",
            id="of two developers",
        ),
        pytest.param(
            {"copilot_users": [{"name": "a", "key": KEY}], "copilot_api_key": KEY},
            "copilot_users[0].key is the same as copilot_api_key",
            id="that all share",
        ),
        pytest.param(
            {"copilot_users": [{"name": "a", "key": KEY, "state": "absent"}]},
            "copilot_users[0] has a key and state: absent",
            id="of somebody whose key is withdrawn",
        ),
        pytest.param({"copilot_users": [{"name": "a", "key": ""}]}, "has 0 characters", id="empty"),
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_never_shown(change: dict[str, object], expected: str) -> None:
    problems = value_problems({**GOOD, **change})
    assert len(problems) == 1
    assert expected in problems[0]
    assert KEY not in problems[0]


def test_good_keys_have_no_problem() -> None:
    users = [{"name": "a", "key": KEY + "a"}, {"name": "b", "key": KEY + "b", "state": "present"}, {"name": "c", "key": None}]
    assert value_problems({**GOOD, "copilot_api_key": KEY, "copilot_users": users}) == []
