# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of the documentation site, which tools/docs_site.py builds."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

project = "slm.copilot"
project_copyright = "2026, The slm.copilot maintainers"
html_title = "slm.copilot"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 3  # links to headings, as on a git host
highlight_language = "YAML+Jinja"
pygments_style = "ansible"

html_theme = "alabaster"
html_theme_options = {
    "description": "A private AI coding copilot on ordinary VMs",
    "fixed_sidebar": True,
    "page_width": "75em",
    "sidebar_width": "16em",
    "body_max_width": "none",
    "show_powered_by": False,
}
html_static_path: list[str] = []
html_copy_source = False
html_show_sourcelink = False

# Pages of Ansible's own documentation that the reference names, so that no inventory of it need be fetched.
ANSIBLE = "https://docs.ansible.com/ansible/latest"
ANSIBLE_PAGES = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
OTHERS_PLUGIN = re.compile(r"ansible_collections\.(ansible|community)\.(\w+)\.(\w+)")


def ansible_page(_app: Sphinx, _env: object, reference: nodes.Element, content: nodes.TextElement) -> nodes.reference | None:
    """A link to Ansible's documentation, for a label that it has. Sphinx warns of every other one that we lack."""
    label = reference["reftarget"]
    page = ANSIBLE_PAGES.get(label)
    if plugin := OTHERS_PLUGIN.fullmatch(label):
        page = f"collections/{plugin[1]}/{plugin[2]}/{plugin[3]}.html"
    return nodes.reference("", "", content, internal=False, refuri=f"{ANSIBLE}/{page}") if page else None


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", ansible_page)
