# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last test: the host goes back to one model, and the others are removed."""

from __future__ import annotations

from conftest import Developer, Operator, Server, table_of
from developers import Crowd


def test_back_to_one_model(operator: Operator, server: Server, developer: Developer) -> None:
    done = operator.run(copilot_models=["two"])
    assert done.status == 0, done.output[-3000:]
    assert developer.ask("two") == 200
    assert [one["id"] for one in developer.request("GET", "/v1/models").json()["data"]] == ["two"]
    assert '"pinned": []' in server.host.check_output("cat /etc/slm-copilot/router.json")
    started = server.host.check_output(f"cat /proc/{server.main_pid()}/cmdline | tr '\\0' ' '")
    assert "--alias two" in started
    # Whatever was measured to be the fastest.
    assert ("--model-draft /var/lib/slm-copilot/models/one.gguf" in started) is ("draft-simple" in started)

    assert table_of(operator.models("status", copilot_models=["two"])) == {"two": "loaded"}
    unloaded = operator.models("unload", copilot_models=["two"])
    assert unloaded.status != 0
    assert "serves one model, two, which is always loaded" in " ".join(unloaded.output.split())
    with Crowd(Developer(developer.key, developer.address, developer.ca, model="two"), 2, 200) as crowd:
        crowd.asked(1)
        refused = operator.models("restart", copilot_models=["two"])
    assert refused.status != 0
    assert "this stops two and aborts" in " ".join(refused.output.split()), refused.output

    run = operator.run(playbook="playbooks/prune.yml", copilot_models=["two"])
    assert run.status == 0, run.output[-3000:]
    left = server.host.check_output("cd /var/lib/slm-copilot/models && ls").split()
    assert {name for name in left if name.endswith(".gguf")} == {"one.gguf", "two.gguf"}, "one drafts for two"
    assert developer.ask("two") == 200
    assert operator.run(playbook="playbooks/prune.yml", copilot_models=["two"]).changed("models-host") == 0
