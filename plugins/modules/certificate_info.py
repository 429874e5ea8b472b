#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_info
short_description: Read a host's certificate and check whether its key matches
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Needs only Python on the host. Use C(community.crypto.x509_certificate_info) on the controller to parse the certificate.
  - Missing files are not an error. The key is not returned.
extends_documentation_fragment:
  - slm.copilot.read_only
options:
  path:
    description: Path of the certificate in PEM format.
    type: path
    required: true
  key_path:
    description: Path of its private key in PEM format, not encrypted.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Read the current certificate
  slm.copilot.certificate_info:
    path: /etc/slm-copilot/server.pem
    key_path: /etc/slm-copilot/server-key.pem
  register: present
"""

RETURN = r"""
certificate:
  description: The certificate in PEM format. Empty if there is none.
  returned: success
  type: str
key_fits:
  description: Whether the key exists and matches the certificate.
  returned: success
  type: bool
"""

import ssl

from ansible.module_utils.basic import AnsibleModule


def belong_together(certificate: str, key: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password, and without asking a terminal for one.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "key_path": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            certificate = file.read()
    except FileNotFoundError:
        certificate = ""
    except OSError as error:
        module.fail_json(msg=f"path: {path} cannot be read: {error.strerror}")
    module.exit_json(
        changed=False,
        certificate=certificate,
        key_fits=bool(certificate) and belong_together(path, module.params["key_path"]),
    )


if __name__ == "__main__":
    main()
