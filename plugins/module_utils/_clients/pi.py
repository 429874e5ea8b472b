# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The extension of pi: commands that show, load and unload models, and the client certificate, where one is needed."""

from __future__ import annotations

import json

from ansible_collections.slm.copilot.plugins.module_utils._clients.programs import (
    CERTIFICATE,
    CERTIFICATE_KEY,
    FOLDER,
    Access,
    pi_provider,
)

HEAD = """\
// Commands that show, load and unload the copilot's models, for administrators.
import { readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";

const file = (name) => readFileSync(join(homedir(), name), "utf8");
"""

COMMANDS = r"""
const FREE = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
const key = () => file(KEY_FILE).trim();

async function ask(path, method = "GET") {
  const response = await fetch(COPILOT + path, { method, headers: { authorization: `Bearer ${key()}` } });
  const text = await response.text();
  let body = text; // some answers are plain text
  try {
    body = JSON.parse(text);
  } catch {}
  if (!response.ok) throw new Error(`${response.status}: ${body?.error?.message ?? text}`);
  return body;
}

const running = async () => new Map((await ask("/running")).running.map((one) => [one.model, one]));
const served = async () => (await ask("/v1/models")).data;

// pi's entry for a model, with the server's current context
const described = (model) => {
  const known = PROVIDER.models.find((one) => one.id === model.id);
  const contextWindow = model.meta?.n_ctx ?? known?.contextWindow;
  const usual = { reasoning: false, input: ["text"], cost: FREE, maxTokens: 4096, compat: COMPAT };
  return { ...usual, ...known, id: model.id, name: model.id, contextWindow };
};

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd()).join("\n");
}

function commands(pi) {
  let names = PROVIDER.models.map((model) => model.id);
  const complete = (prefix) => {
    const fit = names.filter((name) => name.startsWith(prefix)).map((name) => ({ value: name, label: name }));
    return fit.length > 0 ? fit : null;
  };
  const command = (name, description, act, options = {}) =>
    pi.registerCommand(`${NAME}-${name}`, {
      description,
      ...options,
      handler: async (words, ctx) => {
        try {
          await act(words.trim(), ctx);
        } catch (error) {
          ctx.ui.notify(`${NAME}: ${error.message}`, "error");
        }
      },
    });

  command("status", "Show the models: state and context", async (_words, ctx) => {
    const [models, loaded] = await Promise.all([served(), running()]);
    names = models.map((model) => model.id);
    const rows = models.map((model) => {
      const { state = "unloaded", requests = 0, waiting = 0 } = loaded.get(model.id) ?? {};
      return [model.id, state, requests, waiting, described(model).contextWindow ?? "?"].map(String);
    });
    ctx.ui.notify(table([["model", "state", "requests", "waiting", "context"], ...rows]), "info");
  });
  command("refresh", "Ask which models there are", async (_words, ctx) => {
    const models = (await served()).filter((model) => !FIM_ONLY.includes(model.id));
    names = models.map((model) => model.id);
    pi.registerProvider(NAME, { ...PROVIDER, models: models.map(described) });
    ctx.ui.notify(`Models: ${names.join(", ")}`, "info");
  });
  command("load", "Load a model", async (model, ctx) => {
    if (!model) throw new Error(`name a model: ${names.join(", ")}`);
    await ask(`/upstream/${encodeURIComponent(model)}/health`);
    ctx.ui.notify(`${model} is loaded`, "info");
  }, { getArgumentCompletions: complete });
  command("unload", "Unload a model; requests that it answers end", async (model, ctx) => {
    if (!model) throw new Error(`name a model: ${names.join(", ")}`);
    const { requests = 0, waiting = 0 } = (await running()).get(model) ?? {};
    const others = `It answers ${requests} requests, which are cut off, and ${waiting} wait for it.`;
    if (!(await ctx.ui.confirm(`Unload ${model}?`, others))) return;
    await ask(`/api/models/unload/${encodeURIComponent(model)}`, "POST");
    ctx.ui.notify(`${model} is unloaded`, "info");
  }, { getArgumentCompletions: complete });
}
"""

SHOWN = f"""
function showCertificate() {{
  // The HTTP client that pi itself uses
  const undici = createRequire(realpathSync(process.argv[1]))("undici");
  const others = undici.getGlobalDispatcher();
  const copilot = new undici.Agent({{
    allowH2: false,
    bodyTimeout: 0,
    headersTimeout: 0,
    connect: {{
      ca: TRUSTED,
      cert: file({json.dumps(f"{FOLDER}/{CERTIFICATE}")}),
      key: file({json.dumps(f"{FOLDER}/{CERTIFICATE_KEY}")}),
    }},
  }});
  class ByOrigin extends undici.Dispatcher {{
    dispatch(options, handler) {{
      return (String(options.origin) === COPILOT ? copilot : others).dispatch(options, handler);
    }}
    async close() {{
      await Promise.all([copilot.close(), others.close()]);
    }}
    async destroy(error) {{
      await Promise.all([copilot.destroy(error), others.destroy(error)]);
    }}
  }}
  undici.setGlobalDispatcher(new ByOrigin());
}}
"""
START = """\
  pi.on("session_start", showCertificate); // pi sets its own client after it has read the extensions
"""


def pi_extension(access: Access) -> str:
    """Returns the extension; its code is the same for all, and what it is about stands before it."""
    provider = pi_provider(access)
    facts = {
        "NAME": access.provider,
        "KEY_FILE": f"{access.folder}/api-key",
        "FIM_ONLY": [model.name for model in access.endpoint.fim_models],
        "COMPAT": provider.pop("compat"),
        "PROVIDER": provider,
    }
    lines = [HEAD, f"const COPILOT = new URL({json.dumps(access.endpoint.origin)}).origin; // as the HTTP client writes it\n"]
    lines += [f"const {name} = {json.dumps(value, indent=2)};\n" for name, value in facts.items()]
    lines.append(COMMANDS)
    if access.mtls == "off":
        return "".join([*lines, "\nexport default commands;\n"])
    trusted = f"[...rootCertificates, file({json.dumps(FOLDER + '/ca.pem')})]" if access.ca else "rootCertificates"
    shown = SHOWN.replace("TRUSTED", trusted)
    return "".join([*lines, shown, "\nexport default function (pi) {\n  commands(pi);\n", START, "}\n"])
