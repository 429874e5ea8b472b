# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The format of a model catalogue, the collection's own and an operator's, and the errors in one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import kind_of
from ansible_collections.slm.copilot.plugins.module_utils._common.names import MODEL_ID
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import shown_url, url_fault
from ansible_collections.slm.copilot.plugins.module_utils._model.gguf import part_fault
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import AUTO, DRAFT_MODEL, speculation_problems
from ansible_collections.slm.copilot.plugins.module_utils._model.sizes import sizes_problem

SOURCES = {"repo": ("repo", "file"), "url": ("url",), "src": ("src",)}  # fields that specify the source of a model


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _address(value: Any) -> bool:
    return isinstance(value, str) and url_fault(value) is None and len(urlsplit(value).path) > 1


# Field -> (what it must be, how that is said).
FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "repo": (_matches(r"[\w.-]+/[\w.-]+"), "give the repository on the hub as owner/name"),
    "file": (_matches(r"(?!/)(?!.*\.\.)[^\s]+\.gguf"), "give the name of a .gguf file in the repository"),
    "revision": (_matches(r"[\w./-]+"), "give a commit id, a tag or a branch, in quotes"),
    "url": (_address, "give an address that begins with https:// or http://"),
    "src": (_text, "give the path of a file on the controller"),
    "sha256": (_matches(r"[0-9a-fA-F]{64}"), "give the 64 hexadecimal digits of the file's checksum, in quotes"),
    "size_gb": (_number, "give the size of the file in GB (10^9 bytes), a number"),
    "ram_gb": (_number, "give the memory in GB that a server with a short context takes, a number"),
    "licence": (_text, "give the name of the licence, a text"),
    "context_length": (lambda value: _number(value) and isinstance(value, int), "give a whole number of tokens"),
    "fim_only": (lambda value: isinstance(value, bool), "give true for a model that completes what is typed and does not chat"),
    "tools": (lambda value: isinstance(value, bool), "give false for a model whose chat template shows it no tools"),
    "strengths": (_text, "say what the model is good at, a text"),
    "caveat": (_text, "say what to know before choosing it, such as of its chat template, a text"),
    "sizes": (lambda value: not sizes_problem(value), ""),  # it returns its own message
    "speculation": (
        lambda value: value != AUTO and not speculation_problems("", value),
        'give "off", or the methods that suit the model, such as "ngram-mod,draft-mtp", in quotes',
    ),
    "draft_model": (_text, "give the id of another model in the catalogue, a small one with the same tokenizer"),
    "verified": (lambda value: isinstance(value, bool), "give true or false"),
}


def _source_problem(entry: Mapping[str, Any]) -> str:
    given = [fields for name, fields in SOURCES.items() if any(field in entry for field in fields)]
    if len(given) == 1 and all(field in entry for field in given[0]):
        return ""
    said = ", ".join(field for fields in SOURCES.values() for field in fields if field in entry) or "none of these"
    return f"where it comes from must be clear, and it has {said}: give repo and file, or url, or src"


def _field_problem(field: str, value: Any) -> str:
    if field not in FIELDS:
        near = difflib.get_close_matches(str(field), FIELDS, n=1)
        return f"there is no such field; {'did you mean ' + near[0] + '?' if near else 'known are ' + ', '.join(FIELDS)}"
    if field in ("file", "url", "src") and isinstance(value, str) and (fault := part_fault(shown_url(value))):
        return fault
    if field == "sizes":
        return sizes_problem(value)
    good, advice = FIELDS[field]
    if good(value):
        return ""
    shape = f"a text of {len(value)} characters" if isinstance(value, str) else kind_of(value)
    return f"it is {shape}; {advice}"


def catalogue_problems(catalogue: Any, name: str = "copilot_catalogue") -> list[str]:
    """Returns a problem for each entry and field that cannot work, each of which it names.

    :param catalogue: entries by model id.
    :param name: what the variable is called.
    """
    if not isinstance(catalogue, Mapping):
        return [f"{name} is {kind_of(catalogue)}: give a mapping of models by id, such as {{own: {{src: /own.gguf}}}}."]
    problems = []
    for model, entry in catalogue.items():
        where = f"{name}[{model}]"
        if not isinstance(model, str) or not MODEL_ID.fullmatch(model):
            problems.append(f"{where}: the id of a model is made of letters, digits, dots, dashes and underscores.")
        if not isinstance(entry, Mapping):
            problems.append(f"{where} is {kind_of(entry)}: give a mapping with fields such as repo and file.")
            continue
        source = _source_problem(entry)
        if source:
            problems.append(f"{where}: {source}.")
        for field, value in entry.items():
            problem = _field_problem(field, value)
            if problem:
                problems.append(f"{where}.{field}: {problem}{'' if problem.endswith('?') else '.'}")
        if DRAFT_MODEL in str(entry.get("speculation", "")) and "draft_model" not in entry:
            problems.append(
                f"{where}.speculation: {DRAFT_MODEL} needs a draft_model, the id of a small model with the same tokenizer."
            )
        if entry.get("verified") is True and "sha256" not in entry:
            problems.append(f"{where}.verified: it is true, and there is no sha256 that says of which bytes; give it, or false.")
    return problems
