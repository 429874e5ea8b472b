# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that developers get, compared with what was read and approved.

UPDATE_GOLDEN=1 in the environment writes the files anew; read the difference before it is committed.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import tomllib
import yaml
from ansible_collections.slm.copilot.plugins.module_utils._clients.folders import (
    archive,
    parse_offers,
    user_files,
    wanted_files,
)
from ansible_collections.slm.copilot.plugins.module_utils._clients.pi import pi_extension
from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import (
    Access,
    Certificate,
    Endpoint,
    Model,
    client_settings,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

GOLDEN = Path(__file__).resolve().parents[3] / "fixtures/clients"
KEY = "sk-TheKeyOfAlice-TheKeyOfAlice"
CA = "-----BEGIN CERTIFICATE-----\nthe CA\n-----END CERTIFICATE-----\n"
CERTIFICATE = Certificate("the certificate\n", "the certificate's key\n")
MADRID = Endpoint("madrid-1", "https://192.0.2.10:8443/v1", (Model("devstral-small-2", 32768),))
PARIS = Endpoint("paris-1", "https://[2001:db8::1]:8443/v1", (Model("mistral-7b", 8192),))
CODER = Model("qwen2.5-coder-1.5b", 8192, fim_only=True)
TYPED = Endpoint("rome-1", "https://192.0.2.30:8443/v1", (CODER, Model("devstral-small-2", 32768)))
BERLIN = Endpoint("berlin-1", "https://192.0.2.20:8443/v1", (Model("devstral-small-2", 32768), Model("mistral-7b", 8192)))

CASES = {
    "one": [Access(MADRID, KEY, CA)],
    "public-ca": [Access(MADRID, KEY)],
    "mtls-required": [Access(MADRID, KEY, CA, "required", CERTIFICATE)],
    "several-models": [Access(BERLIN, KEY, CA)],
    "completion": [Access(TYPED, KEY, CA)],
    "completion-only": [Access(Endpoint("rome-1", TYPED.url, (CODER,)), KEY, CA)],
    "several-mtls-optional": [
        Access(MADRID, KEY, CA, "optional", CERTIFICATE, "madrid-1"),
        Access(PARIS, "sk-OfParis-OfParis", CA, "optional", CERTIFICATE, "paris-1"),
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_files_are_as_approved(case: str) -> None:
    text = "".join(f"=== {name}\n{content}" for name, content in sorted(user_files("alice", CASES[case]).items()))
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", ["123", "null", "12:30:45", "a:", "yes", "1e3", "~", "#x", "a #b"])
def test_a_model_s_name_is_a_text_whatever_yaml_makes_of_it(name: str) -> None:
    access = Access(Endpoint("madrid-1", MADRID.url, (Model(name, 32768),)), KEY, CA)
    files = client_settings(access)
    continue_ = yaml.safe_load(files["continue/config.yaml"])
    assert [(one["name"], one["model"]) for one in continue_["models"]] == [(name, name)]
    assert yaml.safe_load(files["aider/.aider.conf.yml"])["model"] == f"openai/{name}"
    (settings,) = yaml.safe_load(files["aider/.aider.model.settings.yml"])
    assert settings["name"] == settings["weak_model_name"] == f"openai/{name}"
    assert tomllib.loads(files["codex/config.toml"])["model"] == name
    shown = f'{files["claude/environment"]}printf %s "$ANTHROPIC_MODEL"'
    assert subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True).stdout == name


def test_each_program_waits_in_its_own_unit() -> None:
    """For the first header, where nothing keeps a request alive. molecule/clients runs the programs against a slow server."""
    files = client_settings(CASES["one"][0])
    hour = 3600
    assert yaml.safe_load(files["aider/.aider.conf.yml"])["timeout"] == hour
    opencode = json.loads(files["opencode/opencode.json"])["provider"]["slm-copilot"]["options"]
    assert {opencode[name] for name in ("timeout", "headerTimeout", "chunkTimeout")} == {hour * 1000}
    assert json.loads(files["pi/settings.json"]) == {"httpIdleTimeoutMs": hour * 1000}
    assert json.loads(files["cline/globalState.json"])["requestTimeoutMs"] == hour * 1000
    codex = tomllib.loads(files["codex/config.toml"])["model_providers"]["slm-copilot"]
    assert codex["stream_idle_timeout_ms"] == hour * 1000
    assert f"API_TIMEOUT_MS={hour * 1000}\n" in files["claude/environment"]
    # Milliseconds to one half of Continue, seconds to the other, whose timers take less than 2^31 milliseconds.
    continue_ = yaml.safe_load(files["continue/config.yaml"])["models"][0]["requestOptions"]["timeout"]
    assert continue_ > 30 * 60 * 1000 and continue_ * 1000 < 2**31


def test_a_model_that_completes_what_is_typed_is_not_offered_for_anything_else() -> None:
    files = client_settings(CASES["completion"][0])
    roles = {one["model"]: one["roles"] for one in yaml.safe_load(files["continue/config.yaml"])["models"]}
    assert roles == {CODER.name: ["autocomplete"], "devstral-small-2": ["chat", "edit", "apply"]}
    named = {name for name, content in files.items() if CODER.name in content}
    assert named == {"continue/config.yaml", "llama.vscode/settings.json", "llama.vim/slm-copilot.vim"}
    assert tomllib.loads(files["codex/config.toml"])["model"] == "devstral-small-2"
    assert set(client_settings(CASES["completion-only"][0])) == named


def test_what_completes_is_of_the_catalogue() -> None:
    (models,) = ([*parsed.endpoint.models] for parsed in parse_offers([offer(models=[{**TINY, "fim_only": True}])]))
    assert models == [Model("tiny", 4096, fim_only=True)]


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.parametrize(
    ("url", "origin"),
    [
        pytest.param("https://Copilot.Example.com:443/v1", "https://copilot.example.com", id="upper case and the usual port"),
        pytest.param("https://[2001:DB8::1]:8443/v1", "https://[2001:db8::1]:8443", id="IPv6"),
        pytest.param("https://192.0.2.10:8443/v1", "https://192.0.2.10:8443", id="address"),
    ],
)
def test_pi_knows_the_copilot_as_its_http_client_writes_it(url: str, origin: str) -> None:
    extension = pi_extension(Access(Endpoint("madrid-1", url, MADRID.models), KEY, CA, "required", CERTIFICATE))
    line = next(line for line in extension.splitlines() if line.startswith("const COPILOT"))
    done = subprocess.run(["node", "-e", f"{line}\nconsole.log(COPILOT)"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == origin


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.parametrize("mtls", ["off", "required"])
def test_the_extension_of_pi_is_javascript(tmp_path: Path, mtls: str) -> None:
    extension = tmp_path / "extension.mjs"
    extension.write_text(pi_extension(Access(BERLIN, KEY, CA, mtls, CERTIFICATE)))
    subprocess.run(["node", "--check", extension], check=True)
    assert ("showCertificate" in extension.read_text()) == (mtls == "required") and KEY not in extension.read_text()


# A pi that notes which commands it is given, and what it may complete.
COMPLETED = """
import extend from "./extension.mjs";
const found = {};
const pi = { on() {}, registerCommand: (name, { getArgumentCompletions: complete = () => [] }) => {
  found[name] = complete(process.argv[2])?.map((one) => one.value) ?? null;
} };
extend(pi);
console.log(JSON.stringify(found));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
@pytest.mark.parametrize("typed", ["", "d", "x"])
def test_pi_s_commands_complete_names_of_models(tmp_path: Path, typed: str) -> None:
    (tmp_path / "extension.mjs").write_text(pi_extension(Access(BERLIN, KEY, CA, "off", None)))
    (tmp_path / "pi.mjs").write_text(COMPLETED)
    done = subprocess.run(["node", "pi.mjs", typed], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = [model.name for model in BERLIN.models if model.name.startswith(typed)] or None
    commands = json.loads(done.stdout)
    assert commands == {f"slm-copilot-{name}": [] for name in ("status", "refresh")} | {
        f"slm-copilot-{name}": names for name in ("load", "unload")
    }


@pytest.mark.parametrize("case", CASES)
def test_every_file_is_well_formed(case: str) -> None:
    for name, content in user_files("alice", CASES[case]).items():
        assert content.endswith("\n") and not content.endswith("\n\n"), name
        if name.endswith(".json"):
            json.loads(content)
        elif name.endswith((".yml", ".yaml")):
            yaml.safe_load(content)
        elif name.endswith(".toml"):
            tomllib.loads(content)
        elif name.endswith("environment"):
            subprocess.run(["sh", "-n"], input=content, text=True, check=True)
        elif name.endswith(".py"):
            ast.parse(content)


@pytest.mark.parametrize("case", CASES)
def test_nothing_advises_to_switch_verification_off(case: str) -> None:
    text = "".join(user_files("alice", CASES[case]).values())
    assert not re.search(r"curl.* -k\b|insecure|reject_?unauthorized|verify.?ssl|verify=False", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "key", ["sk-with\"quotes'and\\back", "sk-${HOME}-$(id)-`id`", "#sk-hash-:-{a: b}-%s", "!sk-that-looks-like-a-command"]
)
def test_a_key_of_the_operators_own_reaches_each_program_as_it_is(key: str) -> None:
    files = client_settings(Access(MADRID, key, CA))
    assert yaml.safe_load(files["aider/.aider.conf.yml"])["openai-api-key"] == key
    assert yaml.safe_load(files["continue/config.yaml"])["models"][0]["apiKey"] == key
    assert json.loads(files["cline/providers.json"])["providers"]["openai-compatible"]["settings"]["apiKey"] == key
    assert json.loads(files["cline/secrets.json"]) == {"openAiApiKey": key}
    without = ("opencode/opencode.json", "pi/models.json", "aider/.env", "cline/globalState.json", "codex/config.toml")
    without += ("claude/environment",)
    assert not any(key in files[name] for name in without)


def test_every_model_has_its_own_context_everywhere() -> None:
    files = client_settings(Access(BERLIN, KEY, CA))
    metadata = json.loads(files["aider/.aider.model.metadata.json"])
    opencode = json.loads(files["opencode/opencode.json"])["provider"]["slm-copilot"]["models"]
    in_continue = yaml.safe_load(files["continue/config.yaml"])["models"]
    contexts = {
        "aider": {name.removeprefix("openai/"): one["max_input_tokens"] for name, one in metadata.items()},
        "opencode": {name: one["limit"]["context"] for name, one in opencode.items()},
        "continue": {one["model"]: one["defaultCompletionOptions"]["contextLength"] for one in in_continue},
        "pi": {
            one["id"]: one["contextWindow"] for one in json.loads(files["pi/models.json"])["providers"]["slm-copilot"]["models"]
        },
    }
    assert contexts == {program: {"devstral-small-2": 32768, "mistral-7b": 8192} for program in contexts}
    weak = {one["name"]: one["weak_model_name"] for one in yaml.safe_load(files["aider/.aider.model.settings.yml"])}
    assert weak == {"openai/devstral-small-2": "openai/devstral-small-2", "openai/mistral-7b": "openai/mistral-7b"}
    assert all(one["requestOptions"]["caBundlePath"] for one in in_continue)


def test_the_context_is_the_true_one_everywhere() -> None:
    files = client_settings(Access(PARIS, KEY, CA))
    assert json.loads(files["aider/.aider.model.metadata.json"])["openai/mistral-7b"]["max_input_tokens"] == 8192
    opencode = json.loads(files["opencode/opencode.json"])
    assert opencode["model"] == opencode["small_model"] == "slm-copilot/mistral-7b"
    assert opencode["provider"]["slm-copilot"]["models"]["mistral-7b"]["limit"] == {"context": 8192, "output": 2048}
    assert json.loads(files["cline/providers.json"])["providers"]["openai-compatible"]["settings"]["contextWindow"] == 8192
    editor = json.loads(files["cline/globalState.json"])
    assert {editor[f"{mode}ModeOpenAiModelInfo"]["contextWindow"] for mode in ("plan", "act")} == {8192}
    assert yaml.safe_load(files["continue/config.yaml"])["models"][0]["defaultCompletionOptions"]["contextLength"] == 8192
    assert json.loads(files["pi/models.json"])["providers"]["slm-copilot"]["models"][0]["contextWindow"] == 8192


def test_continue_has_certificates_inside() -> None:
    options = yaml.safe_load(client_settings(CASES["mtls-required"][0])["continue/config.yaml"])["models"][0]["requestOptions"]
    content = [options["caBundlePath"], *options["clientCertificate"].values()]
    assert [base64.b64decode(url.split(",")[1]).decode() for url in content] == [CA, CERTIFICATE.certificate, CERTIFICATE.key]


TINY = {"name": "tiny", "context_size": 4096, "slots": 2}


def offer(**changes: object) -> dict[str, object]:
    usual = {"name": "madrid-1", "url": MADRID.url, "models": [TINY], "users": ["alice"]}
    return {**usual, "keys": {"alice": KEY, "shared": "sk-shared"}, **changes}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([offer(name="../madrid")], "endpoints[0].name is '../madrid'", id="a name that leaves the folder"),
        pytest.param([offer(), offer()], "endpoints[1].name is 'madrid-1', which an earlier endpoint has", id="a name twice"),
        pytest.param([offer(url="http://192.0.2.10:8443/v1")], "give https://host:port/v1", id="plain HTTP"),
        pytest.param([offer(url="https://192.0.2.10:8443")], "give https://host:port/v1", id="a URL without its path"),
        pytest.param([offer(models=[])], "endpoints[0].models is empty", id="no model"),
        pytest.param(
            [offer(models=[TINY, {**TINY, "name": "my model"}])],
            "endpoints[0].models[1].name is 'my model'",
            id="a model with a space",
        ),
        pytest.param([offer(models=[TINY, TINY])], "endpoints[0].models[1].name is 'tiny', which an earlier", id="a model twice"),
        pytest.param([offer(models=[{**TINY, "context_size": 0}])], "models[0].context_size is 0", id="no context"),
        pytest.param([offer(models=[{"name": "tiny"}])], "models[0].context_size is None", id="a context that is not said"),
        pytest.param([offer(users=["/etc"])], "endpoints[0].users has '/etc'", id="a user that leaves the folder"),
        pytest.param([offer(users=["alice", "bob"])], "madrid-1 has no key for bob yet", id="a user without a key"),
    ],
)
def test_what_cannot_work_is_refused(entries: list[dict[str, object]], message: str) -> None:
    with pytest.raises(CopilotError, match=re.escape(message)) as refused:
        parse_offers(entries)
    assert KEY not in str(refused.value)


def test_a_missing_client_certificate_is_refused() -> None:
    with pytest.raises(CopilotError, match=r"alice has no client-key\.pem yet, and mtls is optional"):
        wanted_files(parse_offers([offer()]), CA, "optional", {"alice": {"client.pem": b"the certificate"}})


def test_each_developer_has_the_own_key_and_archive() -> None:
    both = offer(users=["alice", "bob"], keys={"alice": KEY, "bob": "sk-bob"})
    wanted = wanted_files(parse_offers([both, offer(name="paris-1", keys={"alice": "sk-alice-in-paris"})]), CA, "off", {})
    assert wanted["alice/madrid-1/api-key"].decode().strip() == KEY
    assert wanted["alice/paris-1/api-key"] == b"sk-alice-in-paris\n"
    assert wanted["bob/api-key"] == b"sk-bob\n"
    assert not any(KEY.encode() in content for name, content in wanted.items() if name.startswith("bob/"))
    with tarfile.open(fileobj=io.BytesIO(wanted["alice/slm-copilot-alice.tar.gz"])) as tar:
        names = {member.name: member for member in tar.getmembers()}
        assert {f"slm-copilot/{name.removeprefix('alice/')}" for name in wanted if name.startswith("alice/")} - set(names) == {
            "slm-copilot/slm-copilot-alice.tar.gz"
        }
        assert {(one.isdir(), one.mode) for one in names.values()} == {(True, 0o700), (False, 0o600)}


def test_the_archive_has_the_client_certificate() -> None:
    theirs = {"client.pem": b"certificate", "client-key.pem": b"key", "client.p12": b"\x00\xff"}
    wanted = wanted_files(parse_offers([offer()]), CA, "required", {"alice": theirs})
    with tarfile.open(fileobj=io.BytesIO(wanted["alice/slm-copilot-alice.tar.gz"])) as tar:
        assert tar.extractfile("slm-copilot/client.p12").read() == b"\x00\xff"


def test_the_same_files_give_the_same_archive() -> None:
    files = {"b/c/d": b"1", "a": b"2"}
    assert archive(files) == archive(dict(reversed(files.items())))
