# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of endpoints as JUnit XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ansible_collections.slm.copilot.plugins.plugin_utils._reports.tables import Results, checks_summary


def _xml_text(text: str) -> str:
    """``text`` without the characters that XML 1.0 has no way to write."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def checks_junit(results: Results) -> str:
    """The same as JUnit XML, a test suite for each endpoint."""
    root = ElementTree.Element("testsuites", name="slm.copilot.validate")
    for entry in checks_summary(results):
        label = _xml_text(entry["name"])
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=label,
            tests=str(len(entry["checks"])),
            failures=str(entry["failed_count"]),
            errors="0",
            skipped=str(sum(1 for check in entry["checks"] if check["skipped"])),
            time=f"{sum(check['seconds'] for check in entry['checks']):.3f}",
        )
        for check in entry["checks"]:
            case = ElementTree.SubElement(
                suite, "testcase", classname=label, name=_xml_text(check["title"]), time=f"{check['seconds']:.3f}"
            )
            detail = _xml_text(check["detail"])
            if check["skipped"]:
                ElementTree.SubElement(case, "skipped", message=detail)
            elif not check["ok"]:
                ElementTree.SubElement(case, "failure", message=detail)
            else:
                ElementTree.SubElement(case, "system-out").text = detail
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
