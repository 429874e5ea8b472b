# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several models on one host, two of which can be loaded at once."""

from __future__ import annotations

import json
import re
import threading

import jsonschema
import people
from conftest import Developer, Operator, Server, table_of
from developers import Crowd, eventually


def test_every_model_is_listed_and_none_has_to_be_loaded_for_that(developer: Developer, server: Server) -> None:
    assert set(developer.states()) == {"one", "two", "pinned"}
    assert re.search(r"^models +=.*one, two, pinned$", server.host.check_output("cat /etc/one-appliance/config"), re.MULTILINE)


def test_what_a_host_says_of_itself_names_every_model_as_it_is(server: Server, developer: Developer) -> None:
    report = json.loads(server.host.check_output("cat /etc/slm-copilot/report.json"))
    jsonschema.validate(report, json.loads((people.PROJECT / "docs/report.schema.json").read_text()))
    assert report["models"] == [
        {"name": "one", "context_size": 1024, "slots": 2},
        {"name": "two", "context_size": 512, "slots": 1},
        {"name": "pinned", "context_size": 256, "slots": 1},
    ]
    assert (report["model"], report["context_size"], report["slots"]) == ("one", 1024, 2)


def test_developers_files_list_every_model_as_it_is(operator: Operator, developer: Developer) -> None:
    done = operator.run(playbook="playbooks/clients.yml")
    assert done.status == 0, done.output[-3000:]
    folder = people.FLEET / "clients/alice"
    provider = json.loads((folder / "opencode/opencode.json").read_text())["provider"]["slm-copilot"]
    contexts = {name: one["limit"]["context"] for name, one in provider["models"].items()}
    assert contexts == {"one": 1024, "two": 512, "pinned": 256}
    alice = Developer((folder / "api-key").read_text().strip(), developer.address, developer.ca)
    for name, context in contexts.items():
        assert alice.ask(name) == 200
        listed = {one["id"]: one for one in alice.request("GET", "/v1/models").json()["data"]}
        assert listed[name]["meta"]["n_ctx"] == context
    assert "| `two` | 512 |" in (folder / "README.md").read_text()


def test_models_take_turns_and_the_pinned_one_stays(developer: Developer, server: Server) -> None:
    pinned = server.processes()["pinned"]
    for name in ("one", "two", "one", "two"):
        assert developer.ask(name) == 200
        assert set(server.processes()) == {name, "pinned"}
    assert server.processes()["pinned"] == pinned
    assert developer.ask("pinned") == 200


def test_a_request_waits_while_the_only_room_is_busy(developer: Developer, server: Server) -> None:
    pinned = server.processes()["pinned"]
    assert developer.ask("one") == 200
    other = Developer(developer.key, developer.address, developer.ca, model="one")
    finished: list[bool] = []
    stream = other.streaming(max_tokens=600, ignore_eos=True)
    next(stream)  # it has begun
    reader = threading.Thread(target=lambda: finished.append([*stream][-1].finished))
    reader.start()
    assert developer.ask("two") == 200
    reader.join(timeout=60)
    assert finished == [True], "the stream was cut to make room"
    assert server.processes()["pinned"] == pinned


def test_an_idle_model_gives_its_memory_back_and_wakes_when_asked(developer: Developer, server: Server) -> None:
    assert developer.ask("one") == 200
    process = server.processes()["one"]
    awake = server.weights_kib(process)
    eventually(lambda: developer.states()["one"] == "sleeping", "one sleeps", 60)
    eventually(lambda: server.weights_kib(process) < awake - 14000, f"16 MB less than {awake} KiB")
    assert developer.ask("one") == 200
    assert developer.states()["pinned"] == "loaded"


def test_an_unknown_model_is_told_which_there_are(developer: Developer) -> None:
    developer.model = "nonsense"
    answer = developer.chat()
    assert answer.status == 404
    assert answer.json()["error"]["message"] == "The model 'nonsense' does not exist. There is: one, pinned, two."
    assert answer.json()["error"]["code"] == "model_not_found"


def test_who_has_no_key_learns_nothing(developer: Developer) -> None:
    stranger = Developer(None, developer.address, developer.ca, model="nonsense")
    answer = stranger.chat()
    assert answer.status == 401
    assert "pinned" not in answer.body


def test_developers_cannot_load_and_unload(developer: Developer) -> None:
    for path in ("/models/unload", "/models/load", "/models"):
        assert developer.request("POST", path, {"model": "pinned"}).status == 404


def test_nobody_else_reaches_the_processes_of_models(server: Server) -> None:
    lines = server.host.check_output("pgrep --list-full llama-server").splitlines()
    port = next(re.search(r"--port (\d+)", line) for line in lines if "--alias pinned" in line)[1]  # type: ignore[index]
    assert not server.answers(port), "they listen on a loopback interface that only they and the router have"
    assert server.key() not in "".join(lines)
    assert server.key() not in server.host.check_output("journalctl --unit='slm-copilot*' --no-pager")


def test_operations(operator: Operator, server: Server, developer: Developer) -> None:
    assert developer.ask("two") == 200
    status = operator.models("status")
    assert table_of(status) == {"one": "unloaded", "two": "loaded", "pinned": "loaded"}
    assert status.changed("models-host") == 0
    unloaded = operator.models("unload")
    assert table_of(unloaded) == {"one": "unloaded", "two": "unloaded", "pinned": "loaded"}, unloaded.output
    loaded = operator.models("load", model="one")
    assert table_of(loaded)["one"] == "loaded"
    assert loaded.changed("models-host") == 1


def test_what_is_configured_and_what_is_on_the_disk_are_shown(operator: Operator, server: Server) -> None:
    config = operator.models("config")
    assert config.changed("models-host") == 0
    for line in ("[two]", "ctx-size = 512", "cache-type-k = q8_0", "load-on-startup = true"):
        assert f'"{line}"' in config.output
    assert server.key() not in config.output
    server.host.check_output("touch /var/lib/slm-copilot/models/forgotten.gguf")
    files = operator.models("files")
    server.host.check_output("rm /var/lib/slm-copilot/models/forgotten.gguf")
    assert files.changed("models-host") == 0
    assert re.search(r" 0\.02 GB  /var/lib/slm-copilot/models/two\.gguf  two", files.output), files.output
    assert re.search(r"forgotten\.gguf  \(no model of this host\)", files.output), files.output


def test_a_restart_asks_only_where_it_cuts_somebody(operator: Operator, server: Server, developer: Developer) -> None:
    main = server.main_pid()
    with Crowd(Developer(developer.key, developer.address, developer.ca, model="two"), 2, 200) as crowd:
        crowd.asked(1)
        refused = operator.models("restart")
    assert refused.status != 0
    assert "this stops two and aborts" in " ".join(refused.output.split()), refused.output
    assert server.main_pid() == main
    done = operator.models("restart")
    assert done.status == 0, done.output
    assert table_of(done)["pinned"] == "loaded"
    assert server.main_pid() != main


def test_what_cannot_be_done_is_refused(operator: Operator) -> None:
    pinned = operator.models("unload", model="pinned")
    assert pinned.status != 0
    assert "take pinned out of its entry in copilot_models" in pinned.output
    unknown = operator.models("load", model="nonsense")
    assert unknown.status != 0
    assert "There are: one, pinned, two." in " ".join(unknown.output.split())


def test_before_requests_are_cut_it_asks(operator: Operator, developer: Developer) -> None:
    assert developer.ask("two") == 200
    with Crowd(Developer(developer.key, developer.address, developer.ca, model="two"), 3, 200) as crowd:
        crowd.asked(1)
        refused = operator.models("unload", model="two")
    assert refused.status != 0
    assert re.search(r"this stops two and aborts [1-3] in-flight requests", " ".join(refused.output.split())), refused.output
    assert developer.states()["two"] == "loaded"
    with Crowd(Developer(developer.key, developer.address, developer.ca, model="two"), 1, 20):
        confirmed = operator.models("unload", model="two", confirmed=True)
    assert confirmed.status == 0, confirmed.output


def test_a_context_is_changed_for_one_model_and_the_others_go_on(
    operator: Operator, developer: Developer, server: Server
) -> None:
    pinned = server.processes()["pinned"]
    done = operator.models("context", model="two", context_size=768)
    assert done.status == 0, done.output
    assert server.presets()["two"]["ctx-size"] == "768"
    assert developer.ask("two") == 200
    assert developer.request("GET", "/v1/models").json()["data"][2]["meta"]["n_ctx"] == 768
    assert server.processes()["pinned"] == pinned
    refusals = {
        "two was trained for 32768 tokens: give no more.": {"context_size": 400000000},
        "MiB too few": {"context_size": 1024, "llama_server_reserve_mib": 100000000},
    }
    for words, asked in refusals.items():
        refused = operator.models("context", model="two", **asked)
        said = " ".join(refused.output.split())
        assert refused.status != 0
        assert words in said and "Nothing was changed" in said
    assert server.presets()["two"]["ctx-size"] == "768"


def test_a_plan_that_does_not_fit_stops_before_anything_starts(operator: Operator, server: Server) -> None:
    main, before = server.main_pid(), server.presets()
    refused = operator.run(llama_server_reserve_mib=100000000)
    text = " ".join(refused.output.split())
    assert refused.status != 0
    assert "pinned (pinned): weights" in text
    assert "MiB too few" in text
    assert (server.main_pid(), server.presets()) == (main, before)


def test_site_brings_back_what_the_inventory_says_without_a_restart(
    operator: Operator, server: Server, developer: Developer
) -> None:
    server.host.check_output("sed -i '/^.two.$/,/^ctx-size/s/^ctx-size = .*/ctx-size = 768/' /etc/slm-copilot/models.ini")
    assert developer.ask("two") == 200  # the model that was loaded at the start has made room
    main = server.main_pid()
    run = operator.run()
    assert run.status == 0, run.output[-3000:]
    assert server.presets()["two"]["ctx-size"] == "512"
    assert server.main_pid() == main
