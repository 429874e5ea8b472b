# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.modules import certificate_info


@pytest.mark.parametrize(
    ("certificate", "key", "fits"),
    [
        pytest.param("server.pem", "server.key", True, id="its own key"),
        pytest.param("server.pem", "client.key", False, id="another key"),
        pytest.param("server.pem", "server.encrypted.key", False, id="an encrypted key"),
        pytest.param("server.pem", "none.key", False, id="no key"),
        pytest.param("server.key", "server.key", False, id="no certificate in the file"),
    ],
)
def test_the_certificate_and_whether_the_key_belongs_to_it(run_module, certificates, certificate, key, fits):
    result = run_module(certificate_info, {"path": str(certificates / certificate), "key_path": str(certificates / key)})
    assert (result["changed"], result["key_fits"]) == (False, fits)
    assert result["certificate"] == (certificates / certificate).read_text()


def test_where_there_is_none(run_module, certificates):
    result = run_module(certificate_info, {"path": str(certificates / "none"), "key_path": str(certificates / "server.key")})
    assert (result["certificate"], result["key_fits"]) == ("", False)


def test_what_cannot_be_read_is_an_error(run_module, certificates):
    result = run_module(certificate_info, {"path": str(certificates), "key_path": str(certificates / "server.key")})
    assert result["failed"]
    assert "cannot be read: Is a directory" in result["msg"]
