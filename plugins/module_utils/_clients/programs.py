# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Configurations that connect a developer's programs to a copilot, from aider to the OpenAI SDK; docs/clients.md lists them.

They assume that the archive was unpacked to the folder ``slm-copilot`` in the developer's home directory. They contain the key
only for programs that cannot read it from a separate file. None of them disables verification: each program gets the CA.
"""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any

FOLDER = "slm-copilot"  # in the developer's home directory
CERTIFICATE, CERTIFICATE_KEY = "client.pem", "client-key.pem"
# What the role client_certificates lays beside our files, and what goes into the archive with them.
CERTIFICATE_FILES = (CERTIFICATE, CERTIFICATE_KEY, "client.p12", "client-p12-password")
REQUEST_SECONDS = 3600  # a long prompt takes minutes on CPUs
# One half of Continue reads its figure in milliseconds and the other in seconds. This is 35 minutes for the one; the other makes
# milliseconds of it, and the next larger number would not fit into a timer of JavaScript, which then ends at once.
CONTINUE_TIMEOUT = 2_147_483
MAX_OUTPUT = 8192
MTLS = ("off", "optional", "required")


@dataclass(frozen=True)
class Model:
    """A model, how long a conversation with it may be, and whether it only completes what is typed (FIM)."""

    name: str
    context_size: int
    fim_only: bool = False

    @property
    def max_output(self) -> int:
        """An answer may take a quarter of the context; the rest is for what was asked."""
        return min(MAX_OUTPUT, self.context_size // 4)


@dataclass(frozen=True)
class Endpoint:
    """A URL that developers use, and what it serves. Programs begin with the first model that they can talk to."""

    name: str
    url: str  # with /v1
    models: tuple[Model, ...]

    @property
    def chat_models(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if not model.fim_only)

    @property
    def fim_models(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.fim_only)

    @property
    def model(self) -> str:
        return self.chat_models[0].name

    @property
    def context_size(self) -> int:
        return self.chat_models[0].context_size

    @property
    def max_output(self) -> int:
        return self.chat_models[0].max_output

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/v1")


@dataclass(frozen=True)
class Certificate:
    """A developer's client certificate and its key, in PEM form."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Access:
    """The connection of one developer to one endpoint."""

    endpoint: Endpoint
    key: str
    ca: str = ""  # PEM; empty when the developer's system trusts the endpoint anyway
    mtls: str = "off"
    certificate: Certificate | None = None
    subfolder: str = ""  # below FOLDER, where there are several endpoints

    @property
    def folder(self) -> str:
        return f"{FOLDER}/{self.subfolder}" if self.subfolder else FOLDER

    @property
    def provider(self) -> str:
        """The endpoint's name in the programs' own configurations."""
        return f"slm-copilot-{self.subfolder}" if self.subfolder else "slm-copilot"


def client_settings(access: Access) -> dict[str, str]:
    """Returns what each program is configured with; the report of a host shows it as well."""
    files = {"continue/config.yaml": _continue(access)}
    if access.endpoint.fim_models:
        files |= {"llama.vscode/settings.json": _llama_vscode(access), "llama.vim/slm-copilot.vim": _llama_vim(access)}
    if not access.endpoint.chat_models:
        return files
    return files | {
        "aider/.aider.conf.yml": _aider_settings(access),
        "aider/.aider.model.settings.yml": _aider_model(access),
        "aider/.aider.model.metadata.json": _aider_metadata(access),
        "aider/.env": _aider_environment(access),
        "opencode/opencode.json": _opencode(access),
        "cline/providers.json": _cline(access),
        "cline/globalState.json": _cline_editor(access),
        "cline/secrets.json": _json({"openAiApiKey": access.key}),
        "pi/models.json": _json({"providers": {access.provider: pi_provider(access)}}),
        "pi/settings.json": _json({"httpIdleTimeoutMs": REQUEST_SECONDS * 1000}),
        "codex/config.toml": _codex(access),
        "claude/environment": _claude(access),
        "curl/curl.conf": _curl(access),
        "python/chat.py": _python(access),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _quoted(value: str) -> str:
    """A string as JSON, YAML, JavaScript and Python write it."""
    return json.dumps(value)


def _aider_settings(access: Access) -> str:
    # The key is here and not in .env, which would take a dollar sign in it for a variable.
    return f"""\
# aider, for {access.endpoint.url}
model: {_quoted("openai/" + access.endpoint.model)}
openai-api-base: {_quoted(access.endpoint.url)}
openai-api-key: {_quoted(access.key)}
timeout: {REQUEST_SECONDS}
analytics-disable: true
"""


def _aider_model(access: Access) -> str:
    # What aider asks besides, such as for a commit message, goes to the same model: another one may have to be loaded first.
    return "".join(
        f"""\
- name: {_quoted("openai/" + model.name)}
  edit_format: diff
  weak_model_name: {_quoted("openai/" + model.name)}
  use_repo_map: true
  extra_params:
    max_tokens: {model.max_output}
"""
        for model in access.endpoint.chat_models
    )


def _aider_metadata(access: Access) -> str:
    return _json(
        {
            f"openai/{model.name}": {
                "max_tokens": model.max_output,
                "max_input_tokens": model.context_size,
                "max_output_tokens": model.max_output,
                "input_cost_per_token": 0,
                "output_cost_per_token": 0,
                "litellm_provider": "openai",
                "mode": "chat",
            }
            for model in access.endpoint.chat_models
        }
    )


def _aider_environment(access: Access) -> str:
    lines = ["# Where aider finds the rest of its settings"]
    if access.ca:
        lines.append(f"SSL_CERT_FILE=${{HOME}}/{FOLDER}/ca.pem")
    lines.append(f"AIDER_MODEL_SETTINGS_FILE=${{HOME}}/{access.folder}/aider/.aider.model.settings.yml")
    lines.append(f"AIDER_MODEL_METADATA_FILE=${{HOME}}/{access.folder}/aider/.aider.model.metadata.json")
    return "\n".join(lines) + "\n"


def _opencode(access: Access) -> str:
    endpoint, milliseconds = access.endpoint, REQUEST_SECONDS * 1000
    return _json(
        {
            "$schema": "https://opencode.ai/config.json",
            "model": f"{access.provider}/{endpoint.model}",
            # Titles and summaries would go to another provider otherwise, where the developer has one.
            "small_model": f"{access.provider}/{endpoint.model}",
            "share": "disabled",
            "provider": {
                access.provider: {
                    "npm": "@ai-sdk/openai-compatible",
                    "name": access.provider,
                    "options": {
                        "baseURL": endpoint.url,
                        "apiKey": f"{{file:~/{access.folder}/api-key}}",
                        "timeout": milliseconds,
                        "headerTimeout": milliseconds,
                        "chunkTimeout": milliseconds,
                    },
                    "models": {
                        model.name: {
                            "name": model.name,
                            "tool_call": True,
                            "limit": {"context": model.context_size, "output": model.max_output},
                        }
                        for model in endpoint.chat_models
                    },
                }
            },
        }
    )


def _cline(access: Access) -> str:
    endpoint = access.endpoint  # its format has one model per provider: the README explains how to select another
    return _json(
        {
            "version": 1,
            "lastUsedProvider": "openai-compatible",
            "modes": {},
            "providers": {
                "openai-compatible": {
                    "settings": {
                        "provider": "openai-compatible",
                        "apiKey": access.key,
                        "baseUrl": endpoint.url,
                        "model": endpoint.model,
                        "contextWindow": endpoint.context_size,
                        "maxTokens": endpoint.max_output,
                        "timeout": REQUEST_SECONDS * 1000,
                    },
                    "updatedAt": "2026-01-01T00:00:00.000Z",
                    "tokenSource": "manual",
                }
            },
        }
    )


def _cline_editor(access: Access) -> str:
    """What the extension for VS Code keeps, but for the key."""
    endpoint = access.endpoint
    model = {
        "contextWindow": endpoint.context_size,
        "maxTokens": endpoint.max_output,
        "supportsImages": False,
        "supportsPromptCache": False,
    }
    modes = {
        f"{mode}Mode{name}": value
        for mode in ("act", "plan")
        for name, value in (("ApiProvider", "openai"), ("OpenAiModelId", endpoint.model), ("OpenAiModelInfo", model))
    }
    return _json(
        {
            "welcomeViewCompleted": True,
            "openAiBaseUrl": endpoint.url,
            "requestTimeoutMs": REQUEST_SECONDS * 1000,
            **modes,
        }
    )


def _continue(access: Access) -> str:
    endpoint = access.endpoint
    connection = [
        "    requestOptions:",
        f"      timeout: {CONTINUE_TIMEOUT}",
    ]
    # The files themselves: Continue takes no path that begins with a tilde.
    if access.ca:
        connection.append(f"      caBundlePath: {_data_url(access.ca)}")
    if access.certificate:
        connection += [
            "      clientCertificate:",
            f"        cert: {_data_url(access.certificate.certificate)}",
            f"        key: {_data_url(access.certificate.key)}",
        ]
    lines = [f"name: {_quoted(access.provider)}", "version: 1.0.0", "schema: v1", "models:"]
    for model in endpoint.models:
        lines += [
            f"  - name: {_quoted(model.name)}",
            "    provider: openai",
            f"    model: {_quoted(model.name)}",
            f"    apiBase: {_quoted(endpoint.url)}",
            f"    apiKey: {_quoted(access.key)}",
            *(
                ["    roles: [autocomplete]"]
                if model.fim_only
                else ["    roles: [chat, edit, apply]", "    capabilities: [tool_use]"]
            ),
            "    defaultCompletionOptions:",
            f"      contextLength: {model.context_size}",
            f"      maxTokens: {model.max_output}",
            *connection,
        ]
    return "\n".join(lines) + "\n"


def _data_url(pem: str) -> str:
    return "data:application/x-pem-file;base64," + base64.b64encode(pem.encode()).decode()


def pi_provider(access: Access) -> dict[str, Any]:
    """pi's configuration of the endpoint; its extension updates it when models change."""
    endpoint = access.endpoint
    return {
        "baseUrl": endpoint.url,
        "api": "openai-completions",
        "apiKey": f'!cat "$HOME/{access.folder}/api-key"',
        "compat": {
            "supportsStore": False,
            "supportsDeveloperRole": False,
            "supportsReasoningEffort": False,
            "maxTokensField": "max_tokens",
        },
        "models": [
            {"id": model.name, "contextWindow": model.context_size, "maxTokens": model.max_output}
            for model in endpoint.chat_models
        ],
    }


def _codex(access: Access) -> str:
    endpoint, home_key = access.endpoint, f'cat "$HOME/{access.folder}/api-key"'
    return f"""\
# Codex CLI, for {endpoint.url}
model = {_quoted(endpoint.model)}
model_provider = {_quoted(access.provider)}
model_context_window = {endpoint.context_size}
web_search = "disabled" # it is OpenAI's
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
multi_agent = false # its tools are a namespace, and llama-server leaves out all but functions

[model_providers.{_quoted(access.provider)}]
name = {_quoted(access.provider)}
base_url = {_quoted(endpoint.url)}
wire_api = "responses"
stream_idle_timeout_ms = {REQUEST_SECONDS * 1000}

[model_providers.{_quoted(access.provider)}.auth]
command = "sh"
args = ["-c", {_quoted(home_key)}]
"""


def _claude(access: Access) -> str:
    endpoint = access.endpoint
    # Each class of models that it knows is the one that is here: what it asks of a smaller one would load another.
    settings = {
        "ANTHROPIC_BASE_URL": shlex.quote(endpoint.origin),
        "ANTHROPIC_AUTH_TOKEN": f'"$(cat ~/{access.folder}/api-key)"',
        "ANTHROPIC_MODEL": shlex.quote(endpoint.model),
        **{f"ANTHROPIC_DEFAULT_{kind}_MODEL": shlex.quote(endpoint.model) for kind in ("OPUS", "SONNET", "HAIKU")},
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(endpoint.max_output),
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(endpoint.context_size),
        "API_TIMEOUT_MS": str(REQUEST_SECONDS * 1000),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    if access.ca:
        settings["NODE_EXTRA_CA_CERTS"] = f"~/{FOLDER}/ca.pem"
    if access.mtls != "off":
        settings["CLAUDE_CODE_CLIENT_CERT"] = f"~/{FOLDER}/{CERTIFICATE}"
        settings["CLAUDE_CODE_CLIENT_KEY"] = f"~/{FOLDER}/{CERTIFICATE_KEY}"
    lines = [f"# Claude Code, for {endpoint.url}", "unset ANTHROPIC_API_KEY"]
    return "\n".join([*lines, *(f"export {name}={value}" for name, value in settings.items())]) + "\n"


def _llama_vscode(access: Access) -> str:
    settings = {
        "llama-vscode.endpoint": access.endpoint.origin,
        "llama-vscode.api_key": access.key,
        "llama-vscode.ai_model": access.endpoint.fim_models[0].name,
    }
    return _json(settings)


def _llama_vim(access: Access) -> str:
    settings = {
        "endpoint_fim": f"{access.endpoint.origin}/infill",
        "model_fim": access.endpoint.fim_models[0].name,
        "api_key": access.key,
    }
    entries = "".join(f"    \\ '{name}': '{value.replace(chr(39), chr(39) * 2)}',\n" for name, value in settings.items())
    return f'" llama.vim; source it before the plugin loads\nlet g:llama_config = {{\n{entries}    \\ }}\n'


def _curl(access: Access) -> str:
    return f"""\
# curl --config this-file. The key is here, so that it is not in the list of processes.
header = {_quoted("Authorization: Bearer " + access.key)}
header = "Content-Type: application/json"
fail-with-body
no-buffer
silent
show-error
"""


def _python(access: Access) -> str:
    verify = ["context = ssl.create_default_context()"]
    if access.ca:
        verify.append(f'context.load_verify_locations(HOME / "{FOLDER}" / "ca.pem")')
    if access.mtls != "off":
        verify.append(f'context.load_cert_chain(HOME / "{FOLDER}" / "{CERTIFICATE}", HOME / "{FOLDER}" / "{CERTIFICATE_KEY}")')
    connect = "\n".join(verify)
    return f"""\
# The OpenAI SDK: pip install openai
import ssl
import sys
from pathlib import Path

import httpx
from openai import OpenAI

HOME = Path.home()
{connect}
client = OpenAI(
    base_url={_quoted(access.endpoint.url)},
    api_key=(HOME / {_quoted(access.folder + "/api-key")}).read_text().strip(),
    timeout={REQUEST_SECONDS},
    http_client=httpx.Client(verify=context),
)
answer = client.chat.completions.create(
    model={_quoted(access.endpoint.model)},
    messages=[{{"role": "user", "content": " ".join(sys.argv[1:]) or "Hello"}}],
    stream=True,
)
for chunk in answer:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
"""
