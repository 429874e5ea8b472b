# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A download that is killed half way, from a hub that is slow enough to watch it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.request import urlopen

from conftest import Operator
from people import MODEL
from testinfra.host import Host

PERCENT = re.compile(r"\[copilot-default\] .*downloading, (\d+) %")
TARGET = "/var/lib/slm-copilot/models/killed.gguf"
ENTRY = {"repo": "acme/killed", "file": "killed.gguf"}


def test_a_download_that_was_killed_goes_on(operator: Operator, server: Host, hub: Host) -> None:
    hub.check_output(f"mkdir -p /srv/acme/killed && cp /hub/{'/'.join(MODEL.parts[-3:])} /srv/acme/killed/killed.gguf")
    serve = "python3 /model_hub.py --root /srv --host 0.0.0.0 --port 8090 --bytes-per-second 1000000"
    hub.check_output(f"systemd-run --quiet --unit=slow-hub {serve}")
    settings: dict[str, Any] = {
        "copilot_model": "killed",
        "copilot_catalogue": {"killed": ENTRY},
        "model_fetch_endpoint": "http://10.89.78.2:8090",
    }
    try:
        operator.kill_at(PERCENT, "--tags", "model", **settings)
        server.check_output("pkill --signal KILL --full [m]odel_download; true")
        assert not server.file(TARGET).exists, "half a model has another name"

        run = operator.run("--tags", "model", **settings)
        assert run.status == 0, run.output[-3000:]
        assert server.file(TARGET).size == MODEL.stat().st_size
        with urlopen(f"{settings['model_fetch_endpoint']}/_control") as answer:
            served = json.load(answer)["served"]
        resumed = [one for one in served["requests"] if re.search(r"bytes=[1-9]\d*-", one)]
        assert resumed, f"the second run goes on where the first was killed: {served['requests']}"

        again = operator.run("--tags", "model", **settings)
        assert again.changed("copilot-default") == 0
    finally:
        hub.check_output("systemctl stop slow-hub; rm -r /srv/acme")
        server.check_output(f"rm -f {TARGET}*")
