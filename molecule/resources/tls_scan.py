# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an endpoint's TLS is like, as sslyze finds it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from people import PROJECT

OLD_PROTOCOLS = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
STRONG_CURVES = {"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"}
PROTOCOLS = ("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3")
FLAWS = ("--reneg", "--compression", "--heartbleed", "--robot", "--openssl_ccs", "--elliptic_curves", "--early_data", "--ems")


def scan(target: str, folder: Path, *more: str) -> dict[str, Any]:
    """Returns each scan's result by name."""
    report = folder / "sslyze.json"
    command = [PROJECT / "tools/sslyze", "--mozilla_config=disable", f"--json_out={report}", *PROTOCOLS, *FLAWS, *more, target]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert report.exists(), done.stdout
    result = json.loads(report.read_text())["server_scan_results"][0]
    assert result["scan_status"] == "COMPLETED", result
    scans = result["scan_result"]
    asked = {name: one for name, one in scans.items() if one and one["status"] != "NOT_SCHEDULED"}
    assert {one["status"] for one in asked.values()} == {"COMPLETED"}, asked
    return {name: one["result"] for name, one in asked.items()}


def weaknesses(found: dict[str, Any]) -> list[str]:
    """What a security officer would not accept."""
    weak = [name for name in OLD_PROTOCOLS if found[f"{name}_cipher_suites"]["accepted_cipher_suites"]]
    for version in ("tls_1_2", "tls_1_3"):
        suites = found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
        if not suites:
            weak.append(f"no {version}")
        for suite in suites:
            name = suite["cipher_suite"]["name"]
            # Forward secrecy, and encryption that authenticates.
            if not (("ECDHE" in name or version == "tls_1_3") and ("GCM" in name or "CHACHA20" in name)):
                weak.append(name)
    weak += [curve["name"] for curve in found["elliptic_curves"]["supported_curves"] if curve["name"] not in STRONG_CURVES]
    renegotiation = found["session_renegotiation"]
    flaws = {
        "insecure renegotiation": not renegotiation["supports_secure_renegotiation"],
        "a client may renegotiate": renegotiation["is_vulnerable_to_client_renegotiation_dos"],
        "compression": found["tls_compression"]["supports_compression"],
        "heartbleed": found["heartbleed"]["is_vulnerable_to_heartbleed"],
        "CCS injection": found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
        "ROBOT": not found["robot"]["robot_result"].startswith("NOT_VULNERABLE"),
        "early data": found["tls_1_3_early_data"]["supports_early_data"],
        "no extended master secret": not found["tls_extended_master_secret"]["supports_ems_extension"],
    }
    return weak + [name for name, there in flaws.items() if there]
