# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The instructions for a developer who has never seen this project.

The tests run the code blocks marked ``sh`` and a name.
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

The key is personal: do not share it. The first answer to a long prompt takes minutes, since the model runs on CPUs;
later ones in the same conversation are faster.
{_readme_models(access)}
## First

Unpack the archive in your home directory, on Linux, macOS or WSL. All instructions assume that the files are in `~/{FOLDER}`.

```sh unpack
tar -xzf slm-copilot-{user}.tar.gz -C ~
```

Then follow the section of your program: it says how to set it up once, and how to start it.
{_readme_mtls(access)}{_readme_agents(access) if endpoint.chat_models else ""}
## Continue

```sh continue
alias cn='cn --config {here}/continue/config.yaml'
```

Start `cn` in your project. For VS Code and JetBrains, copy the file to `~/.continue/config.yaml`, or add this entry of `models`
to yours. It holds your key{own}, so keep it private.
{completion}{others}{_readme_ca(access)}
## Troubleshooting

| symptom | what to do |
|---|---|
| an error with `certificate` or `issuer` | the program does not use the CA: follow its section in the same terminal |
| 401, `invalid api key` | your key was revoked or changed: ask for a new archive |
| 429 | too many requests at once: wait a few seconds |
| 503 | the model is loading, or no server is free: try again |
| the connection is refused, or nothing happens | the address is unreachable from your network: check VPN and firewall |
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

Start `aider` in your project. You can add the alias to `~/.bashrc`.

## OpenCode

```sh opencode
export OPENCODE_CONFIG={here}/opencode/opencode.json
{node_ca}```

Start `opencode` in your project. You can add these lines to `~/.bashrc`.

## Cline

On the command line:

```sh cline
mkdir -p ~/.cline/data/settings
cp {here}/cline/providers.json ~/.cline/data/settings/
{node_ca}```

Start `cline`. If you already have a `providers.json`, add this entry of `providers` to it instead of copying the file.

In VS Code, before you start Cline's extension for the first time:

```sh cline_editor
mkdir -p ~/.cline/data
cp -n {here}/cline/globalState.json {here}/cline/secrets.json ~/.cline/data/
```

If you have used it before, or if it is a version of 2025 that does not read these files, open its settings and enter:

| field | value |
|---|---|
| API Provider | OpenAI Compatible |
| Base URL | `{endpoint.url}` |
| API Key | the content of `{here}/api-key` holds |
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

Start `pi --provider {access.provider} --model {endpoint.model}`. If you already have a `models.json`, add this entry of
`providers` to it instead of copying the file. If you have a `settings.json`, add this line to it: without it, pi times out
after five minutes without data from the server.

Administrators have these commands: `/{access.provider}-status` shows the models, `-refresh` updates the list, `-load` and
`-unload` take the name of a model. pi asks before it aborts other developers' requests.

## Codex CLI

```sh codex
mkdir -p ~/.codex
cp {here}/codex/config.toml ~/.codex/{access.provider}.config.toml
alias codex='codex --profile {access.provider}'
{codex_ca}```

Start `codex` in your project. It warns that it does not know the model; you can ignore this, since the file sets its context.

## Claude Code

```sh claude
. {here}/claude/environment
```

Start `claude` in the same terminal. All its requests go to `{endpoint.model}`. This was tested with the requests that its
documentation shows, not with the program.
"""


def _readme_completion(access: Access) -> str:
    """Programs that complete code as it is typed."""
    here, endpoint = f"~/{access.folder}", access.endpoint
    ca = f', and add `"llama-vscode.self_signed_certificate"` with the full path of `~/{FOLDER}/ca.pem`' if access.ca else ""
    vim_ca = f"; curl, which it asks with, trusts `CURL_CA_BUNDLE=~/{FOLDER}/ca.pem`" if access.ca else ""
    return f"""
## Completion as you type

`{endpoint.fim_models[0].name}` completes code, and does not chat. Continue uses it with the role autocomplete.

- llama.vscode: put the lines of `{here}/llama.vscode/settings.json` into your `settings.json`{ca}. It
  must be a version that sends the model's name, if several are served.
- llama.vim: `source {here}/llama.vim/slm-copilot.vim` in your `.vimrc`, before the plugin{vim_ca}.

Both contain your key, so keep them private. Neither program was tested.
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

`{here}/python/chat.py` is an example with the OpenAI SDK. Any client that takes a URL, a key and a model works.

## Zed, JetBrains, and VS Code's own chat

These follow the vendors' documentation, and were not tested. All of them use your system's trust store.

- Zed, in `settings.json`; it prompts for your key, or reads it from `{_zed_variable(access)}`:
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

Each program starts with `{models[0].name}`. A model that is not loaded must be loaded first, which may take minutes.

| model | context, tokens | of which an answer may take |
|---|---|---|
{rows}

| program | how to select another one |
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
        "This endpoint requires a client certificate.\n"
        "Continue, pi, curl and Python support it; aider, OpenCode, Cline and Codex CLI do not, and do not work here."
        if access.mtls == "required"
        else "This endpoint accepts client certificates, but does not require them.\n"
        "Continue, pi, curl and Python present yours; aider, OpenCode, Cline and Codex CLI cannot, and work with the key alone."
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
VS Code uses your system's trust store: add the CA to it (see below), and leave `"http.systemCertificates": true` in its
`settings.json`, as it is by default. If you are not allowed to, close it and start it with
`NODE_EXTRA_CA_CERTS=~/{FOLDER}/ca.pem code`; not every version supports this.
"""


def _readme_ca(access: Access) -> str:
    if not access.ca:
        return ""
    return f"""
## The CA

The server's certificate is signed by the fleet's own CA, `~/{FOLDER}/ca.pem`. The sections above configure it for each program,
which is safest. If your system or browser trusts it, its owner could impersonate any site to you.

| where | how |
|---|---|
| Debian, Ubuntu | `sudo cp ~/{FOLDER}/ca.pem /usr/local/share/ca-certificates/slm-copilot.crt && sudo update-ca-certificates` |
| Fedora, RHEL | `sudo cp ~/{FOLDER}/ca.pem /etc/pki/ca-trust/source/anchors/slm-copilot.pem && sudo update-ca-trust` |
| macOS | `sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ~/{FOLDER}/ca.pem` |
| Windows, as administrator | `certutil -addstore Root ca.pem` |
| Firefox | Settings, Privacy & Security, Certificates, Authorities, Import: trust it for websites |
| Chromium, Chrome | Settings, Privacy and security, Security, Manage certificates, Custom, Import |
| Python programs | `SSL_CERT_FILE=~/{FOLDER}/ca.pem`, which replaces their default CAs |
| Node.js programs | `NODE_EXTRA_CA_CERTS=~/{FOLDER}/ca.pem`, in addition to their default CAs |
"""
