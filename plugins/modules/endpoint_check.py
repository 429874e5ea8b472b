#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_check
short_description: Check that an OpenAI-compatible HTTPS endpoint works
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Runs eight checks against an endpoint of llama-server, LiteLLM or another OpenAI-compatible server.
  - The checks are V(https) (TLS with a verified certificate, and an answer), V(health) (C(/health), or LiteLLM's
    C(/health/liveliness) or C(/health/readiness)), V(no_key) (a request without a key is refused with 401), V(with_key) (a
    request with the key is accepted), V(models) (the model is listed), V(chat) (a chat completion), V(stream) (the same as a
    stream of server-sent events) and V(tools) (the model calls a required tool).
  - A check is skipped if an earlier failure already decides its outcome. V(tools) is also skipped, and counts as passed, for a
    model whose chat template does not support tools, and if the answer was cut off before a tool call.
  - Certificate verification cannot be disabled. An C(http://) URL fails the first check.
  - Connects directly, without a proxy.
attributes:
  check_mode:
    support: full
    description: Behaves the same in check mode. The server generates three short answers.
  diff_mode:
    support: none
    description: Nothing is changed.
  idempotent:
    support: full
    description: Nothing is changed.
options:
  url:
    description: The endpoint, C(https://host:port), with or without C(/v1) at the end.
    type: str
    required: true
  api_key:
    description: The API key. Exactly one of O(api_key) and O(api_key_file) is required.
    type: str
  api_key_file:
    description: File of API keys, in the format of M(slm.copilot.api_key) or llama-server, on the machine that runs the module.
    type: path
  api_key_name:
    description:
      - Name of the key in O(api_key_file), which must then have the format of M(slm.copilot.api_key). Defaults to the first key.
    type: str
  model:
    description: The model that must be listed and answer. Defaults to the first one listed.
    type: str
  ca_path:
    description: File with the CA certificate in PEM format. Defaults to the system trust store.
    type: path
  connect_host:
    description: Name or address to connect to. The certificate is still verified for the host name in O(url).
    type: str
  client_cert:
    description: Client certificate in PEM format, with its chain, if the server asks for one.
    type: path
  client_key:
    description: Private key of the client certificate in PEM format, not encrypted. Defaults to the key in O(client_cert).
    type: path
  timeout:
    description: Timeout in seconds for a connection, and for each answer that does not involve the model.
    type: float
    default: 10
  chat_timeout:
    description: Timeout in seconds for a complete chat completion. On CPUs the first answer can take minutes.
    type: float
    default: 600
  max_tokens:
    description: Maximum tokens to generate in the chat completion and in the stream.
    type: int
    default: 8
  fail_on_error:
    description: Whether the module fails if a check fails. The results are returned in both cases.
    type: bool
    default: true
seealso:
  - module: slm.copilot.api_key_info
"""

EXAMPLES = r"""
- name: Check the endpoint from the controller
  slm.copilot.endpoint_check:
    url: https://madrid-1:8443
    api_key_file: alice.key
    ca_path: .slm-copilot/ca/ca.pem
    model: devstral-small-2
  delegate_to: localhost

- name: Check without stopping at a failure
  slm.copilot.endpoint_check:
    url: https://copilot.example.org:8443/v1
    api_key_file: .slm-copilot/api-keys
    api_key_name: shared
    fail_on_error: false
  register: copilot_endpoint

- name: Show the results
  ansible.builtin.debug:
    msg: "{{ [copilot_endpoint] | slm.copilot.checks_table | split('\n') }}"
"""

RETURN = r"""
url:
  description: The endpoint, without C(/v1).
  returned: always, but not when a parameter is refused
  type: str
  sample: https://madrid-1:8443
model:
  description: The requested model, otherwise the first one listed. Null if none is known.
  returned: always, but not when a parameter is refused
  type: str
  sample: devstral-small-2
passed:
  description: Whether all checks ran and succeeded.
  returned: always, but not when a parameter is refused
  type: bool
  sample: true
failed_count:
  description: Number of failed checks, without skipped ones.
  returned: always, but not when a parameter is refused
  type: int
  sample: 0
checks:
  description: The results, in order.
  returned: always, but not when a parameter is refused
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check, V(https), V(health), V(no_key), V(with_key), V(models), V(chat), V(stream)
        or V(tools).
      type: str
      sample: stream
    title:
      description: Title of the check for people.
      type: str
      sample: Streaming
    ok:
      description: Whether it succeeded.
      type: bool
      sample: true
    skipped:
      description: Whether it did not run. If C(ok) is false, an earlier check failed; if C(ok) is true, it does not apply.
      type: bool
      sample: false
    detail:
      description: What was observed and, after a failure, what to do.
      type: str
      sample: first token after 0.31 s, 8 tokens, 11.2 tokens/s
    seconds:
      description: Duration in seconds.
      type: float
      sample: 0.94
models:
  description: All models that the endpoint lists.
  returned: always, but not when a parameter is refused
  type: list
  elements: str
  sample: [devstral-small-2]
tls:
  description: Negotiated TLS parameters, and the server's certificate. Empty without a connection.
  returned: always, but not when a parameter is refused
  type: dict
  contains:
    protocol:
      description: TLS version.
      type: str
      sample: TLSv1.3
    cipher:
      description: Cipher suite.
      type: str
      sample: TLS_AES_256_GCM_SHA384
    not_after:
      description: Expiry of the certificate (UTC).
      type: str
      sample: "2027-01-31T12:00:00Z"
    names:
      description: Names and addresses that the certificate covers.
      type: list
      elements: str
      sample: [madrid-1, 100.64.1.5]
timings:
  description: Measured times. Values of failed checks are missing.
  returned: always, but not when a parameter is refused
  type: dict
  contains:
    connect:
      description: Seconds to connect, including the TLS handshake.
      type: float
      sample: 0.012
    chat:
      description: Seconds for the chat completion.
      type: float
      sample: 0.87
    first_token:
      description: Seconds from the request to the first token of the stream.
      type: float
      sample: 0.31
    stream:
      description: Seconds for the whole stream.
      type: float
      sample: 0.93
    tokens:
      description: Number of tokens in the stream.
      type: int
      sample: 8
    tokens_per_second:
      description: Tokens per second after the first one.
      type: float
      sample: 11.2
"""

from dataclasses import fields

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import read_key
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import Target, run_checks


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "api_key": {"type": "str", "no_log": True},
            "api_key_file": {"type": "path", "no_log": False},
            "api_key_name": {"type": "str", "no_log": False},
            "model": {"type": "str"},
            "ca_path": {"type": "path"},
            "connect_host": {"type": "str"},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path", "no_log": False},
            "timeout": {"type": "float", "default": 10},
            "chat_timeout": {"type": "float", "default": 600},
            "max_tokens": {"type": "int", "default": 8, "no_log": False},
            "fail_on_error": {"type": "bool", "default": True},
        },
        mutually_exclusive=[("api_key", "api_key_file"), ("api_key", "api_key_name")],
        required_one_of=[("api_key", "api_key_file")],
        required_by={"client_key": "client_cert"},
        supports_check_mode=True,
    )
    parameters = module.params
    for name in ("timeout", "chat_timeout", "max_tokens"):
        if parameters[name] <= 0:
            module.fail_json(msg=f"{name}: is {parameters[name]:g}, and must be more than 0")
    try:
        key = parameters["api_key"]
        if key is None:
            key = read_key(parameters["api_key_file"], parameters["api_key_name"])
        if key:  # none of our messages contains it; this removes it from the server's messages, too
            module.no_log_values.add(key)
        settings = {field.name: parameters[field.name] for field in fields(Target)}
        report = run_checks(Target(**{**settings, "api_key": key})).to_dict()
    except CopilotError as error:
        module.params["url"] = shown_url(module.params["url"])  # which the result repeats
        module.fail_json(msg=str(error))
    if parameters["fail_on_error"] and not report["passed"]:
        failed = [f"{check['title']}: {check['detail']}" for check in report["checks"] if not (check["ok"] or check["skipped"])]
        module.fail_json(
            msg=f"{report['url']} failed {len(failed)} of {len(report['checks'])} checks. {' | '.join(failed)}",
            **report,
        )
    module.exit_json(changed=False, **report)


if __name__ == "__main__":
    main()
