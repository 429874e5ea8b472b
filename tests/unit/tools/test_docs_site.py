# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation site is put together from, and whether the messages that it explains are those of the product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

docs_site = pytest.importorskip("docs_site")

ROOT = Path(__file__).resolve().parents[3]
MESSAGES = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
SOURCES = " ".join(
    re.sub(r'["\']\s*\n\s*f?["\']|\s*\n\s*', " ", path.read_text())
    for folder in ("plugins", "roles")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yml", ".j2")
).replace("  ", " ")


@pytest.mark.parametrize(
    ("written", "on_the_site"),
    [
        pytest.param("[a](../plugins/modules/files.py)", "[a](reference/files_module.rst)", id="module"),
        pytest.param("[a](../roles/tls/README.md)", "[a](reference/tls_role.rst)", id="role"),
        pytest.param("[a](../playbooks/tune.yml)", "[a](playbooks.md#slm-copilot-tune)", id="playbook"),
        pytest.param("[a](../SECURITY.md)", "[a](SECURITY.md)", id="page at the root"),
        pytest.param("[a](docs/security.md#x)", "[a](security.md#x)", id="from the root"),
        pytest.param("[a](models.md)", "[a](models.md)", id="page of docs"),
    ],
)
def test_links_lead_to_pages_of_the_site(written, on_the_site):
    assert docs_site.page(f"See {written}.") == f"See {on_the_site}."


def test_a_playbook_is_described_by_the_comment_at_its_head():
    text = "---\n# Does it: see docs/tuning.md.\n#   ansible-playbook do     all of it\n# And ends.\n- hosts: all\n# no more\n"
    assert docs_site.playbook("do", text).splitlines() == [
        "## slm.copilot.do",
        "",
        "Does it: see [tuning](tuning.md).",
        "```console",
        "# all of it",
        "ansible-playbook do",
        "```",
        "And ends.",
    ]


def test_a_playbook_without_a_description_is_refused():
    with pytest.raises(ValueError, match=r"playbooks/do\.yml has no comment"):
        docs_site.playbook("do", "---\n- hosts: all\n")


def test_every_playbook_is_described():
    sources = {path.stem: path.read_text() for path in (ROOT / "playbooks").glob("*.yml")}
    assert docs_site.playbooks(sources).count("\n## slm.copilot.") == len(sources)


@pytest.mark.parametrize("message", MESSAGES)
def test_an_explained_message_is_one_of_ours(message):
    assert message in SOURCES
