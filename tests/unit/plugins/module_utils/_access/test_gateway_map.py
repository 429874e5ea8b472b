# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import re

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._access import gateway_map
from ansible_collections.slm.copilot.plugins.module_utils._access.gateway_map import Key, Pair, Worker
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
ALICE = {"name": "alice", "role": "admin", "sha256": A, "expires": 0}
BOB = {"name": "bob", "role": "developer", "sha256": B, "expires": 1798761599}
MAP = "/etc/slm-copilot/keys.map"
PAIRS: list[Pair] = [(A, "admin/alice/0"), (B, "developer/bob/1798761599")]


def test_keys_become_lines_and_lines_pairs() -> None:
    content = gateway_map.render(gateway_map.pairs_of(gateway_map.keys_of([BOB, ALICE, BOB])))
    assert content.decode().splitlines()[1:] == [
        f"{A} admin/alice/0",
        f"{B} developer/bob/1798761599",
        "certificate/alice admin/alice/0",
    ]
    assert content.startswith(b"#"), "HAProxy takes no notice of the first line"
    assert gateway_map.parse(content) == [*PAIRS, ("certificate/alice", "admin/alice/0")]


def test_an_administrator_is_one_by_certificate_for_as_long_as_by_any_key() -> None:
    def found(*keys: Key) -> list[Pair]:
        return [pair for pair in gateway_map.pairs_of(keys) if pair[0].startswith("certificate/")]

    soon, later, never = (Key("al@ice", "admin", sha256, end) for sha256, end in ((A, 5), (B, 9), (C, 0)))
    assert found(later, soon) == [("certificate/al%40ice", "admin/al@ice/9")]
    assert found(never, later, soon) == [("certificate/al%40ice", "admin/al@ice/0")]
    assert found(Key("bob", "developer", A), Key("lb", "balancer", B)) == []


def test_a_file_of_somebody_else_is_read_as_well() -> None:
    assert gateway_map.parse(b"\xff x\n\n # a comment\n  key\tvalue \nlone\n") == [
        ("\ufffd", "x"),
        ("key\tvalue", ""),
        ("lone", ""),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"name": "a/b"}, r"gateway_keys\[1\]: the name is a text that HAProxy cannot", id="slash"),
        pytest.param({"name": "a\nb"}, "the name is", id="line-end"),
        pytest.param({"name": "a" * 65}, "the name is", id="long"),
        pytest.param({"name": 7}, "the name is a number", id="number"),
        pytest.param({"name": None}, "the name is null", id="no-name"),
        pytest.param({"role": "root"}, r"gateway_keys\[1\] \(alice\): the role is not known: choose one of developer", id="role"),
        pytest.param({"sha256": A[1:]}, "sha256 is no SHA-256", id="short"),
        pytest.param({"sha256": A.upper()}, "sha256 is no SHA-256", id="upper-case"),
        pytest.param({"sha256": 1}, "sha256 is no SHA-256", id="no-text"),
        pytest.param({"expires": -1}, "expires is no time", id="negative"),
        pytest.param({"expires": True}, "expires is no time", id="boolean"),
        pytest.param({"expires": "2026-12-31"}, "expires is no time", id="date"),
        pytest.param({"sha256": B}, r"gateway_keys\[2\] \(bob\): gateway_keys\[1\] \(alice\) has the same key", id="shared"),
        pytest.param({"sha256": B, "name": "bob"}, "has the same key", id="two-ends"),
    ],
)
def test_what_cannot_be_a_key_is_refused(change: dict[str, object], expected: str) -> None:
    with pytest.raises(CopilotError, match=expected) as refused:
        gateway_map.keys_of([{**ALICE, **change}, BOB])
    assert not re.search("[0-9a-f]{20}", str(refused.value).lower())


def test_a_number_may_be_a_text() -> None:
    assert gateway_map.keys_of([{**BOB, "expires": "5"}]) == [Key("bob", "developer", B, 5)]
    assert gateway_map.keys_of([{key: value for key, value in BOB.items() if key != "expires"}])[0].expires == 0


@pytest.mark.parametrize(
    ("pairs", "before", "expected"),
    [
        pytest.param(PAIRS, [], "alice admin\nbob developer until 2026-12-31 23:59:59 UTC\n", id="all-new"),
        pytest.param(PAIRS, PAIRS, "alice admin\nbob developer until 2026-12-31 23:59:59 UTC\n", id="same"),
        pytest.param([(C, "admin/alice/0")], PAIRS, "alice admin (a new key)\n", id="another-key"),
        pytest.param([(A, "admin"), (B, "a/b/c")], [], "(not ours)\n(not ours)\n", id="strange"),
        pytest.param([(A, "admin/a/999999999999999")], [], "a admin until 999999999999999 s since 1970\n", id="far"),
        pytest.param([], PAIRS, "", id="none"),
    ],
)
def test_people_see_names_and_no_hashes(pairs: list[Pair], before: list[Pair], expected: str) -> None:
    assert gateway_map.described(pairs, before) == expected


PROCESSES = """#<PID>          <type>          <reloads>       <uptime>        <version>
300             master          2 [failed: 0]   0d00h00m07s     3.0.11-1
# workers
302             worker          0               0d00h00m02s     3.0.11-1
# old workers
301             worker          1               0d00h00m07s     3.0.11-1
# programs
"""


def test_old_workers_are_workers() -> None:
    assert gateway_map.workers_of(PROCESSES) == [302, 301]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(f"0x55 {B} developer/bob/1798761599\n0x56 {A} admin/alice/0\n\n", PAIRS, id="two"),
        pytest.param("", [], id="empty"),
        pytest.param("Unknown map identifier. Please use #<id> or <file>.", None, id="other-configuration"),
    ],
)
def test_what_a_worker_shows(answer: str, expected: list[Pair] | None) -> None:
    assert gateway_map.shown(answer) == expected


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        pytest.param("\nmaster> ", "", id="nothing"),
        pytest.param("master> ", "", id="first-prompt"),
        pytest.param("New version created: 3\n\nmaster> ", "New version created: 3", id="text"),
        pytest.param("+ + + \nmaster> ", "", id="lines-were-taken"),
        pytest.param("+ + no\n\nmaster[ReloadFailed]> ", "no", id="after-a-failed-reload"),
        pytest.param("0x55 a b\n0x5", None, id="half"),
    ],
)
def test_a_prompt_ends_an_answer(received: str, expected: str | None) -> None:
    assert gateway_map.answer_in(received) == expected


class HAProxy:
    """Workers with maps, and what each refuses."""

    def __init__(self, **maps: list[Pair] | None) -> None:
        self.maps = {int(pid.lstrip("p")): pairs for pid, pairs in maps.items()}
        self.new: dict[int, list[Pair]] = {}
        self.refuses = self.forgets = self.ends_at = ""
        self.asked: list[str] = []

    def ask(self, command: str) -> str:
        self.asked.append(command)
        if command == "show proc":
            return "".join(f"{pid}   worker   0\n" for pid in self.maps)
        who, *words = command.split("\n", maxsplit=1)[0].split(" ")
        pid = int(who.removeprefix("@!"))
        if words[0] == self.ends_at:
            del self.maps[pid]
        if pid not in self.maps:
            return f"Can't find the target PID matching the prefix '{who}'"
        if words[0] == self.refuses:
            return f"no: {A}"
        pairs = self.maps[pid]
        if words[0] == "show":
            return "Unknown map identifier." if pairs is None else "".join(f"0x1 {key} {entry}\n" for key, entry in pairs)
        if words[0] == "prepare":
            self.new[pid] = []
            return "New version created: 7"
        assert words[2] == "@7"
        if words[0] == "add":
            assert words[4:] == ["<<"]
            assert command.endswith("\n"), "an empty line ends what is added"
            self.new[pid] += [(line.split(" ")[0], line.split(" ")[1]) for line in command.split("\n")[1:-1]]
        elif self.forgets != words[0]:
            self.maps[pid] = self.new[pid]
        return ""


def test_every_worker_that_lacks_keys_gets_them_at_once() -> None:
    many: list[Pair] = [(f"{number:064x}", f"developer/d{number}/0") for number in range(120)]
    haproxy = HAProxy(p1=many, p2=PAIRS, p3=None, p4=[])
    workers = gateway_map.settle(haproxy.ask, MAP, many, True)
    assert workers == [Worker(1, many), Worker(2, PAIRS), Worker(3, None), Worker(4, [])]
    assert haproxy.maps == {1: many, 2: many, 3: None, 4: many}
    added = [command for command in haproxy.asked if command.startswith("@!2 add")]
    assert len(added) == 3
    assert all(len(command) < 15000 for command in added), "HAProxy's buffer may be 16 KiB"
    assert [command for command in haproxy.asked if command.startswith("@!1")] == [f"@!1 show map {MAP}"]


def test_to_look_changes_nothing() -> None:
    haproxy = HAProxy(p1=[])
    assert gateway_map.settle(haproxy.ask, MAP, PAIRS, False) == [Worker(1, [])]
    assert haproxy.maps == {1: []}


@pytest.mark.parametrize("step", ["show", "prepare", "add", "commit"])
def test_a_worker_that_ends_meanwhile_needs_no_keys(step: str) -> None:
    haproxy = HAProxy(p1=[])
    haproxy.ends_at = step
    assert gateway_map.settle(haproxy.ask, MAP, PAIRS, True) == []


@pytest.mark.parametrize(
    ("refuses", "forgets", "expected"),
    [
        pytest.param("show", "", "answer is not a map", id="shows-nonsense"),
        pytest.param("prepare", "", "did not start a new version", id="no-version"),
        pytest.param("add", "", "process 1 of HAProxy refused the keys: no: …", id="no-addition"),
        pytest.param("commit", "", "process 1 of HAProxy refused", id="no-commit"),
        pytest.param("", "commit", "process 1 of HAProxy has 0 keys instead of 2", id="forgets"),
    ],
)
def test_a_worker_that_does_not_take_them_is_named(refuses: str, forgets: str, expected: str) -> None:
    haproxy = HAProxy(p1=[])
    haproxy.refuses, haproxy.forgets = refuses, forgets
    with pytest.raises(CopilotError, match=expected) as told:
        gateway_map.settle(haproxy.ask, MAP, PAIRS, True)
    assert A not in str(told.value)
