# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the documentation site with Sphinx into .cache/docs-site/html. Each warning is an error.

Its pages are docs/*.md, CHANGELOG.rst, SECURITY.md, a page of all playbooks, made from the comment at the head of each, a page of
the variables that roles set for others, and a page for each role, module and filter, which antsibull-docs makes from their
documentation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import role_readmes

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "docs-site"
REFERENCE = "reference"
ELSEWHERE = (  # where a link of a page in docs/ leads on the site
    (re.compile(r"\]\(\.\./plugins/modules/(\w+)\.py\)"), rf"]({REFERENCE}/\1_module.rst)"),
    (re.compile(r"\]\(\.\./roles/(\w+)/README\.md\)"), rf"]({REFERENCE}/\1_role.rst)"),
    (re.compile(r"\]\(\.\./playbooks/(\w+)\.yml\)"), r"](playbooks.md#slm-copilot-\1)"),
    (re.compile(r"\]\(\.\./([\w.]+\.(?:md|rst))\)"), r"](\1)"),
    (re.compile(r"\]\(docs/([\w-]+\.md)"), r"](\1"),  # of a page that is outside docs/
)


def page(text: str) -> str:
    """A page of docs/, whose links to files outside docs/ lead to their pages on the site."""
    for pattern, target in ELSEWHERE:
        text = pattern.sub(target, text)
    return text


def playbook(name: str, text: str) -> str:
    """The section of a playbook, from the comment at its head. Lines that are indented there are commands; what follows each
    after some blanks says what it is for.

    :raises ValueError: there is no comment.
    """
    found = re.match(r"---\n((?:#.*\n)+)", text)
    if not found:
        raise ValueError(f"playbooks/{name}.yml has no comment at its head that says what it does")
    lines = [f"## slm.copilot.{name}", ""]
    in_commands = False
    for line in (line.removeprefix("#").removeprefix(" ") for line in found.group(1).splitlines()):
        is_command = line.startswith("  ")
        if is_command != in_commands:
            lines.append("```console" if is_command else "```")
            in_commands = is_command
        if is_command:
            command, *purpose = re.split(r" {3,}", line.strip())
            lines += [*(f"# {text}" for text in purpose), command]
        else:
            lines.append(re.sub(r"docs/([\w-]+)\.md", r"[\1](\1.md)", line))
    return "\n".join([*lines, *["```"] * in_commands, ""])


def playbooks(sources: dict[str, str]) -> str:
    """The page of all playbooks.

    :param sources: the text of each, by its name.
    """
    return "\n".join(["# Playbooks", "", *(playbook(name, text) for name, text in sorted(sources.items()))])


def results() -> str:
    """The page of the variables that roles set for others."""
    parts = (
        part.replace("###", "##", 1)
        for path in sorted(ROOT.glob("roles/*/meta/results.yml"))
        for part in role_readmes.results(role_readmes.load(path))
    )
    return "\n\n".join(["# Results of roles", "Other roles and playbooks may use these variables.", *parts]) + "\n"


def stage(source: Path) -> None:
    """Puts together what Sphinx reads."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source)
    for outside in ("CHANGELOG.rst", "SECURITY.md"):
        shutil.copy(ROOT / outside, source)
    shutil.copy(ROOT / "README.md", source.parent)  # a part of it is included
    for path in source.glob("*.md"):
        path.write_text(page(path.read_text()))
    (source / "playbooks.md").write_text(playbooks({path.stem: path.read_text() for path in ROOT.glob("playbooks/*.yml")}))
    (source / "results.md").write_text(results())
    (source / REFERENCE).mkdir()


def main() -> int:
    source = WORK / "source"
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    stage(source)
    copied = subprocess.run(
        [ROOT / "tools/collection-copy", "docs-site"], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(
        [
            *(tools / "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"),
            *("--dest-dir", source / REFERENCE, "slm.copilot"),
        ],
        check=True,
        env={**environment, "ANSIBLE_COLLECTIONS_PATH": str(Path(copied).parents[2])},
    )
    subprocess.run(
        [
            *(tools / "sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--jobs", "auto"),
            *("--doctree-dir", WORK / "doctrees", source, WORK / "html"),
        ],
        check=True,
        env=environment,
    )
    print(f"The documentation is in {(WORK / 'html/index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (subprocess.CalledProcessError, ValueError) as problem:
        sys.exit(f"The documentation was not built: {problem}")
