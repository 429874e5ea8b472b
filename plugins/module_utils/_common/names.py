# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be a name: one rule for each kind of thing. All are matched whole (``fullmatch``)."""

from __future__ import annotations

import re

# A developer: 64 characters fit into the common name of a certificate.
USER_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")

# Who a key belongs to: a developer, or a part of the fleet such as monitor@fleet.
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

# A host as inventories and resolvers have it, underscores included.
HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")

# A host as a certificate can name it (RFC 1123), which has no underscores.
CERTIFICATE_HOST_NAME = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")

# A model of the catalogue.
MODEL_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

# A model as any endpoint may offer it, foreign ones included.
OFFERED_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")

# What names a folder on a developer's machine.
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
