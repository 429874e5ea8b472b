# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks a config.yaml with LiteLLM's own loader, before it replaces the current one.

    python -m copilot_router.check_config CONFIG

Exits with status 1 and the loader's message if it is invalid.
"""

from __future__ import annotations

import asyncio
import os
import sys

os.environ.update(LITELLM_MASTER_KEY="sk-of-nobody", LITELLM_LOCAL_MODEL_COST_MAP="True")

from litellm.proxy.proxy_server import ProxyConfig


def main() -> int:
    """Returns the exit status."""
    try:
        asyncio.run(ProxyConfig().load_config(router=None, config_file_path=sys.argv[1]))
    except Exception as error:  # whatever it raises, the file is invalid
        print(f"LiteLLM rejects its configuration: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
