# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import itertools
import json
import random
from dataclasses import fields, replace

import pytest
from agent_histories import HISTORIES, READ, assistant, body, call, parts, result, system, user
from copilot_router.histories import (
    NOT_RUN,
    HistoryProblem,
    Needs,
    finished_object,
    kind_of_arguments,
    needs_of,
    probes,
    rewrite,
)

# As needs_of finds them for the templates of these families; the contract tests do that with the engine.
MISTRAL_2512 = Needs(
    merge_systems=True,
    late_system_as_user=True,
    user_first=True,
    merge_users=True,
    merge_assistants=True,
    answer_results=True,
    known_roles=True,
    close_calls=True,
    gather_results=True,
    order_results=True,
    arguments=frozenset({"broken", "empty"}),
)
MISTRAL_NEMO = replace(MISTRAL_2512, system_as_user=True, user_needed=True, order_results=False, short_ids=True)
GEMMA_2 = Needs(
    merge_systems=True,
    late_system_as_user=True,
    user_first=True,
    user_needed=True,
    merge_users=True,
    merge_assistants=True,
    quote_calls=True,
    tools=False,
)
GPT_OSS = Needs(
    merge_systems=True,
    late_system_as_user=True,
    known_roles=True,
    single_calls=True,
    results_need_calls=True,
    arguments=frozenset({"broken", "empty"}),
)
QWEN_3_CODER = Needs(order_results=True, arguments=frozenset({"broken", "empty", "other"}))
FAMILIES = {"2512": MISTRAL_2512, "nemo": MISTRAL_NEMO, "gemma": GEMMA_2, "gpt-oss": GPT_OSS, "qwen": QWEN_3_CODER}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL_9, RESULT_9 = "aaaaaaaa1", "aaaaaaaa2"


def after(messages, needs):
    """Returns the rewritten history and the codes."""
    rewritten = rewrite({"messages": messages}, needs)
    return rewritten.body["messages"], rewritten.done


class Refused(Exception):
    """What a template raises."""


def rendered(messages, needs):
    """A template with these needs: returns a prompt, or raises Refused where the real one raises or would lose something."""

    def check(condition, what):
        if not condition:
            raise Refused(what)

    check(messages, "nothing")
    last, calls, unanswered = "", [], []
    leading = next((index for index, one in enumerate(messages) if one["role"] not in ("system", "developer")), len(messages))
    prompt = ""
    for index, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        now = message.get("tool_calls") or [] if role == "assistant" else []
        if role in ("system", "developer"):
            check(not needs.system_as_user, "a system message")
            check(not (needs.merge_systems and 0 < index < leading), "two systems")
            check(not (needs.late_system_as_user and index > leading), "a late system")
        check(not (needs.user_first and last in ("", "system", "developer") and role in ("assistant", "tool")), "no user first")
        check(not (needs.merge_users and role == last == "user"), "two users")
        check(not (needs.merge_assistants and role == last == "assistant" and not calls), "two assistants")
        check(not (needs.answer_results and role == "user" and last == "tool"), "a user after a result")
        check(not (needs.drop_empty and role == "assistant" and not content and not now), "nothing said")
        check(not (needs.no_thoughts and message.get("reasoning_content")), "thoughts")
        check(not (needs.quote_calls and (now or role == "tool")), "tools")
        check(not (needs.single_calls and len(now) > 1), "two calls")
        if role == "tool":
            known = [one for one in calls if one.get("id") == message.get("tool_call_id")]
            check(known or not needs.results_need_calls, "a result without a call")
            check(last in ("assistant", "tool") or not (needs.gather_results and known), "a result elsewhere")
            check(not (needs.order_results and known and known[0] not in unanswered[:1] and known[0] in unanswered), "order")
            if known and known[0] in unanswered:
                unanswered.remove(known[0])
        else:
            check(not (needs.close_calls and unanswered), "an unfinished call")
            if role == "assistant":
                calls, unanswered = now, list(now)
        for one in (*now, *([{"id": message.get("tool_call_id")}] if role == "tool" else [])):
            check(not (needs.ids or needs.short_ids) or one.get("id"), "no id")
            check(not needs.short_ids or (str(one["id"]).isalnum() and len(one["id"]) == 9), "a long id")
            if "function" in one:
                check(kind_of_arguments(one["function"]["arguments"])[0] not in needs.arguments, "arguments")
        if isinstance(content, list):
            images = any(part["type"] != "text" for part in content)
            check(role not in needs.text_only or (role == "user" and images), "parts")
            content = "\n".join(part.get("text", "<image>") for part in content)
        prompt += f"<{role}>{content or ''}{json.dumps(now) if now else ''}"
        if index + 1 < len(messages):
            prompt += "<end>"
        last = role
    check(not (messages[-1].get("tool_calls") and last == "assistant"), "the engine cannot go on with a call")
    check(not (len(messages) > 1 and last == messages[-2]["role"] == "assistant"), "the engine goes on with one")
    check(not (needs.user_needed and "<user>" not in prompt), "no user")
    return prompt


# What becomes of a history


@pytest.mark.parametrize(
    ("name", "needs", "expected", "codes"),
    [
        pytest.param(
            "user-after-result",
            MISTRAL_2512,
            [*HISTORIES["user-after-result"][:4], assistant("Understood."), user("Thanks.")],
            ("answered-result",),
            id="user-after-result",
        ),
        pytest.param(
            "aborted-call",
            MISTRAL_2512,
            [*HISTORIES["aborted-call"][:3], result(text=NOT_RUN), assistant("Understood."), user("Stop that.")],
            ("closed-tool-call", "answered-result"),
            id="aborted-call",
        ),
        pytest.param(
            "call-at-the-end",
            QWEN_3_CODER,
            [*HISTORIES["call-at-the-end"], result(text=NOT_RUN)],
            ("closed-tool-call",),
            id="call-at-the-end-whatever-the-template",
        ),
        pytest.param(
            "users-in-a-row", MISTRAL_2512, [user("Look at the file.\n\nPlease.")], ("merged-users",), id="users-in-a-row"
        ),
        pytest.param(
            "two-systems", MISTRAL_2512, [system("Be brief.\n\nBe kind."), user()], ("merged-systems",), id="two-systems"
        ),
        pytest.param(
            "system-in-the-middle",
            MISTRAL_2512,
            [user(), assistant(), user("[system]\nBe kind.\n\nGo on.")],
            ("moved-system", "merged-users"),
            id="system-in-the-middle",
        ),
        pytest.param(
            "system",
            MISTRAL_NEMO,
            [user("Be brief.\n\nLook at the file.")],
            ("system-as-user", "merged-users"),
            id="no-system-role",
        ),
        pytest.param("assistant-first", MISTRAL_2512, [user(""), assistant(), user()], ("added-user",), id="assistant-first"),
        pytest.param("only-system", GEMMA_2, [system(), user("")], ("added-user",), id="only-system"),
        pytest.param(
            "assistants-in-a-row",
            MISTRAL_2512,
            [user(), assistant("I looked.\n\nIt is fine."), user("Go on.")],
            ("merged-assistants",),
            id="assistants-in-a-row",
        ),
        pytest.param("text-then-call", MISTRAL_2512, HISTORIES["text-with-call"], ("merged-assistants",), id="text-then-call"),
        pytest.param(
            "two-begun-answers",
            QWEN_3_CODER,
            [user(), assistant("I looked.\n\nIt is")],
            ("merged-assistants",),
            id="two-begun-answers-whatever-the-template",
        ),
        pytest.param(
            "empty-answer",
            replace(MISTRAL_2512, drop_empty=True),
            [user("Look at the file.\n\nGo on.")],
            ("dropped-empty", "merged-users"),
            id="empty-answer",
        ),
        pytest.param("no-content", Needs(), [user(), assistant(""), user("Go on.")], ("added-content",), id="no-content"),
        pytest.param(
            "results-in-another-order",
            QWEN_3_CODER,
            [*HISTORIES["results-in-another-order"][:2], result("call_1"), result("call_2", "43")],
            ("ordered-results",),
            id="results-in-another-order",
        ),
        pytest.param(
            "one-of-two-results",
            MISTRAL_2512,
            [
                *HISTORIES["one-of-two-results"][:2],
                result("call_1", NOT_RUN),
                result("call_2", "43"),
                assistant("Understood."),
                user("Go on."),
            ],
            ("closed-tool-call", "answered-result"),
            id="one-of-two-results",
        ),
        pytest.param(
            "results-in-another-order",
            GPT_OSS,
            [user(), assistant(None, call("call_1")), result("call_1"), assistant("", call("call_2")), result("call_2", "43")],
            ("split-calls",),
            id="one-call-at-a-time",
        ),
        pytest.param(
            "result-after-user",
            MISTRAL_2512,
            [user(), assistant(None, call()), result(), assistant("Understood."), user("Hurry."), assistant(), user("Go on.")],
            ("gathered-results", "answered-result"),
            id="result-after-user",
        ),
        pytest.param(
            "result-first", GPT_OSS, [user("[tool result]\n42"), assistant(), user()], ("result-as-user",), id="result-first"
        ),
        pytest.param(
            "two-results-of-one-call",
            GPT_OSS,
            [*HISTORIES["two-results-of-one-call"][:3], user("[tool result]\n43"), *HISTORIES["two-results-of-one-call"][4:]],
            ("result-as-user",),
            id="two-results-of-one-call",
        ),
        pytest.param(
            "tool-loop",
            GEMMA_2,
            [
                system(),
                user(),
                assistant('[called read with {"path": "a.py"}]'),
                user("[result of read]\n42"),
                assistant(),
                user("Thanks."),
            ],
            ("quoted-calls", "result-as-user"),
            id="no-tools",
        ),
        pytest.param(
            "parts",
            replace(MISTRAL_2512, text_only=frozenset({"system", "tool"}), developer_as_system=True),
            [system(), user(parts("Look", "at this.")), HISTORIES["parts"][2], result("call_a1", "4\n2")],
            ("joined-parts", "developer-as-system"),
            id="parts",
        ),
        *(
            pytest.param(
                name, QWEN_3_CODER, [user(), assistant(None, call(arguments=arguments)), *HISTORIES[name][2:]], (code,), id=name
            )
            for name, arguments, code in (
                ("unfinished-arguments", '{"path": "a."}', "repaired-arguments"),
                ("no-json-in-arguments", '{"arguments": "a.py"}', "quoted-arguments"),
                ("empty-arguments", "{}", "repaired-arguments"),
                ("list-in-arguments", '{"arguments": ["a.py"]}', "quoted-arguments"),
            )
        ),
    ],
)
def test_what_becomes_of_a_history(name, needs, expected, codes):
    assert after(HISTORIES[name], needs) == (expected, codes)


def everything(messages):
    """Returns all words that are said in a history, without marks and order."""
    return set(json.dumps(messages).replace("\\n", " ").replace('"', " ").replace("\\", " ").split())


def test_one_call_at_a_time_is_closed_where_it_was_not_run():
    calls = assistant("Both.", call("call_1"), call("call_2"))
    alone = [assistant("Both.", call("call_1")), result("call_1"), assistant("", call("call_2")), result("call_2", NOT_RUN)]
    assert after([user(), calls, result("call_1")], GPT_OSS) == ([user(), *alone], ("closed-tool-call", "split-calls"))


def test_nothing_is_merged_into_a_call():
    given = {"messages": [user(), assistant(None, call()), assistant(), user()]}
    assert rewrite(given, Needs(merge_assistants=True)).body is given


def test_an_answer_alone_follows_an_empty_question():
    assert after([system(), assistant("It is")], Needs()) == ([system(), user(""), assistant("It is")], ("added-user",))


@pytest.mark.parametrize("needs", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("name", HISTORIES)
def test_every_history_is_taken_and_nothing_is_lost(name, needs):
    given = body(HISTORIES[name])
    before = copy.deepcopy(given)
    rewritten = rewrite(given, needs)
    assert given == before, "what was given is not changed"
    rendered(rewritten.body["messages"], needs)
    for one in HISTORIES[name]:
        for text in (
            [one.get("content") or ""] if not isinstance(one.get("content"), list) else [x["text"] for x in one["content"]]
        ):
            assert text in json.dumps(rewritten.body["messages"]), "what was said is still said"
    assert {key: value for key, value in rewritten.body.items() if key != "messages"} == {
        key: value for key, value in given.items() if key != "messages"
    }
    again = rewrite(rewritten.body, needs)
    assert again.body is rewritten.body and not again.done, "a template that takes it gets it unchanged"


@pytest.mark.parametrize(
    "name", [name for name in HISTORIES if name not in ("call-at-the-end", "two-begun-answers", "no-content")]
)
def test_what_is_taken_is_the_same_object(name):
    given = body(HISTORIES[name])
    rewritten = rewrite(given, Needs())
    assert rewritten.body is given and rewritten.done == () and rewritten.ids == {}


# Contents


def test_images_and_their_order_are_kept():
    asked = [user("See"), user([{"type": "text", "text": "this"}, IMAGE]), user("and that"), user([IMAGE])]
    (whole,), _codes = after(asked, MISTRAL_2512)
    assert whole["content"] == [*parts("See", "\n\nthis"), IMAGE, *parts("and that"), IMAGE]


def test_an_image_in_a_result_is_shown_by_the_user():
    needs = Needs(text_only=frozenset({"tool"}), gather_results=True)
    calls = assistant(None, call("call_1"), call("call_2"))
    history = [user(), calls, result("call_1", [*parts("seen"), IMAGE]), result("call_2")]
    messages, codes = after(history, needs)
    assert messages == [user(), calls, result("call_1", "seen"), result("call_2"), user([IMAGE])]
    assert codes == ("joined-parts", "moved-image", "gathered-results")


def test_text_of_other_interfaces_is_text():
    history = [user([{"type": "input_text", "text": "a"}]), assistant([{"type": "refusal", "refusal": "b"}]), user("c")]
    assert after(history, Needs())[0] == [user(parts("a")), assistant(parts("b")), user("c")]


def test_thoughts_are_merged_too():
    history = [
        user(),
        assistant("a", reasoning_content="x", tool_calls=[]),
        assistant("b", call(), reasoning_content="y"),
        result(),
    ]
    (_user, whole, _result), _codes = after(history, MISTRAL_2512)
    assert whole == assistant("a\n\nb", call(), reasoning_content="x\n\ny")


def test_thoughts_are_left_out_where_they_hide_what_was_said():
    history = [user(), assistant("a", reasoning_content="x"), user()]
    assert after(history, Needs(no_thoughts=True)) == ([user(), assistant("a"), user()], ("dropped-thoughts",))


def test_a_call_gets_what_the_engine_asks_for():
    bare = {"id": "call_1", "function": {"name": "read"}}
    (_user, completed, _result), codes = after([user(), assistant(None, bare), result("call_1")], Needs())
    assert completed == assistant(None, call("call_1", "{}")) and codes == ("completed-call",)


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        pytest.param('{"path": "a.', '{"path": "a."}', id="in-a-string"),
        pytest.param('{"path": "a\\', '{"path": "a"}', id="in-an-escape"),
        pytest.param('{"path": "a\\\\', '{"path": "a\\\\"}', id="after-a-backslash"),
        pytest.param('{"path": "a\\u00e', '{"path": "a"}', id="in-a-code-point"),
        pytest.param('{"path": "a\\"', '{"path": "a\\""}', id="after-a-quote-in-a-string"),
        pytest.param('{"path": ["a", {"b": 1', '{"path": ["a", {"b": 1}]}', id="nested"),
        pytest.param('{"a": 1,', '{"a": 1}', id="after-a-comma"),
        pytest.param('{"a": 1, "b":', '{"a": 1, "b":null}', id="after-a-colon"),
        pytest.param('{"a": 1, "b', '{"a": 1, "b": null}', id="in-a-key"),
        pytest.param('{"a": tru', '{"a": null}', id="in-a-word"),
        pytest.param('{"a": 1.', '{"a": null}', id="in-a-number"),
        pytest.param("{", "{}", id="at-the-beginning"),
        pytest.param('{"a": 1}}', None, id="too-much"),
        pytest.param('["a', None, id="no-object"),
        pytest.param("a.py", None, id="no-json"),
        pytest.param('{"a": "\\ud800', None, id="half-a-character"),
        pytest.param("[" * 100_000, None, id="deep"),
    ],
)
def test_unfinished_json_is_finished(text, finished):
    assert finished_object(text) == finished


# Ids


def test_ids_are_mapped_to_nine_letters_and_digits_and_back():
    rewritten = rewrite(body(HISTORIES["tool-loop"]), MISTRAL_NEMO)
    call_id = next(one["tool_calls"][0]["id"] for one in rewritten.body["messages"] if "tool_calls" in one)
    assert len(call_id) == 9 and call_id.isalnum()
    assert [one["tool_call_id"] for one in rewritten.body["messages"] if one["role"] == "tool"] == [call_id]
    assert rewritten.client_id(call_id) == "call_abcdefghijkl"
    assert rewritten.client_id("another99") == "another99"
    assert rewrite(body(HISTORIES["tool-loop"]), MISTRAL_NEMO) == rewritten, "nothing is remembered, nothing is random"


def test_ids_of_nine_letters_and_digits_stay():
    given = {"messages": [user(), assistant(None, call(CALL_9)), result(CALL_9)]}
    assert rewrite(given, MISTRAL_NEMO).body is given


@pytest.mark.parametrize("known", [CALL_9, None], ids=["call-with-id", "call-without-id"])
def test_a_result_without_an_id_is_of_the_next_call(known):
    (_user, calling, *results), codes = after([user(), assistant(None, call(known), call(RESULT_9)), result(None)], MISTRAL_NEMO)
    assert [one["tool_call_id"] for one in results] == [one["id"] for one in calling["tool_calls"]]
    assert [one["content"] for one in results] == ["42", NOT_RUN]
    assert set(codes) == {"mapped-ids", "closed-tool-call"}


# Refusals


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        pytest.param(None, "messages must be a list", id="none"),
        pytest.param([], "at least one message", id="empty"),
        pytest.param(["hello"], r"messages\[0\] must be an object with a role: give it one of system,", id="no-object"),
        pytest.param([user(), {"content": "x"}], r"messages\[1\] must be an object with a role", id="no-role"),
        pytest.param(
            [user(), {"role": "critic", "content": "x"}], r"messages\[1\] has a role that this model does not know", id="role"
        ),
        pytest.param([user(7)], r"messages\[0\]\.content must be a string or a list of parts", id="content"),
        pytest.param([user(["text"])], r"messages\[0\]\.content must be a string or a list of parts", id="part"),
        pytest.param([user(), assistant("", {"id": "1"})], r"messages\[1\]\.tool_calls must be a list of calls", id="call"),
    ],
)
def test_what_cannot_be_made_right_is_refused_in_plain_words(messages, text):
    with pytest.raises(HistoryProblem, match=text) as refusal:
        rewrite({"messages": messages}, MISTRAL_2512)
    assert refusal.value.status == 400


def test_other_roles_are_left_to_a_template_that_knows_them():
    given = {"messages": [user(), {"role": "critic", "content": "x"}]}
    assert rewrite(given, Needs()).body is given


# Prompt caches


def growing(rng):
    """Returns a random history, message by message, as an agent that goes on or is interrupted makes it."""
    history, waiting = [], []
    for number in range(rng.randrange(1, 16)):
        text = f"text {number}"
        kind = rng.choice(
            ["system", "developer", "user", "user", "assistant", "call", "call", "result", "result", "result", "stray"]
        )
        if kind in ("system", "developer"):
            history.append({"role": kind, "content": text})
        elif kind == "user":
            history.append(user(rng.choice([text, parts(text), parts(text, "more"), [*parts(text), IMAGE]])))
        elif kind == "assistant":
            history.append(assistant(rng.choice([text, text, "", None])))
        elif kind == "call":
            waiting = [f"{rng.choice(['call', 'again'])}_{number}_{one}" for one in range(rng.randrange(1, 4))]
            arguments = ['{"path": "a"}', '{"path": "', "", "nonsense", "[1]"]
            history.append(assistant(rng.choice([None, text]), *(call(one, rng.choice(arguments)) for one in waiting)))
        elif kind == "result" and waiting:
            history.append(result(waiting.pop(rng.randrange(len(waiting))), text))
        else:
            history.append(result("call_stray", text))
    return history


def random_needs(rng):
    chosen = {one.name: rng.random() < 0.5 for one in fields(Needs) if one.type == "bool"}
    chosen["text_only"] = frozenset(role for role in ("system", "user", "assistant", "tool") if rng.random() < 0.3)
    chosen["arguments"] = frozenset(kind for kind in ("empty", "broken", "other") if rng.random() < 0.5)
    chosen["gather_results"] |= chosen["close_calls"]  # a template that refuses a user there refuses what comes later, too
    return Needs(**chosen)


@pytest.mark.parametrize("seed", range(300))
def test_any_history_is_taken_by_any_template(seed):
    rng = random.Random(seed)
    needs, history = rng.choice([random_needs(rng), *FAMILIES.values()]), growing(rng)
    rewritten = rewrite({"messages": history}, needs)
    rendered(rewritten.body["messages"], needs)
    assert rewrite(rewritten.body, needs).body is rewritten.body
    assert rewrite({"messages": copy.deepcopy(history)}, needs) == rewritten


def requests_of_an_agent(rng):
    """Returns a growing history at each point at which an agent asks: a user spoke, or all results are there.

    Calls may be aborted, and calls of one message answered in any order.
    """
    history = [{"role": rng.choice(["system", "developer"]), "content": f"rule {number}"} for number in range(rng.randrange(3))]
    asked = []
    for turn in range(rng.randrange(2, 7)):
        for number in range(rng.choice([1, 1, 2])):
            history.append(user(rng.choice([f"text {turn} {number}", parts(f"text {turn}", "more"), [*parts("see"), IMAGE]])))
            asked.append(len(history))  # the first may have been interrupted before anything was answered
        if rng.random() < 0.2:
            history.append({"role": "system", "content": f"reminder {turn}"})
        for step in range(rng.randrange(4)):
            names = [f"call_{turn}_{step}_{one}" for one in range(rng.randrange(1, 3))]
            arguments = rng.choice(['{"path": "a"}', '{"path": "', "", "nonsense"])
            history.append(assistant(rng.choice([None, f"step {step}"]), *(call(name, arguments) for name in names)))
            if rng.random() < 0.2:
                break  # aborted
            history += [result(name, f"result of {name}") for name in rng.sample(names, len(names))]
            asked.append(len(history))
        else:
            history.append(assistant(rng.choice([f"answer {turn}", f"answer {turn}", ""])))
    return [history[:length] for length in asked]


def begins(shorter, longer):
    """Whether the longer history begins as the shorter one; what is said last may go on."""
    *before, last = shorter
    after_it = longer[len(before)]
    said, says = (one["content"] if isinstance(one["content"], list) else parts(one["content"] or "") for one in (last, after_it))
    *told, end = said
    return (
        longer[: len(before)] == before
        and after_it["role"] == last["role"]
        and says[: len(told)] == told
        and {**says[len(told)], "text": ""} == {**end, "text": ""}
        and says[len(told)].get("text", "").startswith(end.get("text", ""))
    )


@pytest.mark.parametrize("seed", range(200))
def test_a_longer_history_begins_as_the_shorter_one(seed):
    rng = random.Random(seed)
    needs = rng.choice([random_needs(rng), *FAMILIES.values()])
    histories = [rewrite({"messages": history}, needs).body["messages"] for history in requests_of_an_agent(rng)]
    for shorter, longer in itertools.pairwise(histories):
        assert begins(shorter, longer)


def settled(history):
    """Whether all calls that may still get results have one, and the engine would not go on with two answers."""
    last = max((index for index, one in enumerate(history) if one["role"] == "assistant"), default=0)
    answers = {one.get("tool_call_id") for one in history[last + 1 :]}
    calling = {one["id"] for one in history[last].get("tool_calls", [])} <= answers
    return calling and not (last == len(history) - 1 and history[last - 1]["role"] == "assistant")


@pytest.mark.parametrize("seed", range(300))
def test_any_longer_history_begins_as_the_shorter_one_once_calls_have_results(seed):
    rng = random.Random(seed)
    needs, history = rng.choice([random_needs(rng), *FAMILIES.values()]), [user("text"), *growing(rng)]
    whole = rewrite({"messages": history}, needs).body["messages"]
    for length in range(1, len(history)):
        if settled(history[:length]):
            assert begins(rewrite({"messages": history[:length]}, needs).body["messages"], whole), length


@pytest.mark.parametrize("needs", FAMILIES.values(), ids=FAMILIES)
def test_a_call_that_gets_its_result_later_keeps_all_up_to_the_call(needs):
    """That it was not run is said last, so that nothing but this one sentence is computed in vain."""
    history = [system(), user(), assistant(None, call())]
    shorter, longer = (after(one, needs)[0] for one in (history, [*history, result()]))
    *before, closing = shorter
    assert NOT_RUN in closing["content"] and longer[: len(before)] == before
    assert len(longer) == len(shorter) and NOT_RUN not in json.dumps(longer)


@pytest.mark.parametrize("needs", [MISTRAL_2512, MISTRAL_NEMO], ids=["2512", "nemo"])
def test_an_aborted_call_stays_closed_whatever_follows(needs):
    history = [user(), assistant(None, call()), user("Stop that."), assistant("Stopped."), result(), user("Go on.")]
    shorter, longer = (after(one, needs)[0] for one in (history[:3], history))
    assert longer[: len(shorter)] == shorter


# What a template needs


def told(needs, *, refuse=()):
    """Returns the answers of an engine whose template needs this."""
    prompts = {}
    for name, asked in probes():
        try:
            prompts[name] = rendered(asked["messages"], needs) + (json.dumps(asked.get("tools", "")) if needs.tools else "")
        except Refused:
            prompts[name] = None
    return {name: None if name in refuse else prompt for name, prompt in prompts.items()}


@pytest.mark.parametrize("name", ["nothing", *FAMILIES])
def test_what_a_template_needs_is_learnt_from_what_it_takes(name):
    needs = FAMILIES.get(name, Needs())
    learnt = needs_of(told(needs))
    for one in HISTORIES.values():
        rendered(rewrite(body(one), learnt).body["messages"], replace(needs, order_results=False, known_roles=False))
    assert {one.name for one in fields(Needs) if getattr(needs, one.name) and not getattr(learnt, one.name)} <= {
        "order_results",  # this template shows ids
        "known_roles",
    }


def test_a_template_that_takes_everything_needs_nothing():
    assert needs_of(told(Needs())) == Needs()


def test_what_a_template_drops_in_silence_is_refused_too():
    prompts = told(Needs())
    lost = {**prompts, "late-system": prompts["late-system"].replace("systemword2", "")}
    assert needs_of(lost) == Needs(late_system_as_user=True)


def test_a_template_that_moves_system_messages_to_the_front_would_empty_the_cache():
    prompts = told(Needs())
    assert needs_of({**prompts, "last-system": "systemword1 systemword2 userword1"}) == Needs(late_system_as_user=True)


def test_ids_that_are_not_shown_make_the_order_count():
    prompts = told(Needs())
    assert needs_of({**prompts, "parallel": prompts["parallel"].replace("aaaaaaaa2", "")}) == Needs(order_results=True)


def test_calls_are_not_quoted_to_a_template_that_shows_tools_and_results():
    """Its model has its own way of calling, and would imitate another."""
    prompts = {name: prompt.replace("callword", "") for name, prompt in told(Needs()).items()}
    assert not needs_of(prompts).quote_calls
    assert needs_of({name: prompt.replace("tooltold", "") for name, prompt in prompts.items()}).quote_calls


def test_an_engine_that_refuses_a_plain_question_says_nothing_about_its_template():
    with pytest.raises(ValueError, match="plain question"):
        needs_of(dict.fromkeys(dict(probes())))


def test_probes_are_what_can_be_sent():
    names = [name for name, _body in probes()]
    assert len(set(names)) == len(names)
    for _name, asked in probes():
        assert json.loads(json.dumps(asked)) == asked
    assert READ["function"]["name"] == dict(probes())["call"]["tools"][0]["function"]["name"]
