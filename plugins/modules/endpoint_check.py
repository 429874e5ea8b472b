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
  - The checks are V(https) (TLS with a verified certificate, and an answer), V(health) (C(/health), or
    C(/health/liveliness) or C(/health/readiness) of LiteLLM), V(no_key) (a request without key is refused with 401),
    V(with_key) (one with the key is accepted), V(models) (the model is listed), V(chat) (a chat completion),
    V(stream) (the same as a stream of server-sent events) and V(tools) (a tool that must be called is called).
  - A check whose outcome is clear after an earlier one is skipped. So is V(tools), and it counts as passed, for a model whose
    chat template takes no tools, and where the answer was cut off before a call, which decides nothing.
  - Verification of the certificate cannot be switched off. An C(http://) URL fails the first check.
  - Connects directly, without a proxy.
attributes:
  check_mode:
    support: full
    description: Does the same as without. The server computes three short answers.
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
    description: The API key. Exactly one of this and O(api_key_file) is needed.
    type: str
  api_key_file:
    description: A file of API keys in the form of M(slm.copilot.api_key) or llama-server, where the module runs.
    type: path
  api_key_name:
    description: Name of the key in O(api_key_file), which must then be of M(slm.copilot.api_key). By default the first.
    type: str
  model:
    description: The model that must be listed and answer. By default the first one listed.
    type: str
  ca_path:
    description: File of the certificate authority, in PEM form. By default those that the system trusts.
    type: path
  connect_host:
    description: Name or address to connect to, while the certificate is verified for the name in O(url).
    type: str
  client_cert:
    description: The client certificate in PEM form, with its chain, where the server asks for one.
    type: path
  client_key:
    description: The client certificate's key, unencrypted, in PEM form. By default it is taken from O(client_cert).
    type: path
  timeout:
    description: Seconds to wait for a connection, and for each answer that needs no model.
    type: float
    default: 10
  chat_timeout:
    description: Seconds to wait for a whole chat completion. On CPUs a first answer can take minutes.
    type: float
    default: 600
  max_tokens:
    description: Tokens to ask for in the chat completion and in the stream.
    type: int
    default: 8
  fail_on_error:
    description: Whether the module fails when a check fails. The results are returned in both cases.
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
  description: The model that was asked for or, where none was, the first one listed. Null when none is known.
  returned: always, but not when a parameter is refused
  type: str
  sample: devstral-small-2
passed:
  description: Whether all checks were made and succeeded.
  returned: always, but not when a parameter is refused
  type: bool
  sample: true
failed_count:
  description: How many checks failed, without those that were skipped.
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
      description: The same for people.
      type: str
      sample: Streaming
    ok:
      description: Whether it succeeded.
      type: bool
      sample: true
    skipped:
      description: Whether it was not made, and O(ignore:ok) is false, or does not apply, and that is true.
      type: bool
      sample: false
    detail:
      description: What was seen or, after a failure, also what to do.
      type: str
      sample: first token after 0.31 s, 8 tokens, 11.2 tokens/s
    seconds:
      description: How long it took.
      type: float
      sample: 0.94
models:
  description: All models that the endpoint lists.
  returned: always, but not when a parameter is refused
  type: list
  elements: str
  sample: [devstral-small-2]
tls:
  description: What was negotiated, and the server's certificate. Empty without a connection.
  returned: always, but not when a parameter is refused
  type: dict
  contains:
    protocol:
      description: Version of TLS.
      type: str
      sample: TLSv1.3
    cipher:
      description: Cipher suite.
      type: str
      sample: TLS_AES_256_GCM_SHA384
    not_after:
      description: End of the certificate, UTC.
      type: str
      sample: "2027-01-31T12:00:00Z"
    names:
      description: Names and addresses that the certificate is for.
      type: list
      elements: str
      sample: [madrid-1, 100.64.1.5]
timings:
  description: What was measured. Values of checks that failed are missing.
  returned: always, but not when a parameter is refused
  type: dict
  contains:
    connect:
      description: Seconds to connect, with the TLS handshake.
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
      description: Tokens in the stream.
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
        if key:  # no text of ours has it; this keeps what a server says free of it, too
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
