#!/usr/bin/python
# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Manage the files of a service in one task
version_added: 0.1.0
author:
  - The slm.copilot maintainers (@slm-copilot)
description:
  - Creates directories, files and links, or removes files and links, in the given order.
  - One task can manage a unit together with all files that it reads, at about the cost of a single file.
  - A file is replaced atomically, with its owner and mode, and never through a link. If the path holds something else, such as a
    directory or a device, the task fails.
options:
  files:
    description: The files, directories and links to manage.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      state:
        description:
          - V(file) is a regular file, V(directory) a directory including its parents, V(link) a symbolic link.
          - V(absent) removes a file or a link.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description:
          - Content of the file. Use the lookups P(ansible.builtin.template#lookup) and, with C(rstrip=false),
            P(ansible.builtin.file#lookup) for files on the controller.
          - Without this and O(files[].secret), the file must exist, and only its owner, group and mode are managed.
        type: str
      secret:
        description: Secret content of the file. It never appears in logs, results or diffs.
        type: str
      target:
        description: Target of a link.
        type: str
      conflict:
        description:
          - If it is set, the first writer of the file wins. A file with different content is not changed, and the task fails with
            this message, in which C(%s) is replaced with the existing content.
          - If several runs start at the same time, one succeeds.
        type: str
      owner:
        description: Owner of a file or a directory.
        type: str
        default: root
      group:
        description: Group of a file or a directory.
        type: str
        default: root
      mode:
        description:
          - Permissions as an octal number in quotes. Required for a file.
          - A directory without a mode is created with V(0755), and the mode of an existing one is not changed.
        type: str
      validate:
        description:
          - Command that validates new content before it is moved into place, with C(%s) for the file. It does not run in check
            mode.
        type: str
      touch:
        description:
          - Whether to set the file's modification time to the current time in every run. This does not count as a change.
        type: bool
        default: false
  record:
    description:
      - Path of a record of the created files, for M(slm.copilot.host_removal). Its directory must exist by the end of the task.
      - The playbook sets it for all roles with C(module_defaults).
    type: path
attributes:
  check_mode:
    support: full
    description: Reports what would change. Owners and groups need not exist yet.
  diff_mode:
    support: full
    description: Shows content except O(files[].secret), owners and modes.
  idempotent:
    support: full
    description: Existing files that match are not changed.
seealso:
  - module: ansible.builtin.template
  - module: ansible.builtin.file
"""

EXAMPLES = r"""
- name: Install llama-server's unit and configuration
  slm.copilot.files:
    files:
      - path: /etc/example
        state: directory
        group: example
        mode: "0750"
      - path: /etc/example/key
        secret: "{{ example_key }}\n"
        group: example
        mode: "0640"
      - path: /etc/systemd/system/example.service
        content: "{{ lookup('ansible.builtin.template', 'example.service.j2') }}"
        mode: "0644"
        validate: systemd-analyze verify %s:example.service
  notify: Restart example
"""

RETURN = r"""
changed_paths:
  description: Paths that were changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/example/key]
"""

import os
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._host import installation, installed
from ansible_collections.slm.copilot.plugins.module_utils._host.file_states import (
    Present,
    Wanted,
    apply,
    differences,
    look,
    problem,
)

FILE = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "content": {"type": "str"},
    "secret": {"type": "str", "no_log": True},
    "target": {"type": "str"},
    "conflict": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "validate": {"type": "str"},
    "touch": {"type": "bool", "default": False},
}


def wanted(entry: dict[str, Any]) -> Wanted:
    text = entry["content"] if entry["secret"] is None else entry["secret"]
    try:
        mode = None if entry["mode"] is None else int(entry["mode"], 8)
    except ValueError:
        raise CopilotError(f"files: the mode of {entry['path']} is {entry['mode']!r}: give an octal number in quotes") from None
    if not entry["path"].startswith("/"):
        raise CopilotError(f"files: {entry['path']} is no absolute path")
    return Wanted(
        path=entry["path"],
        state=entry["state"],
        content=None if text is None else text.encode(),
        target=entry["target"] or "",
        owner=entry["owner"],
        group=entry["group"],
        mode=mode,
        exclusive=bool(entry["conflict"]),
    )


def shown(entry: dict[str, Any], present: Present, want: Wanted, differing: list[str]) -> dict[str, str]:
    """Returns the diff of one path, without secret content."""

    def text(kind: str, content: bytes, owner: str, group: str, mode: int | None) -> str:
        lines = [kind] if "state" in differing else []
        if {"owner", "group", "mode"} & set(differing):
            lines.append(f"{owner}:{group} {mode or 0:04o}")
        if kind == "link" or (kind == "file" and entry["content"] is not None and {"state", "content"} & set(differing)):
            lines.append(content.decode(errors="replace").removesuffix("\n"))
        return "".join(f"{line}\n" for line in lines)

    after = want.target.encode() if want.state == "link" else want.content or b""
    return {
        "before_header": want.path,
        "after_header": want.path,
        "before": text(present.kind, present.content, present.owner, present.group, present.mode),
        "after": text(want.state, after, want.owner, want.group, want.mode),
    }


class FilesModule(AnsibleModule):
    """A module that logs only paths: Ansible's own log would show multi-line secrets in a list in escaped form."""

    def _log_invocation(self) -> None:
        self.log("Invoked with files=" + ", ".join(str(entry["path"]) for entry in self.params["files"]))


def main() -> None:
    module = FilesModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": FILE,
                "mutually_exclusive": [("content", "secret", "target")],
                "required_if": [("state", "file", ["mode"]), ("state", "link", ["target"])],
            },
            "record": {"type": "path"},
        },
        supports_check_mode=True,
    )
    changed_paths: list[str] = []
    diff: list[dict[str, str]] = []
    invocation = {"module_args": {"files": [entry["path"] for entry in module.params["files"]]}}

    record = None
    record_path = None if module.check_mode else module.params["record"]

    def fail(message: str) -> NoReturn:
        module.fail_json(msg=message, changed=bool(changed_paths), changed_paths=changed_paths, invocation=invocation)

    for entry in module.params["files"]:

        def check(temporary: str, command: str | None = entry["validate"], path: str = entry["path"]) -> None:
            if command:
                status, output, errors = module.run_command(command.replace("%s", temporary))
                if status:
                    said = (errors or output).strip().replace(temporary, path)
                    raise CopilotError(f"the new {path} is not valid and was not installed: {said}")

        try:
            want = wanted(entry)
            present = look(want.path, follow=want.state == "directory")
            differing = differences(present, want)
            trouble = problem(present, want) if differing else None
            if trouble and not (module.check_mode and want.content is None and present.kind == "absent"):
                fail(trouble)
            if want.exclusive and present.kind != "absent" and {"state", "content"} & set(differing):
                raise FileExistsError
            if differing and not module.check_mode:
                if record_path:
                    record = record or installation.record_of(record_path)
                apply(want, present, differing, check)
                if record and (want.state != "file" or want.content is not None):  # else it is made by another task
                    record.note(want.path, present, look(want.path))
                    if os.path.isdir(os.path.dirname(record_path)):
                        installed.write(record_path, record)
            if entry["touch"] and not module.check_mode:
                os.utime(want.path, follow_symlinks=False)
        except FileExistsError:
            fail(entry["conflict"].replace("%s", look(want.path).content.decode(errors="replace").strip()))
        except (CopilotError, OSError) as error:
            fail(str(error))
        if differing:
            changed_paths.append(want.path)
            diff.append(shown(entry, present, want, differing))
    module.exit_json(changed=bool(changed_paths), changed_paths=changed_paths, diff=diff, invocation=invocation)


if __name__ == "__main__":
    main()
