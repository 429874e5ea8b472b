# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the preflight refuses: each case is a host of its own in a real run of Ansible, of which only the preflight is played.

The hosts are this machine, with the facts of another. That a refused host is untouched is for Molecule to show.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.module_utils._bundle import manifest
from ansible_collections.slm.copilot.plugins.module_utils._common.files import sha256_of
from ansible_collections.slm.copilot.plugins.module_utils._engine.build import build_plan
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CHECKOUT = Path(__file__).resolve().parents[2]
FACTS: dict[str, Any] = {
    "all_ipv4_addresses": ["192.0.2.10"],
    "all_ipv6_addresses": [],
    "architecture": "x86_64",
    "distribution": "Debian",
    "distribution_major_version": "12",
    "distribution_release": "bookworm",
    "distribution_version": "12.11",
    "fqdn": "host.example.com",
    "hostname": "host",
    "os_family": "Debian",
    "service_mgr": "systemd",
    "system": "Linux",
    "user_id": "root",
    "user_uid": 0,
}
DEBIAN_11 = {"distribution_version": "11.11", "distribution_major_version": "11", "distribution_release": "bullseye"}
# What holds for all hosts, so that a case differs in what it names alone.
EVERYWHERE = {
    "ansible_connection": "local",
    "ansible_host": "192.0.2.10",
    "ansible_python_interpreter": sys.executable,
    "llama_server_allow_slow_cpu": True,  # the processor is this machine's
}
BACKEND = ["sk-a-backend-of-another-team@backend.example.com:8443"]
ACME = {"copilot_tls_domain": "copilot.example.com"}
MTLS = {"copilot_mtls": "required"}
MOVING = {"copilot_virtual_ip": "192.0.2.100", "virtual_ip_interface": "eth0"}
SHA256 = "0" * 64
ALICE = {"name": "alice", "role": "developer", "sha256": SHA256}

# Messages that no case here can bring about, by how they begin.
ELSEWHERE = (
    "{{ inventory_hostname }}: {{ copilot_host_result.cpu.slow_reason }}",  # needs another processor: scenario default
    "{{ inventory_hostname }}: {{ llama_server_result.plan.explanation }}",  # needs the model on the host: scenario default
)


@dataclass
class Case:
    """A host that is wrong in one thing, and what its operator reads."""

    name: str
    expected: str
    variables: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.name.replace(" ", "-").replace("'", "")


def server(name: str, expected: str, **variables: Any) -> Case:
    return Case(name, expected, variables)


# By playbook: hosts that stand alone, balancers (without servers of their own fleet), and the preflight of roles by themselves.
SERVERS = [
    server("misspelt variable", "did you mean copilot_context_size?", copilot_contextsize=4096),
    server("renamed variable", "use copilot_api_key", copilot_api_password="x"),
    server("unknown model", "devstral-small-2", copilot_model="gpt-5"),
    server("impossible value", "copilot_slots is 0", copilot_slots=0),
    server("half an entry", "copilot_catalogue[own]: where it", copilot_catalogue={"own": {"repo": "a/b"}}),
    server("mtls off without quotes", "with quotes", copilot_mtls=False),
    server("a journal without a unit", "give a size with M, G or T", copilot_journal_max_use="2000"),
    server(
        "key of a balancer for its hash",
        "copilot_extra_balancers, entry 1: key_sha256 must be a SHA-256",
        copilot_extra_balancers=[{"address": "192.0.2.7", "key_sha256": "sk-a-key-instead-of-its-hash"}],
    ),
    server("access log of an earlier version", "must be one of: off, pseudonym, name", copilot_access_log=True),
    server("usage off without quotes", "with quotes", copilot_usage=False),
    server("variable of once", "every host has a gateway; remove the variable", copilot_gateway=False),
    server("router that waits for nothing", "router_restart_wait (0)", router_restart_wait=0),
    server("port of once", "LiteLLM listens on a Unix socket; remove the variable", copilot_proxy_port=4000),
    server("keys of once", "the gateway alone knows keys; use copilot_users", llama_server_users=[{"name": "alice"}]),
    server("impossible last day", "'2026-02-30' is not a date", copilot_users=[{"name": "alice", "expires": "2026-02-30"}]),
    server("name of an inventory", "which no client can connect to", ansible_host="copilot_1"),
    server("name of no certificate", "tls_extra_names has '*.example.com'", tls_extra_names=["*.example.com"]),
    Case("not root", "needs to be root", facts={"user_uid": 1000, "user_id": "ops"}),
    # The engine
    server("unknown source", "value of llama_cpp_build_source must be one of: pypi, git, archive", llama_cpp_build_source="svn"),
    server("source without a checksum", "64 hexadecimal digits", llama_cpp_build_sha256="latest"),
    server(
        "branch for a commit",
        "must be a full commit id of 40",
        llama_cpp_build_source="git",
        llama_cpp_build_git_url="https://git.example.com/llama.cpp",
        llama_cpp_build_git_commit="master",
    ),
    server(
        "no archive",
        'must be a file on the controller ("/nowhere.tar.gz" now)',
        llama_cpp_build_source="archive",
        llama_cpp_build_archive="/nowhere.tar.gz",
        llama_cpp_build_archive_sha256=SHA256,
    ),
    server(
        "archive without a checksum",
        "llama_cpp_build_archive_sha256 its checksum",
        llama_cpp_build_source="archive",
        llama_cpp_build_archive="{{ playbook_dir }}/site.yml",
        llama_cpp_build_archive_sha256="",
    ),
    Case(
        "another distribution",
        "The host runs Fedora 42 on x86_64, which is not supported: Debian 12 and Debian 13",
        facts={"os_family": "RedHat", "distribution": "Fedora", "distribution_version": "42", "distribution_major_version": "42"},
    ),
    Case("older release", "runs Debian 11", facts=DEBIAN_11),
    Case("another init system", "runs Debian 12 with openrc, and the services need systemd", facts={"service_mgr": "openrc"}),
    Case("another architecture", "on riscv64, which is not supported", facts={"architecture": "riscv64"}),
    server(
        "nobody let in",
        "the firewall would admit nobody",
        copilot_firewall=True,
        copilot_firewall_allow=[],
        gateway_admin_networks=[],
    ),
    # The model
    server(
        "one model twice",
        "so that one would overwrite the other",
        model_fetch_models=["devstral-small-2", "devstral-small-2"],
    ),
    server(
        "catalogue of the role",
        "model_fetch_catalogue[own].sha256: it is a text of 5 characters",
        model_fetch_models=["own"],
        model_fetch_catalogue={"own": {"repo": "a/b", "file": "c.gguf", "sha256": "wrong"}},
    ),
    server(
        "another file in the lock",
        "pins 'devstral-small-2' to another file than the catalogue names (repo differ)",
        model_fetch_lock_file="{{ folder }}/models.lock.yml",
    ),
    server(
        "an unknown draft model",
        "copilot_catalogue[own].draft_model is 'own'. Give the id of another model",
        model_fetch_models=["own"],
        model_fetch_catalogue={"own": {"repo": "a/b", "file": "c.gguf", "draft_model": "own"}},
    ),
    server(
        "speculation without a draft model",
        "the catalogue has no draft_model for devstral-small-2",
        copilot_speculation="ngram-mod,draft-simple",
    ),
    server("no token", "the controller has no such file", model_fetch_token_file="/nowhere"),
    # The server
    server("key on a command line", "list of processes", llama_server_extra_args=["--api-key", "x"]),
    server("argument of the role's", "llama_server_extra_args has --port", llama_server_extra_args=["--port=80"]),
    server(
        "quantised values without flash attention",
        "llama.cpp needs flash attention",
        llama_server_cache_type_v="q8_0",
        llama_server_flash_attention="off",
    ),
    server("a port for the engine", "use copilot_port", llama_server_port=8444),
    server("no socket", "give a path such as /run/slm-copilot/llama-server.sock", llama_server_socket="127.0.0.1"),
    # The certificates
    server("no TLS", "value of tls_mode must be one of: fleet_ca, provided, letsencrypt", tls_mode="none"),
    server("domain without its mode", "remove copilot_tls_domain", tls_mode="fleet_ca", **ACME),
    server("domain with a scheme", "without scheme", copilot_tls_domain="https://copilot.example.com"),
    server("CA without its key", "holds the fleet CA's certificate without its key", tls_ca_dir="{{ folder }}/half-a-ca"),
    server(
        "passphrase that was removed",
        "tls_ca_passphrase (empty) does not open the fleet CA's key",
        tls_ca_dir="{{ folder }}/locked-ca",
    ),
    server(
        "passphrase that was changed",
        "tls_ca_passphrase (set) does not open the fleet CA's key",
        tls_ca_dir="{{ folder }}/locked-ca",
        tls_ca_passphrase="another",
        tls_ca_passphrase_before="one more",
    ),
    server("certificate not given", "tls_provided_certificate", tls_mode="provided"),
    server(
        "key not given",
        'tls_provided_key ("/nowhere.pem")',
        tls_mode="provided",
        tls_provided_certificate="{{ folder }}/good.pem",
        tls_provided_key="/nowhere.pem",
    ),
    server(
        "CA not given",
        'tls_provided_ca ("/nowhere.pem")',
        tls_mode="provided",
        tls_provided_certificate="{{ folder }}/good.pem",
        tls_provided_key="{{ folder }}/key.pem",
        tls_provided_ca="/nowhere.pem",
    ),
    *(
        server(
            name,
            expected,
            tls_mode="provided",
            tls_provided_certificate="{{ folder }}/" + f"{file}.pem",
            tls_provided_key="{{ folder }}/" + f"{key}.pem",
            tls_provided_ca="{{ folder }}/root.pem",
            copilot_endpoint_host="copilot.example.com",
        )
        for name, file, key, expected in (
            ("key of another certificate", "good", "other-key", "the key in tls_provided_key does not belong to it"),
            ("certificate that has ended", "ended", "key", "it ended on"),
            ("certificate of another host", "other-host", "key", "it is for DNS:other.example.com, but clients"),
            ("chain that is not complete", "leaf", "key", "chain"),
        )
    ),
    server("half an account", "give both", tls_acme_eab_key_id="kid-1", **ACME),
    server("key of an account", "the key in base64url", tls_acme_eab_key_id="kid-1", tls_acme_eab_hmac_key="a b", **ACME),
    server("two addresses", "one address, or empty", tls_acme_email="a@example.com,b@example.com", **ACME),
    server("ACME without TLS", "must be an https URL", tls_acme_directory="http://10.89.81.2/dir", **ACME),
    server("no bundle", "a file on the controller", tls_acme_ca_bundle="/nowhere.pem", **ACME),
    server("star", "without a wildcard", tls_acme_extra_domains=["*.example.com"], **ACME),
    # Developers' certificates
    server(
        "client CA without its key",
        "holds the client CA's certificate without its key",
        client_certificates_ca_dir="{{ folder }}/half-a-ca",
        **MTLS,
    ),
    server(
        "passphrase of the client CA",
        "client_certificates_ca_passphrase (set) does not open the client CA's key",
        client_certificates_ca_dir="{{ folder }}/locked-ca",
        client_certificates_ca_passphrase="another",
        **MTLS,
    ),
    server("renewal before the start", "every run renews", client_certificates_days=20, **MTLS),
    server("no renewal", "both at least 1", client_certificates_renew_before_days=0, **MTLS),
    server("list without renewal", "both at least 1", client_certificates_crl_renew_before_days=0, **MTLS),
    server("list renewed before its start", "every run renews", client_certificates_crl_days=100, **MTLS),
    server("CA that ends first", "client_certificates_ca_days (365) more than", client_certificates_ca_days=365, **MTLS),
    server("short password", "has 5 characters", client_certificates_pkcs12_password="short", **MTLS),
]
# What is verified of a bundle is its own: test_bundle_manifest.
BUNDLES = [
    server("bundle of nobody", "copilot_bundle_key is '/nowhere.pub'", copilot_bundle_key="/nowhere.pub"),
    server("bundle and Let's Encrypt", "which needs the internet", **ACME),
    Case("bundle for other hosts", "is bookworm-amd64, and the bundle"),
]
# Of a bundle with what no disk has room for, and the engine of the role's defaults
LARGE_BUNDLES = [
    server("bundle of another engine", "needs the engine llama.cpp-", llama_cpp_build_options={"ANOTHER": "ON"}),
    server("packages of a bundle that do not fit", "too little disk space", copilot_work_dir="/var/cache/of-nobody"),
]
MONITORS = [
    server("privileged port of the node exporter", "node_exporter_port is 80: give a TCP port", node_exporter_port=80),
    server("no memory for the node exporter", "node_exporter_memory_max_mib is 8", node_exporter_memory_max_mib=8),
    server("no interval", "monitoring_interval must be whole numbers of 1 or more", monitoring_interval=0),
    server("no memory for Prometheus", "monitoring_memory_max_mib is 100", monitoring_memory_max_mib=100),
    server("monitor without a key", "copilot_monitoring is false", copilot_monitoring=False),
    server("Grafana somewhere", 'monitoring_grafana_dir is "grafana"', monitoring_grafana_dir="grafana"),
    server("webhook that is none", "monitoring_webhooks has 1 that are no URLs", monitoring_webhooks=["chat"]),
    server("mail of nobody", "give the sender, and the mail server", monitoring_mail_to=["ops@example.com"]),
    server("half a mail account", "need each other, and one of them is empty", monitoring_smtp_user="copilot"),
    server("monitor without a certificate", "Prometheus must present a client certificate", **MTLS),
]
BALANCERS = [
    Case("older release of a balancer", "runs Debian 11", facts=DEBIAN_11),
    server("no backend", "is a balancer without a backend", copilot_extra_backends=[]),
    server(
        "zone without a backend",
        "no backend is in that zone (they are in elsewhere)",
        copilot_zone="madrid",
        copilot_zone_policy="local_only",
    ),
    server("unknown rule", "any, prefer_local, local_only", copilot_zone_policy="local"),
    server("backend without key", "entry 1, has another form", copilot_extra_backends=["paris-1:8443"]),
    server("no CA of extra backends", "copilot_extra_backends_ca (/nowhere.pem)", copilot_extra_backends_ca="/nowhere.pem"),
    server("no failure", "litellm_lb_failures (0)", litellm_lb_failures=0),
    server("cooldown that ends before", "litellm_lb_cooldown (-1, seconds)", litellm_lb_cooldown=-1),
    server("no time at all", "litellm_lb_request_timeout (0, seconds)", litellm_lb_request_timeout=0),
    server("misspelt variable of a balancer", "did you mean litellm_lb_cooldown?", litellm_lb_cooldwn=5),
    # The address that moves
    server("network for an address", "without the length of a network", copilot_virtual_ip="192.0.2.100/24"),
    server(
        "moves from elsewhere", "none of the addresses of moves-from-elsewhere", **{**MOVING, "virtual_ip_source": "192.0.2.99"}
    ),
    server("moves to another family", "both must be of IPv4, or", **{**MOVING, "copilot_virtual_ip": "fd00::100"}),
    server("moves to no interface", "name the network interface", copilot_virtual_ip="192.0.2.100"),
    server("moves with a number too high", "virtual_ip_router_id is 256", **MOVING, virtual_ip_router_id=256),
    server("moves by what TLS says", "without TLS", **MOVING, virtual_ip_health_url="https://127.0.0.1:8443/health"),
]
GATEWAYS = [
    server("keys in the clear", "127.0.0.1 and a port", gateway_upstream="10.0.0.1:4000"),
    server("local server that is not", "127.0.0.1 and a port", gateway_local_server="10.0.0.1:8444"),
    server("ACME elsewhere", "127.0.0.1 and a port", gateway_acme_upstream="10.0.0.1:80"),
    server("no SHA-256", "gateway_keys[1] (alice): sha256 is no SHA-256", gateway_keys=[{**ALICE, "sha256": "0123"}]),
    server("name for two headers", "gateway_keys[1]: the name is a text", gateway_keys=[{**ALICE, "name": "alice: bob"}]),
    server("unknown role", "value of role must be one of: developer, admin, balancer", gateway_keys=[{**ALICE, "role": "root"}]),
    server("one key for two", "gateway_keys[1] (alice) has the same key", gateway_keys=[ALICE, {**ALICE, "name": "bob"}]),
    server("end that is no number", "gateway_keys[1] (alice): expires is no time", gateway_keys=[{**ALICE, "expires": -1}]),
    server(
        "balancer before a balancer",
        "gateway_keys has alice with the role balancer",
        copilot_fleet_balancers=["balancer-before-a-balancer"],
        gateway_keys=[{**ALICE, "role": "balancer"}],
    ),
    server("key of the gateway's own", "use gateway_keys, with the role balancer", gateway_backend_key_sha256=SHA256),
    server("path without a slash", '"v1/models"', gateway_paths=["v1/models"]),
    server("network that is none", '"everyone"', gateway_admin_networks=["everyone"]),
    server("name for a network", 'has "lb.example.com": a path', gateway_unlimited_networks=["lb.example.com"]),
    server("peer that HAProxy cannot name", 'gateway_peers has "paris 1"', gateway_peers=["madrid-1", "paris 1"]),
    server("no time", "gateway_timeout must be", gateway_timeout=0),
    server("all connections for one address", "one address could shut out all others", gateway_address_connections=1000),
    server("no CA for clients", "gateway_client_ca_path is empty", gateway_client_verify="required"),
]
MEASURED = [
    server("nothing to measure", "tune_prompt_tokens must be whole numbers", tune_prompt_tokens=0),
    server("unknown cache type", "tune_cache_types has q9: llama.cpp knows", tune_cache_types=["f16", "q9"]),
    server(
        "unknown speculation",
        "tune_speculations has draft: llama-server knows ngram-mod",
        tune_speculations=["ngram-mod", "ngram-simple,draft"],
    ),
    server("nothing to draft with", "draft-simple needs a draft_model", tune_speculations=["draft-simple"]),
    server("too little to edit", "tune_edit_tokens at least 32", tune_edit_tokens=31),
    server("model of another host", "tune_model is 'mistral-7b', which", tune_model="mistral-7b"),
    server("no engine", "nothing/bin/llama-bench and no /var/lib/slm-copilot/models/", tune_engine_dir="{{ folder }}/nothing"),
]
OPERATIONS = [
    server("unknown operation", "operation is 'explode'", operation="explode"),
    server("load without a model", "load and context need a model", operation="load"),
    server("context of nothing", "at least 256 tokens", operation="context", model="mistral-7b", context_size=10),
    server("one model only", "which is always loaded", operation="load", model="mistral-7b"),
]
# This playbook stops for all when it stops for one.
DEVELOPERS = [server("renewal of what developers have", "every run renews", client_certificates_days=20, **MTLS)]
# The roles' preflight by itself, for variables that site.yml sets.
ROLES = [
    {
        "hosts": group,
        "gather_facts": True,
        "tasks": [
            {"ansible.builtin.import_role": {"name": "slm.copilot.copilot"}},
            *({"ansible.builtin.import_role": {"name": f"slm.copilot.{role}", "tasks_from": "preflight"}} for role in preflights),
        ],
    }
    for group, preflights in (("gateways", ["gateway"]), ("measured", ["model_fetch", "llama_server", "tune"]))
]


# Playbook or play, group of its hosts, cases, what all of them have, and arguments.
RUNS: list[tuple[Any, str, list[Case], dict[str, Any], list[str]]] = [
    ("playbooks/site.yml", "copilot_servers", SERVERS, {}, ["--tags", "always"]),
    ("playbooks/site.yml", "copilot_balancers", BALANCERS, {"copilot_extra_backends": BACKEND}, ["--tags", "always"]),
    (
        "playbooks/site.yml",
        "copilot_servers",
        BUNDLES,
        {"copilot_bundle": "{{ folder }}/bundle", "copilot_bundle_key": "{{ folder }}/bundle-key.pub"},
        ["--tags", "always"],
    ),
    (
        "playbooks/site.yml",
        "copilot_servers",
        LARGE_BUNDLES,
        {"copilot_bundle": "{{ folder }}/large-bundle", "copilot_bundle_key": "{{ folder }}/bundle-key.pub"},
        ["--tags", "always"],
    ),
    ("playbooks/site.yml", "copilot_monitors", MONITORS, {}, ["--tags", "always"]),
    ("playbooks/clients.yml", "copilot_servers", DEVELOPERS, {}, ["--check"]),
    ("playbooks/models.yml", "copilot_servers", OPERATIONS, {}, ["--check"]),
    (ROLES[0], "gateways", GATEWAYS, {}, []),
    (ROLES[1], "measured", MEASURED, {}, []),
]
CASES = [case for _play, _group, cases, _common, _arguments in RUNS for case in cases]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files on the controller that some cases name."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "half-a-ca").mkdir()
    (folder / "half-a-ca/ca.pem").touch()
    (folder / "models.lock.yml").write_text(yaml.safe_dump({"devstral-small-2": {"repo": "somebody/else"}}))
    _write_certificates(folder)
    _write_bundles(folder)
    return folder


def _write_bundles(folder: Path) -> None:
    """Writes a bundle with nothing in it, for Debian 13, and one for Debian 12 with more packages than a disk has room for."""
    key = folder / "bundle-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    defaults = yaml.safe_load((CHECKOUT / "roles/llama_cpp_build/defaults/main.yml").read_text())
    source = {"kind": "pypi", "version": defaults["llama_cpp_build_version"], "sha256": defaults["llama_cpp_build_sha256"]}
    large = folder / "large-bundle"
    (large / "engine").mkdir(parents=True)
    engine = large / "engine" / build_plan(source, FACTS, {})["artifact"]
    engine.write_bytes(b"not read that far")
    (large / "large.deb").touch()
    os.truncate(large / "large.deb", 1 << 40)
    targets = {"targets": ["bookworm-amd64"]}
    files = [
        {"path": f"engine/{engine.name}", "size": 17, "sha256": sha256_of(engine), "kind": "engine", **targets},
        {"path": "large.deb", "size": 1 << 40, "sha256": "", "kind": "deb", **targets},
    ]
    for name, target, listed in (("bundle", "trixie-amd64", []), ("large-bundle", "bookworm-amd64", files)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / manifest.NAME).write_bytes(
            manifest.render({"product": {}, "targets": {target: {}}, "models": {}, "files": listed})
        )
        manifest.sign(folder / name, str(key))


def _write_certificates(folder: Path) -> None:
    """Writes pairs of an operator's own CA, which has an intermediate one; each has one fault."""
    now = datetime.now(timezone.utc)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "middle", "key", "other-key")}
    (folder / "locked-ca").mkdir()
    locked = serialization.BestAvailableEncryption(b"the passphrase")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / "locked-ca/ca-key.pem").write_bytes(keys["root"].private_bytes(*form, locked))
    form = (*form, serialization.NoEncryption())
    for name in ("key", "other-key"):
        (folder / f"{name}.pem").write_bytes(keys[name].private_bytes(*form))

    def name_of(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def issue(subject: str, key: str, issuer: str, *, host: str = "", days: int = 30) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(subject))
            .issuer_name(name_of(issuer))
            .public_key(keys[key].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=not host, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(keys[issuer], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    middle = issue("middle", "middle", "root")
    (folder / "root.pem").write_bytes(issue("root", "root", "root"))
    (folder / "good.pem").write_bytes(issue("host", "key", "middle", host="copilot.example.com") + middle)
    (folder / "ended.pem").write_bytes(issue("host", "key", "middle", host="copilot.example.com", days=-3) + middle)
    (folder / "other-host.pem").write_bytes(issue("host", "key", "middle", host="other.example.com") + middle)
    (folder / "leaf.pem").write_bytes(issue("host", "key", "middle", host="copilot.example.com"))


def _play(folder: Path, play: Any, group: str, cases: list[Case], common: dict[str, Any]) -> list[str]:
    """Returns the command that plays the preflight on a host for each case."""
    folder.mkdir()
    hosts = {case.host: {**common, **case.variables, "facts": {**FACTS, **case.facts}} for case in cases}
    everywhere = {**EVERYWHERE, "folder": str(folder.parent), "copilot_fleet_dir": str(folder / "fleet")}
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"vars": everywhere, "children": {group: {"hosts": hosts}}}}))
    playbook = CHECKOUT / play if isinstance(play, str) else folder / "play.yml"
    if not isinstance(play, str):
        playbook.write_text(yaml.safe_dump([play]))
    return ["ansible-playbook", str(playbook), "--inventory", str(inventory), "--forks", str(2 * (os.cpu_count() or 1))]


def _refusals(output: str) -> dict[str, str]:
    """What each host was refused with, as the JSON callback tells it."""
    told = {}
    for play in json.loads(output)["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                if result.get("failed"):
                    messages = [one.get("msg", "") for one in [*result.get("results", []), result]]
                    told[host] = " ".join(" ".join(str(message) for message in messages).split())
    return told


@pytest.fixture(scope="session")
def refusals(folder: Path) -> dict[str, str]:
    """Plays all, at the same time."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_ACTION_PLUGINS": str(Path(__file__).parent / "action_plugins"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
    }
    running = []
    for number, (play, group, cases, common, arguments) in enumerate(RUNS):
        command = [*_play(folder / str(number), play, group, cases, common), *arguments]
        running.append(
            subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    told: dict[str, str] = {}
    for run in running:
        output, errors = run.communicate()
        assert output.startswith("{"), output + errors
        told |= _refusals(output)
    return told


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_what_cannot_work_is_refused(refusals: dict[str, str], case: Case) -> None:
    assert case.host in refusals, "it passed"
    assert case.expected in refusals[case.host]


def _messages(node: Any) -> Iterator[str]:
    """All that is said where something is checked, wherever in a file that is."""
    if isinstance(node, dict):
        if "that" in node and "fail_msg" in node:
            yield " ".join(node["fail_msg"].split())
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from _messages(one)


def test_each_message_of_the_preflight_has_a_case(refusals: dict[str, str]) -> None:
    roles = CHECKOUT / "roles"
    files = [*roles.glob("*/tasks/preflight*.yml"), *roles.glob("copilot/tasks/[mv]*.yml"), *roles.glob("*/vars/**/*.yml")]
    messages = {message for file in files for message in _messages(yaml.safe_load(file.read_text()))}
    assert len(messages) > 20
    told = "\n".join(refusals.values())
    # A message is known by its words, with anything where variables stand.
    missing = {
        message
        for message in messages
        if not re.search(".*".join(re.escape(words) for words in re.split(r"\{\{.*?\}\}", message)), told)
    }
    assert {message for message in missing if not message.startswith(ELSEWHERE)} == set()
