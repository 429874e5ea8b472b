# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import itertools
import re

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access import keys as _api_keys
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import (
    HEADER,
    KeyRequest,
    keys_that_differ,
    with_keys_in_use,
)
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

ALICE = "sk-alice-alice-alice"
BOB = "sk-bob-bob-bob-bob-bob"
SECRET = "sk-must-not-be-shown"


def request(name, state="present", value=None):
    return KeyRequest(name, state, value)


def generator():
    numbers = itertools.count(1)
    return lambda: f"generated-key-{next(numbers):04}"


def test_generated_key_has_256_bits_in_url_safe_letters():
    keys = {_api_keys.generate_key() for _number in range(50)}
    assert len(keys) == 50
    for key in keys:
        assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", key)  # 43 letters of 6 bits
        assert _api_keys.key_fault(key) is None


@pytest.mark.parametrize(
    ("existing", "requests", "exclusive", "keys", "changes"),
    [
        pytest.param({}, [request("alice")], False, {"alice": "generated-key-0001"}, {"alice": "added"}, id="first"),
        pytest.param({"alice": ALICE}, [request("alice")], False, {"alice": ALICE}, {}, id="present_stays"),
        pytest.param({"alice": ALICE}, [request("alice", value=ALICE)], False, {"alice": ALICE}, {}, id="same_value"),
        pytest.param(
            {"alice": ALICE},
            [request("alice", value=BOB)],
            False,
            {"alice": BOB},
            {"alice": "replaced"},
            id="new_value",
        ),
        pytest.param({}, [request("bob", value=BOB)], False, {"bob": BOB}, {"bob": "added"}, id="given"),
        pytest.param(
            {"alice": ALICE, "bob": BOB},
            [request("alice", "rotated")],
            False,
            {"alice": "generated-key-0001", "bob": BOB},
            {"alice": "rotated"},
            id="rotated_keeps_place",
        ),
        pytest.param(
            {},
            [request("new", "rotated")],
            False,
            {"new": "generated-key-0001"},
            {"new": "added"},
            id="rotated_unknown",
        ),
        pytest.param(
            {"alice": ALICE, "bob": BOB},
            [request("alice", "absent")],
            False,
            {"bob": BOB},
            {"alice": "removed"},
            id="absent",
        ),
        pytest.param({"bob": BOB}, [request("alice", "absent")], False, {"bob": BOB}, {}, id="absent_already"),
        pytest.param({}, [request("alice", "absent")], True, {}, {}, id="absent_without_file"),
        pytest.param({}, [], True, {}, {}, id="nothing_wanted"),
        pytest.param({"alice": ALICE, "bob": BOB}, [request("bob")], True, {"bob": BOB}, {"alice": "removed"}, id="exclusive"),
        pytest.param(
            {"alice": ALICE},
            [request("bob", value=ALICE)],
            True,
            {"bob": ALICE},
            {"alice": "removed", "bob": "added"},
            id="key_moves_to_another_name",
        ),
    ],
)
def test_plan(existing, requests, exclusive, keys, changes):
    plan = _api_keys.plan_keys(existing, requests, exclusive, generator())
    assert plan.keys == keys
    assert list(plan.keys) == list(keys)
    assert plan.changes == changes


@pytest.mark.parametrize(
    ("existing", "requests", "exclusive", "text"),
    [
        pytest.param({}, [request("alice"), request("alice")], False, "'alice' is listed twice", id="name_twice"),
        pytest.param({}, [request("two words")], False, "the name of entry 1 must be 1 to 64", id="name_with_space"),
        pytest.param({}, [request("a"), request("b\nc")], False, "name of entry 2", id="name_with_line_break"),
        pytest.param({}, [request("alice", value="sk-short")], False, "has 8 characters, and must have 16", id="short"),
        pytest.param({}, [request("alice", value="k" * 513)], False, "has 513 characters", id="long"),
        pytest.param({}, [request("alice", value="")], False, "has 0 characters", id="empty_value"),
        pytest.param({}, [request("alice", value=SECRET + " x")], False, "has a space", id="value_with_space"),
        pytest.param({}, [request("alice", value=SECRET + "\n")], False, "control character", id="value_with_line_break"),
        pytest.param({}, [request("alice", value=SECRET + "\xe9")], False, "outside ASCII", id="value_with_accent"),
        pytest.param({}, [request("alice", value="#" + SECRET)], False, "starts with '#'", id="value_as_comment"),
        pytest.param(
            {}, [request("alice", "rotated", SECRET)], False, "a value goes with state=present only", id="rotated_value"
        ),
        pytest.param({}, [request("alice", "absent", SECRET)], False, "'alice' has a value and", id="absent_value"),
        pytest.param(
            {"alice": SECRET},
            [request("bob", value=SECRET)],
            False,
            "'alice' and 'bob' have the same value",
            id="shared",
        ),
        pytest.param({"alice": SECRET}, [request("alice", "absent")], False, "remove the last key", id="last_key"),
        pytest.param({"alice": SECRET}, [], True, "nobody could authenticate any more", id="exclusive_empty"),
    ],
)
def test_plan_refuses(existing, requests, exclusive, text):
    with pytest.raises(CopilotError, match=re.escape(text)) as caught:
        _api_keys.plan_keys(existing, requests, exclusive)
    assert SECRET not in str(caught.value)


def test_rendered_file_is_read_back_and_llama_server_sees_only_the_keys():
    keys = {"shared": ALICE, "alice@example.org": BOB}
    content = _api_keys.render_key_file(keys)
    assert list(_api_keys.parse_key_file(content).items()) == list(keys.items())
    assert [line for line in content.decode().splitlines() if not line.startswith("#")] == [ALICE, BOB]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"", "its first line is not", id="empty"),
        pytest.param(f"{SECRET}\n".encode(), "its first line is not", id="plain_keys"),
        pytest.param(f"{HEADER}\n{SECRET}\n".encode(), "line 2 is not '# name: '", id="key_without_name"),
        pytest.param(f"{HEADER}\n# name: {SECRET} x\n".encode(), "line 2 is not '# name: '", id="bad_name"),
        pytest.param(f"{HEADER}\n# name: alice\n".encode(), "'alice' in the last line has no key", id="name_without_key"),
        pytest.param(f"{HEADER}\n# name: a\n{SECRET} x\n".encode(), "the key of 'a' in line 3 has a space", id="bad_key"),
        pytest.param(f"{HEADER}\n# name: a\n# name: b\n".encode(), "the key of 'a' in line 3 has 9", id="key_lost"),
        pytest.param(
            f"{HEADER}\n# name: a\n{SECRET}\n# name: a\n{SECRET}\n".encode(),
            "has the name 'a' a second",
            id="name_twice",
        ),
        pytest.param(f"{HEADER}\n\n".encode(), "line 2 is not", id="blank_line"),
        pytest.param(f"{HEADER}\n# name: a\n{SECRET}\xff".encode("latin-1"), "it is not ASCII text", id="binary"),
    ],
)
def test_parse_refuses_without_showing_content(content, text):
    with pytest.raises(CopilotError, match=re.escape(text)) as caught:
        _api_keys.parse_key_file(content)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ is ("ASCII" in text)


def test_diff_has_names_and_states_only():
    existing = {"alice": ALICE, "bob": BOB, "carol": SECRET}
    requests = [request("alice", "rotated"), request("bob"), request("dave"), request("carol", "absent")]
    plan = _api_keys.plan_keys(existing, requests)
    assert _api_keys.diff_lines(existing, plan) == ("alice\nbob\ncarol\n", "alice (rotated)\nbob\ndave\n")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{ALICE}\n{BOB}\n", id="plain"),
        pytest.param(f"# mine\n\n{ALICE}\n", id="comment_and_blank_line"),
        pytest.param(_api_keys.render_key_file({"alice": ALICE, "bob": BOB}).decode(), id="ours"),
    ],
)
def test_first_key(content):
    assert _api_keys.first_key(content.encode()) == ALICE


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"# nothing\n", "it holds no key", id="only_comments"),
        pytest.param(f"{SECRET} \n".encode(), "its first key has a space", id="space"),
        pytest.param(b"\xff\xfe", "it is not ASCII text", id="utf16"),
        pytest.param(b"\xef\xbb\xbf" + HEADER.encode(), "it is not ASCII text", id="byte_order_mark"),
    ],
)
def test_first_key_refuses(content, text):
    with pytest.raises(CopilotError, match=text) as caught:
        _api_keys.first_key(content)
    assert SECRET not in str(caught.value)


def test_named_key():
    content = _api_keys.render_key_file({"alice": ALICE, "bob": BOB})
    assert _api_keys.named_key(content, "bob") == BOB
    with pytest.raises(CopilotError, match="no key named 'carol', only alice, bob"):
        _api_keys.named_key(content, "carol")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"# name: a\n{ALICE}\n# name: b\n{BOB}\n", ALICE, id="the first of several"),
        pytest.param("# only a comment\n", "it holds no key", id="none"),
        pytest.param("# only a comment\n", "keys cannot be used: ", id="the file is named"),
        pytest.param(None, "cannot be read: No such file", id="no file"),
    ],
)
def test_a_file_is_read_or_named_with_the_reason(tmp_path, text, expected):
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    try:
        found = _api_keys.read_key(str(path))
    except CopilotError as error:
        found = str(error)
    assert expected in found


IN_USE = [
    {"shared": "sk-of-madrid-0123456", "alice": "sk-of-alice-01234567"},
    {"shared": "sk-of-paris-01234567", "bob": "sk-of-bob-0123456789"},
]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param({"name": "shared", "value": None}, "sk-of-madrid-0123456", id="the first server's"),
        pytest.param({"name": "bob"}, "sk-of-bob-0123456789", id="only on the second"),
        pytest.param({"name": "alice", "key": "sk-given-by-operator"}, "sk-given-by-operator", id="one that is given stays"),
        pytest.param(
            {"name": "bob", "key": "", "expires": "2026-12-31"}, "sk-of-bob-0123456789", id="what else is said is left out"
        ),
        pytest.param({"name": "alice", "state": "absent"}, None, id="one that is withdrawn is not kept"),
        pytest.param({"name": "carol"}, None, id="a new developer"),
    ],
)
def test_developers_keep_the_keys_that_they_have(request_, expected):
    [taken] = with_keys_in_use([request_], IN_USE)
    assert taken == {"name": request_["name"], "state": request_.get("state", "present"), "value": expected}


def test_names_with_different_keys_are_told():
    assert keys_that_differ(IN_USE) == ["shared"]
    assert keys_that_differ(IN_USE[:1] * 2) == []
