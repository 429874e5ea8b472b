# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The instructions for a developer who has never seen this project.

The tests run what stands in the blocks marked ``sh`` and a name.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence

from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import CERTIFICATE, CERTIFICATE_KEY, FOLDER, Access


def overview(user: str, accesses: Sequence[Access]) -> str:
    rows = "\n".join(
        f"| [{access.subfolder}]({access.subfolder}/README.md) | {access.endpoint.url} | "
        f"{', '.join(model.name for model in access.endpoint.models)} |"
        for access in accesses
    )
    return f"""\
# The coding copilot of {user}

You can use any of these; each folder has its own instructions.

| folder | URL | model |
|---|---|---|
{rows}
"""


def readme(user: str, access: Access) -> str:
    endpoint, here = access.endpoint, f"~/{access.folder}"
    first = (endpoint.chat_models or endpoint.fim_models)[0]
    completion = _readme_completion(access) if endpoint.fim_models else ""
    others = _readme_others(access) if endpoint.chat_models else ""
    own = " and your certificate" if access.certificate else ""
    return f"""\
# The coding copilot of {user}

| | |
|---|---|
| URL | `{endpoint.url}` |
| model | `{first.name}` |
| context | {first.context_size} tokens, of which an answer may take {first.max_output} |
| your key | in `{here}/api-key` |

The key is yours alone: whoever has it is you. The first answer to a long prompt takes minutes, since the model runs on CPUs;
later ones in the same conversation are faster.
{_readme_models(access)}
## First

Unpack the archive in your home directory, on Linux, macOS or WSL. All of this counts on finding the files in `~/{FOLDER}`.

```sh unpack
tar -xzf slm-copilot-{user}.tar.gz -C ~
```

Then take the section of your program. Each gives what to do once, and how to start it.
{_readme_mtls(access)}{_readme_agents(access) if endpoint.chat_models else ""}
## Continue

```sh continue
alias cn='cn --config {here}/continue/config.yaml'
```

Start `cn` in your project. For VS Code and JetBrains, copy the file to `~/.continue/config.yaml`, or add our entry of `models` to
yours. It holds your key{own}, so keep it to yourself.
{completion}{others}{_readme_ca(access)}
## When something does not work

| what you see | what to do |
|---|---|
| an error with `certificate` or `issuer` | the program was not given the CA: do as its section says, in that terminal |
| 401, `invalid api key` | your key was withdrawn or changed: ask for a new archive |
| 429 | too many requests at once: wait a few seconds |
| 503 | the model is loading, or no server is free: try again |
| the connection is refused, or nothing happens | the address cannot be reached from where you are: VPN? firewall? |
"""


def _readme_agents(access: Access) -> str:
    """Programs that hold conversations; Continue, which does more, has its own section."""
    endpoint, here, root = access.endpoint, f"~/{access.folder}", f"~/{FOLDER}"
    node_ca = f"export NODE_EXTRA_CA_CERTS={root}/ca.pem\n" if access.ca else ""
    codex_ca = f"export CODEX_CA_CERTIFICATE={root}/ca.pem\n" if access.ca else ""
    return f"""
## aider

```sh aider
alias aider='aider --config {here}/aider/.aider.conf.yml --env-file {here}/aider/.env'
```

Start `aider` in your project. The alias can go into `~/.bashrc`.

## OpenCode

```sh opencode
export OPENCODE_CONFIG={here}/opencode/opencode.json
{node_ca}```

Start `opencode` in your project. The lines can go into `~/.bashrc`.

## Cline

On the command line:

```sh cline
mkdir -p ~/.cline/data/settings
cp {here}/cline/providers.json ~/.cline/data/settings/
{node_ca}```

Start `cline`. When you have a `providers.json` already, add our entry of `providers` to it instead of copying.

In VS Code, before you start Cline's extension for the first time:

```sh cline_editor
mkdir -p ~/.cline/data
cp -n {here}/cline/globalState.json {here}/cline/secrets.json ~/.cline/data/
```

When you have used it already, or it is of 2025 and does not read these files, open its settings and choose:

| field | value |
|---|---|
| API Provider | OpenAI Compatible |
| Base URL | `{endpoint.url}` |
| API Key | what `{here}/api-key` holds |
| Model ID | `{endpoint.model}` |
| Context Window Size | {endpoint.context_size} |
| Max Output Tokens | {endpoint.max_output} |
{_vscode_ca(access)}
## pi

```sh pi
mkdir -p ~/.pi/agent/extensions
cp {here}/pi/models.json {here}/pi/settings.json ~/.pi/agent/
cp {here}/pi/slm-copilot.ts ~/.pi/agent/extensions/{access.provider}.ts
{node_ca}```

Start `pi --provider {access.provider} --model {endpoint.model}`. When you have a `models.json` already, add our entry of
`providers` to it instead of copying; when you have a `settings.json`, add our line to it: without that, pi leaves after five
minutes in which the server said nothing.

Administrators have commands in it: `/{access.provider}-status` shows the models, `-refresh` asks which there are, `-load` and
`-unload` take the name of one. What cuts others off, it asks about first.

## Codex CLI

```sh codex
mkdir -p ~/.codex
cp {here}/codex/config.toml ~/.codex/{access.provider}.config.toml
alias codex='codex --profile {access.provider}'
{codex_ca}```

Start `codex` in your project. It warns that it does not know the model, which does no harm: the file has its context.

## Claude Code

```sh claude
. {here}/claude/environment
```

Start `claude` in the same terminal. All that it asks goes to `{endpoint.model}`. Those who wrote this tried the requests that its
documentation shows, not the program.
"""


def _readme_completion(access: Access) -> str:
    """Programs that complete code as it is typed."""
    here, endpoint = f"~/{access.folder}", access.endpoint
    ca = f', and add `"llama-vscode.self_signed_certificate"` with the full path of `~/{FOLDER}/ca.pem`' if access.ca else ""
    vim_ca = f"; curl, which it asks with, trusts `CURL_CA_BUNDLE=~/{FOLDER}/ca.pem`" if access.ca else ""
    return f"""
## Completion as you type

`{endpoint.fim_models[0].name}` completes code, and does not chat. Continue has it with the role autocomplete.

- llama.vscode: put the lines of `{here}/llama.vscode/settings.json` into your `settings.json`{ca}. It
  must be a version that names its model, where several are served.
- llama.vim: `source {here}/llama.vim/slm-copilot.vim` in your `.vimrc`, before the plugin{vim_ca}.

Both hold your key, so keep them to yourself. Neither was run by those who wrote this.
"""


def _readme_others(access: Access) -> str:
    """Programs that take a URL, a key and a model."""
    endpoint, here, root = access.endpoint, f"~/{access.folder}", f"~/{FOLDER}"
    curl_ca = f" \\\n  --cacert {root}/ca.pem" if access.ca else ""
    curl_certificate = f" \\\n  --cert {root}/{CERTIFICATE} --key {root}/{CERTIFICATE_KEY}" if access.mtls != "off" else ""
    question = json.dumps({"model": endpoint.model, "messages": [{"role": "user", "content": "Hello"}], "stream": True})
    return f"""
## curl

```sh curl
curl --config {here}/curl/curl.conf{curl_ca}{curl_certificate} \\
  --data '{question}' \\
  {endpoint.url}/chat/completions
```

## Python, and any other OpenAI client

`{here}/python/chat.py` shows it with the OpenAI SDK. Any client that takes a URL, a key and a model will do.

## Zed, JetBrains, and VS Code's own chat

These are from their makers' documentation; those who wrote this did not run them. All trust what your system trusts.

- Zed, in `settings.json`; it asks for your key, or takes it from `{_zed_variable(access)}`:
  ```json
{_indented(_zed(access))}
  ```
- JetBrains: AI Chat, Use API Key or Local Models, OpenAI-compatible, with the base URL `{endpoint.url}`, your key and the model
  `{endpoint.model}`.
- VS Code: Chat: Manage Language Models, Add Models, Custom Endpoint, with your key; then in `chatLanguageModels.json`:
  ```json
{_indented(_vscode_models(access))}
  ```
"""


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def _zed_variable(access: Access) -> str:
    return re.sub(r"[^A-Z0-9]", "_", access.provider.upper()) + "_API_KEY"


def _zed(access: Access) -> str:
    models = [
        {
            "name": model.name,
            "display_name": model.name,
            "max_tokens": model.context_size,
            "max_output_tokens": model.max_output,
            "capabilities": {"tools": True, "images": False, "parallel_tool_calls": False, "prompt_cache_key": False},
        }
        for model in access.endpoint.chat_models
    ]
    provider = {access.provider: {"api_url": access.endpoint.url, "available_models": models}}
    return json.dumps({"language_models": {"openai_compatible": provider}}, indent=2)


def _vscode_models(access: Access) -> str:
    models = [
        {
            "id": model.name,
            "name": model.name,
            "url": f"{access.endpoint.url}/chat/completions",
            "apiType": "chat-completions",
            "toolCalling": True,
            "vision": False,
            "maxInputTokens": model.context_size - model.max_output,
            "maxOutputTokens": model.max_output,
        }
        for model in access.endpoint.chat_models
    ]
    return json.dumps({"models": models}, indent=2)


def _readme_models(access: Access) -> str:
    models = access.endpoint.chat_models
    if len(models) < 2:
        return ""
    rows = "\n".join(f"| `{model.name}` | {model.context_size} | {model.max_output} |" for model in models)
    return f"""
## The models

Each program begins with `{models[0].name}`. A model that was not in use for a while is loaded first, which may take minutes.

| model | context, tokens | of which an answer may take |
|---|---|---|
{rows}

| program | how to take another one |
|---|---|
| aider | `/model openai/{models[1].name}`, or `aider --model openai/{models[1].name}` |
| OpenCode | `/models` |
| Cline | put its name and its numbers into `providers.json`, or into the fields of VS Code: Cline keeps one model |
| Continue | choose it in the list of models; `/model` on the command line |
| pi | `/model`, or `--model {models[1].name}` |
| Codex CLI | `codex -m {models[1].name}`, and its context in `config.toml` |
| Claude Code | put its name into `claude/environment` |
| curl, Python, others | name it in the request |
"""


def _readme_mtls(access: Access) -> str:
    if access.mtls == "off":
        return ""
    demand = (
        "This endpoint answers nobody without a client certificate.\n"
        "Continue, pi, curl and Python can show one; aider, OpenCode, Cline and Codex CLI cannot, and do not work here."
        if access.mtls == "required"
        else "This endpoint takes a client certificate, and does not insist on it.\n"
        "Continue, pi, curl and Python show yours; aider, OpenCode, Cline and Codex CLI cannot, and work with the key alone."
    )
    return f"""
## Your client certificate

{demand}

`client.pem` is the certificate and `client-key.pem` its key. For a browser, import `client.p12` with the password in
`client-p12-password`: in Firefox under Settings, Privacy & Security, Certificates, Your Certificates; in Chromium under Settings,
Privacy and security, Security, Manage certificates.
"""


def _vscode_ca(access: Access) -> str:
    if not access.ca:
        return ""
    return f"""
VS Code trusts what your system trusts: add the CA to that (see below), and leave `"http.systemCertificates": true` in its
`settings.json`, as it is by default. Where you may not do that, close it and start it by
`NODE_EXTRA_CA_CERTS=~/{FOLDER}/ca.pem code`; not every version heeds that.
"""


def _readme_ca(access: Access) -> str:
    if not access.ca:
        return ""
    return f"""
## The CA

The server's certificate is signed by the fleet's own CA, `~/{FOLDER}/ca.pem`. The programs above are given it one by one, which
is the safest. To trust it everywhere, in browsers too, means that its owner could vouch for any site to you.

| where | how |
|---|---|
| Debian, Ubuntu | `sudo cp ~/{FOLDER}/ca.pem /usr/local/share/ca-certificates/slm-copilot.crt && sudo update-ca-certificates` |
| Fedora, RHEL | `sudo cp ~/{FOLDER}/ca.pem /etc/pki/ca-trust/source/anchors/slm-copilot.pem && sudo update-ca-trust` |
| macOS | `sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ~/{FOLDER}/ca.pem` |
| Windows, as administrator | `certutil -addstore Root ca.pem` |
| Firefox | Settings, Privacy & Security, Certificates, Authorities, Import: trust it for websites |
| Chromium, Chrome | Settings, Privacy and security, Security, Manage certificates, Custom, Import |
| Python programs | `SSL_CERT_FILE=~/{FOLDER}/ca.pem`, in place of the CAs that they trust otherwise |
| Node.js programs | `NODE_EXTRA_CA_CERTS=~/{FOLDER}/ca.pem`, on top of them |
"""
