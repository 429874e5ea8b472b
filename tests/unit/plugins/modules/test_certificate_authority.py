# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import multiprocessing
import stat
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access.authority import keep, key_opens
from ansible_collections.slm.copilot.plugins.module_utils._common.lock import locked
from ansible_collections.slm.copilot.plugins.modules import certificate_authority
from cryptography import x509
from cryptography.hazmat.primitives import serialization

PROCESSES = multiprocessing.get_context("fork")
FIRST, SECOND = "the first passphrase", "the second passphrase"


@pytest.fixture
def ca(tmp_path):
    return tmp_path / "fleet/ca"


@pytest.fixture
def run(run_module, ca):
    def run(check=False, **more):
        return run_module(certificate_authority, {"path": str(ca), "name": "fleet CA", **more}, check=check)

    return run


def key_of(ca, passphrase=""):
    return serialization.load_pem_private_key((ca / "ca-key.pem").read_bytes(), passphrase.encode() or None)


def files(ca):
    return {one.name: one.read_bytes() for one in ca.glob("*.pem")}


def test_check_run_check_run(run, ca):
    foreseen = run(check=True)
    assert foreseen["changed"] and foreseen["done"] == "founded"
    assert not ca.parent.exists()
    assert run()["done"] == "founded"
    before = files(ca)
    for check in (True, False):
        assert not run(check=check)["changed"]
    assert files(ca) == before
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ca, ca / "ca-key.pem", ca / "ca.pem")] == [0o700, 0o600, 0o644]


def test_it_may_sign_hosts_and_no_other_ca(run, ca):
    run(days=100)
    certificate = x509.load_pem_x509_certificate((ca / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == key_of(ca).public_key()
    assert certificate.subject.rfc4514_string() == "CN=fleet CA"
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and not usage.value.digital_signature
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert certificate.not_valid_after_utc - datetime.now(timezone.utc) < timedelta(days=100)


def test_what_was_cut_off_between_key_and_certificate_goes_on_with_the_key(run, ca):
    run()
    key = files(ca)["ca-key.pem"]
    (ca / "ca.pem").unlink()
    assert run()["done"] == "founded"
    assert files(ca)["ca-key.pem"] == key


@pytest.mark.parametrize(
    ("before", "after", "done"),
    [
        pytest.param("", FIRST, "encrypted", id="set later"),
        pytest.param(FIRST, SECOND, "encrypted", id="changed"),
        pytest.param(FIRST, "", "decrypted", id="removed"),
    ],
)
def test_another_passphrase_and_the_same_key(run, ca, before, after, done):
    run(passphrase=before)
    certificate, key = files(ca)["ca.pem"], key_of(ca, before).private_numbers()
    new = {"passphrase": after, "passphrase_before": before}
    assert run(check=True, **new)["done"] == done
    assert key_opens(str(ca / "ca-key.pem"), before)
    result = run(**new)
    assert result["done"] == done
    assert not {FIRST, SECOND} & set(json.dumps(result).split('"'))
    assert not run(**new)["changed"]
    assert key_of(ca, after).private_numbers() == key and files(ca)["ca.pem"] == certificate
    assert not key_opens(str(ca / "ca-key.pem"), before)
    assert stat.S_IMODE((ca / "ca-key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"passphrase": SECOND}, id="changed without the one before"),
        pytest.param({"passphrase": SECOND, "passphrase_before": "another"}, id="wrong one before"),
        pytest.param({}, id="removed without the one before"),
    ],
)
def test_a_key_that_does_not_open_stays(run, ca, given):
    run(passphrase=FIRST)
    before = files(ca)
    for check in (True, False):
        result = run(check=check, **given)
        assert result["failed"] and "cannot be decrypted" in result["msg"]
    assert files(ca) == before


def test_a_certificate_without_its_key_stays(run, ca):
    run()
    (ca / "ca-key.pem").unlink()
    assert "without its key" in run()["msg"]
    assert list(files(ca)) == ["ca.pem"]


def found_with_others(ca, start, told):
    start.wait()
    with locked(ca):
        told.put(keep(ca, "fleet CA", 100, "", [""]))


def test_of_runs_at_once_one_founds_the_ca(ca):
    ca.mkdir(parents=True)
    count = 6
    for _round in range(3):
        start, told = PROCESSES.Barrier(count), PROCESSES.Queue()
        runs = [PROCESSES.Process(target=found_with_others, args=(ca, start, told)) for _run in range(count)]
        for one in runs:
            one.start()
        assert sorted(told.get(timeout=30) for _run in runs) == [""] * (count - 1) + ["founded"]
        for one in runs:
            one.join()
        certificate = x509.load_pem_x509_certificate((ca / "ca.pem").read_bytes())
        assert certificate.public_key() == key_of(ca).public_key()
        for one in ca.glob("*.pem"):
            one.unlink()
