# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is fastest is measured with the real llama-bench, and the server is there again whatever happens."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import people
from conftest import Operator, Server, figures
from developers import eventually

QUICK = {"tune_model": "two", "tune_seconds": 60, "tune_prompt_tokens": 64, "tune_generated_tokens": 8, "tune_depth": 64}
QUICK |= {"tune_edit_tokens": 32, "tune_speculations": ["ngram-mod,draft-simple"]}


def tune(operator: Operator, **variables: object) -> people.Run:
    return operator.run(playbook="playbooks/tune.yml", **{**QUICK, "confirmed": True, **variables})


def test_nothing_is_measured_without_a_yes(operator: Operator, server: Server) -> None:
    main = server.main_pid()
    refused = tune(operator, confirmed=False)
    assert refused.status != 0
    assert "Nobody said yes" in refused.output
    assert server.main_pid() == main


def test_what_is_measured_is_kept_shown_and_used(operator: Operator, server: Server) -> None:
    usual = server.presets()["two"]
    assert (usual["spec-type"], usual["model-draft"]) == ("ngram-mod,draft-simple", "/var/lib/slm-copilot/models/one.gguf")
    done = tune(operator, tune_again=True)
    assert done.status == 0, done.output[-3000:]
    kept = figures(server)["two"]
    assert kept["figures"][0]["stage"] == "as it is"
    assert all(one["prompt_tokens_per_second"] > 0 for one in kept["figures"])
    assert "<- chosen" in done.output
    assert {one["speculation"] for one in kept["work"]} == {"off", "ngram-mod,draft-simple"}, kept["failed"]
    assert kept["settings"]["speculation"] in ("off", "ngram-mod,draft-simple")
    assert "against the settings before tuning and no speculation: cold prompt" in " ".join(done.output.split())
    assert re.search(r"^\[models-host\] two: \w+", done.output, re.MULTILINE), "no progress was shown"
    assert server.active() == "active"
    picture = people.FLEET / "tuning/models-host-two.svg"
    assert ET.fromstring(picture.read_text()).tag.endswith("svg")

    again = tune(operator, confirmed=False)  # nothing is to be done, so that it does not ask
    assert again.changed("models-host") == 0, again.output[-3000:]

    # What was found is used, whatever it was; what is set comes before it.
    server.host.check_output(
        """sed -i '/"settings": {/,/}/{s/"ubatch_size": [0-9]*/"ubatch_size": 384/;s/"threads": [0-9]*/"threads": 1/}'"""
        " /etc/slm-copilot/tuning.json"
    )
    used = operator.run(llama_server_threads=2)
    assert used.status == 0, used.output[-3000:]
    presets = server.presets()
    assert (presets["two"]["ubatch-size"], presets["one"]["ubatch-size"]) == ("384", "512")
    assert presets["two"]["threads"] == "2"


def test_a_measurement_that_is_killed_leaves_the_server_running(operator: Operator, server: Server) -> None:
    """Not the operator's side: the module itself dies, as by a lack of memory."""
    with_kill = (
        "for i in $(seq 600); do pid=$(pgrep --oldest llama-bench) && "
        "kill -KILL $(ps -o ppid= -p $pid) && exit 0; sleep 0.1; done; exit 1"
    )
    server.host.check_output(f"systemd-run --collect --unit=killer bash -c '{with_kill}'")
    run = tune(operator, tune_again=True)
    assert run.status != 0
    assert "ended on the host without a result" in " ".join(run.output.split()), run.output[-3000:]
    eventually(lambda: server.active() == "active", "the server serves again", 120)
    assert server.host.run("pgrep llama-bench").stdout == ""
    assert server.active("slm-copilot-tune") != "active"
