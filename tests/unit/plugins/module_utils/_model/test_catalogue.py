# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The form of a catalogue, and the one that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.slm.copilot.plugins.filter.models import FilterModule
from ansible_collections.slm.copilot.plugins.module_utils._model.catalogue import FIELDS, catalogue_problems
from ansible_collections.slm.copilot.plugins.plugin_utils._settings import value_problems

SPECS = Path(__file__).resolve().parents[5] / "roles/copilot/meta/argument_specs.yml"
HUB = {"repo": "acme/coder-GGUF", "file": "coder-Q4_K_M.gguf"}
WHOLE = {
    **HUB,
    "revision": "main",
    "sha256": "0" * 64,
    "size_gb": 8.1,
    "ram_gb": 10,
    "licence": "Apache-2.0",
    "context_length": 65536,
    "strengths": "our own code",
    "caveat": "slow",
    "tools": False,
    "verified": True,
}


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(HUB, id="hub"),
        pytest.param(WHOLE, id="every_field"),
        pytest.param({"url": "https://example.org/coder.gguf"}, id="address"),
        pytest.param({"src": "../models/coder.gguf"}, id="file_on_the_controller"),
        pytest.param({**HUB, "file": "Q4_K_M/coder.gguf"}, id="file_in_a_folder"),
        pytest.param({**HUB, "revision": "refs/pr/3"}, id="pull_request"),
    ],
)
def test_good_entries(entry):
    assert catalogue_problems({"our-coder": entry}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            {"repo": "coder"}, ".repo: it is a text of 5 characters; give the repository on the hub as owner/name.", id="repo"
        ),
        pytest.param(
            {"file": "coder.bin"}, ".file: it is a text of 9 characters; give the name of a .gguf file", id="other_format"
        ),
        pytest.param({"file": "../coder.gguf"}, ".file: it is a text of 13 characters", id="way_out_of_the_repository"),
        pytest.param({"revision": 12345678}, ".revision: it is a number; give a commit id, a tag or a branch", id="revision"),
        pytest.param({"sha256": "abc"}, ".sha256: it is a text of 3 characters; give the 64 hexadecimal digits", id="checksum"),
        pytest.param({"size_gb": "8 GB"}, ".size_gb: it is a text of 4 characters; give the size of the file in GB", id="size"),
        pytest.param({"ram_gb": 0}, ".ram_gb: it is a number; give the memory in GB", id="memory"),
        pytest.param({"licence": ""}, ".licence: it is a text of 0 characters; give the name of the licence", id="licence"),
        pytest.param({"context_length": 1.5}, ".context_length: it is a number; give a whole number", id="context"),
        pytest.param({"context_length": True}, ".context_length: it is a boolean; give a whole number", id="boolean"),
        pytest.param({"strengths": ["code"]}, ".strengths: it is a list; say what the model is good at", id="strengths"),
        pytest.param({"file": "x-00001-of-00003.gguf"}, ".file: it is part 1 of 3 of a model", id="part of a model"),
        pytest.param({"tools": "no"}, ".tools: it is a text of 2 characters; give false for a model whose", id="tools"),
        pytest.param({"caveat": None}, ".caveat: it is null; say what to know before", id="caveat"),
        pytest.param({"verified": "yes"}, ".verified: it is a text of 3 characters; give true or false.", id="verified"),
        pytest.param({"license": "MIT"}, ".license: there is no such field; did you mean licence?", id="misspelt"),
        pytest.param({"x": 1}, ".x: there is no such field; known are repo, file, revision, url, src,", id="unknown"),
    ],
)
def test_a_problem_names_entry_and_field(change, expected):
    (problem,) = catalogue_problems({"our-coder": {**HUB, **change}})
    assert problem.startswith("copilot_catalogue[our-coder]" + expected)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param({}, "none of these", id="nothing"),
        pytest.param({"repo": "a/b"}, "repo", id="repository_alone"),
        pytest.param({"file": "b.gguf"}, "file", id="file_alone"),
        pytest.param({**HUB, "url": "https://example.org/b.gguf"}, "repo, file, url", id="two_places"),
    ],
)
def test_where_it_comes_from_must_be_clear(entry, said):
    expected = f"copilot_catalogue[m]: where it comes from must be clear, and it has {said}: give repo and file, or url, or src."
    assert catalogue_problems({"m": entry}) == [expected]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"draft_model": "small"}, ""),
        ({"draft_model": "small", "speculation": "draft-simple"}, ""),
        ({"speculation": "off"}, ""),
        ({"speculation": "draft-mtp"}, ""),
        ({"speculation": "auto"}, 'm].speculation: it is a text of 4 characters; give "off", or the methods that suit the model'),
        ({"speculation": "draft-simple"}, "m].speculation: draft-simple needs a draft_model"),
        ({"draft_model": 3}, "m].draft_model: it is a number; give the id of another model"),
    ],
)
def test_how_a_model_guesses(fields, problem):
    problems = catalogue_problems({"m": {**HUB, **fields}})
    assert problem in problems[0] if problem else problems == []


def test_verified_needs_a_checksum():
    (problem,) = catalogue_problems({"m": {**HUB, "verified": True}})
    assert (
        problem
        == "copilot_catalogue[m].verified: it is true, and there is no sha256 that says of which bytes; give it, or false."
    )


@pytest.mark.parametrize(
    ("catalogue", "expected"),
    [
        pytest.param([], "copilot_catalogue is a list: give a mapping of models by id", id="list"),
        pytest.param(
            {"m": "a/b"}, "copilot_catalogue[m] is a text: give a mapping with fields such as repo and file.", id="text"
        ),
        pytest.param({"my model": HUB}, "copilot_catalogue[my model]: the id of a model is made of letters", id="space"),
        pytest.param({"": HUB}, "copilot_catalogue[]: the id of a model is made of letters", id="empty_id"),
    ],
)
def test_not_even_a_catalogue(catalogue, expected):
    (problem,) = catalogue_problems(catalogue)
    assert problem.startswith(expected)


def test_all_problems_are_found_at_once():
    problems = catalogue_problems({"a": {**HUB, "sha256": "x", "size_gb": "y"}, "b": {}})
    assert [problem.split(":", maxsplit=1)[0] for problem in problems] == [
        "copilot_catalogue[a].sha256",
        "copilot_catalogue[a].size_gb",
        "copilot_catalogue[b]",
    ]


def test_the_filter_says_the_same_under_another_name():
    problems = FilterModule().filters()["catalogue_problems"]
    assert problems({"m": {}}, "model_fetch_catalogue")[0].startswith("model_fetch_catalogue[m]: ")


def test_the_check_of_the_variables_covers_the_catalogue():
    problems = value_problems({"copilot_catalogue": {"m": {**HUB, "sha256": "abc"}}})
    assert any(problem.startswith("copilot_catalogue[m].sha256: ") for problem in problems)


def test_the_documentation_of_the_setting_names_every_field():
    options = yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"]
    described = " ".join(options["copilot_catalogue"]["description"])
    assert [field for field in FIELDS if f"C({field})" not in described] == []
