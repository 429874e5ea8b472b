# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import asdict
from xml.etree import ElementTree

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._server import checks as _endpoint
from ansible_collections.slm.copilot.plugins.module_utils._server.checks import Target
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.junit import checks_junit
from ansible_collections.slm.copilot.plugins.plugin_utils._reports.tables import checks_summary, checks_table

IDS = ["https", "health", "no_key", "with_key", "models", "chat", "stream", "tools"]


@pytest.fixture
def check(certificates):
    """``check(endpoint)`` runs the checks and makes sure that the key is nowhere in the report."""

    def run(endpoint, **settings):
        settings = {"url": endpoint.url, "api_key": endpoint.key, "ca_path": str(certificates / "ca.pem"), **settings}
        report = _endpoint.run_checks(Target(**{"timeout": 5, "chat_timeout": 5, **settings}))
        assert [one.id for one in report.checks] == IDS
        assert endpoint.key not in json.dumps(report.to_dict())
        return report

    return run


def failed(report):
    return [one.id for one in report.checks if not one.ok and not one.skipped]


def skipped(report):
    return [one.id for one in report.checks if one.skipped]


def detail(report, name):
    return next(one.detail for one in report.checks if one.id == name)


# URLs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        pytest.param("https://host:8443", "https://host:8443", id="plain"),
        pytest.param("https://host:8443/", "https://host:8443", id="slash"),
        pytest.param("https://host:8443/v1", "https://host:8443", id="v1"),
        pytest.param("https://host:8443/v1/", "https://host:8443", id="v1_slash"),
        pytest.param("https://host/llm/v1", "https://host:443/llm", id="prefix_and_default_port"),
        pytest.param("https://100.64.1.5:8443", "https://100.64.1.5:8443", id="ipv4"),
        pytest.param("https://[fd00::5]:8443/v1", "https://[fd00::5]:8443", id="ipv6"),
        pytest.param("http://host", "http://host:80", id="http"),
    ],
)
def test_url(url, normal):
    assert _endpoint.parse_url(url).url == normal


@pytest.mark.parametrize(
    ("url", "text"),
    [
        pytest.param("host:8443", "must have the form https://host:port", id="no_scheme"),
        pytest.param("ftp://host", "must have the form https://host:port", id="ftp"),
        pytest.param("https://", "must have the form", id="no_host"),
        pytest.param("https://host:port", "its host or port cannot be read", id="port_not_a_number"),
        pytest.param("https://host:99999", "its host or port cannot be read", id="port_too_large"),
        pytest.param("https://[fd00::5:8443", "its host or port cannot be read", id="open_bracket"),
        pytest.param("https://sk-secret@host:8443", "give a key as api_key or api_key_file", id="key_as_user"),
        pytest.param("https://host/v1?key=sk-secret", "it has a query", id="key_as_query"),
        pytest.param("https://ho st:8443", "a character that does not belong", id="space_in_host"),
        pytest.param("https://host/\u00e9", "a character that does not belong", id="accent_in_path"),
    ],
)
def test_url_refused(url, text):
    with pytest.raises(CopilotError, match=re.escape(text)) as caught:
        _endpoint.parse_url(url)
    assert "sk-secret" not in str(caught.value)


# A good endpoint ----------------------------------------------------------------------------------------------------


def test_good_endpoint(start_endpoint, check):
    endpoint = start_endpoint()
    report = check(endpoint)
    assert failed(report) == skipped(report) == []
    result = report.to_dict()
    assert result["passed"] is True and result["failed_count"] == 0
    assert (report.url, report.model, report.models) == (endpoint.url, "tiny", ["tiny", "small"])
    assert report.tls["protocol"] == "TLSv1.3"
    assert report.tls["names"] == ["localhost", "127.0.0.1"]
    assert re.fullmatch(r"TLSv1.3, TLS_\w+, certificate until \d{4}-\d\d-\d\d for localhost, 127.0.0.1", report.checks[0].detail)
    assert report.timings["tokens"] == 3
    assert 0 < report.timings["first_token"] <= report.timings["stream"]
    assert report.timings["tokens_per_second"] > 0
    assert detail(report, "chat").startswith("3 tokens in ")
    assert re.fullmatch(r"first token after \d+\.\d\d s, 3 tokens, \d+\.\d tokens/s", detail(report, "stream"))


def test_the_key_is_sent_only_where_it_is_needed_and_only_in_its_header(start_endpoint, check):
    endpoint = start_endpoint()
    check(endpoint, url=endpoint.url + "/v1")
    bearer = f"Bearer {endpoint.key}"
    assert [request[:3] for request in endpoint.requests] == [
        ("GET", "/health", None),
        ("GET", "/health", None),
        ("GET", "/v1/models", None),
        ("POST", "/v1/chat/completions", None),
        ("GET", "/v1/models", bearer),
        *[("POST", "/v1/chat/completions", bearer)] * 3,
    ]
    assert {request[3] for request in endpoint.requests} == {f"localhost:{endpoint.port}"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        pytest.param({"url": "https://127.0.0.1:{port}"}, ["localhost", "127.0.0.1"], id="address"),
        pytest.param({"model": "small"}, ["localhost", "127.0.0.1"], id="second_model"),
    ],
)
def test_good_endpoint_in_other_ways(start_endpoint, check, settings, names):
    endpoint = start_endpoint()
    report = check(endpoint, **{name: value.format(port=endpoint.port) for name, value in settings.items()})
    assert failed(report) == skipped(report) == []
    assert report.model == settings.get("model", "tiny")


def test_connect_host_keeps_verifying_the_name_in_the_url(start_endpoint, check):
    endpoint = start_endpoint("elsewhere")
    settings = {"url": f"https://elsewhere.example.org:{endpoint.port}", "connect_host": "127.0.0.1"}
    assert failed(check(endpoint, **settings)) == []
    assert endpoint.requests[0][3] == f"elsewhere.example.org:{endpoint.port}"
    settings["url"] = f"https://another.example.org:{endpoint.port}"
    assert "not for 'another.example.org'" in detail(check(endpoint, **settings), "https")


def test_client_certificate(start_endpoint, check, certificates):
    endpoint = start_endpoint(client_ca="ca.pem")
    without = check(endpoint)
    assert failed(without) == ["https"] and skipped(without) == IDS[1:]
    assert "give client_cert and client_key" in detail(without, "https")
    pair = {"client_cert": str(certificates / "client.pem"), "client_key": str(certificates / "client.key")}
    assert failed(check(endpoint, **pair)) == []


def test_client_certificate_of_another_ca(start_endpoint, check, certificates):
    endpoint = start_endpoint(client_ca="other-ca.pem")
    pair = {"client_cert": str(certificates / "client.pem"), "client_key": str(certificates / "client.key")}
    assert "server refused the client certificate" in detail(check(endpoint, **pair), "https")


def test_litellm_health(start_endpoint, check):
    endpoint = start_endpoint()
    endpoint.health = {"/health": 401, "/health/liveliness": 404, "/health/readiness": 200}
    assert detail(check(endpoint), "health") == "/health/readiness answered 200"
    endpoint.health["/health/liveliness"] = 200
    assert detail(check(endpoint), "health") == "/health/liveliness answered 200"


def test_what_comes_in_one_packet_has_no_speed(start_endpoint, check):
    endpoint = start_endpoint()
    words = [chunk({"choices": [{"index": 0, "delta": {"content": "word"}}]})] * 8
    endpoint.stream = ["\n\n".join([*words, "data: [DONE]"])]
    report = check(endpoint)
    assert failed(report) == []
    assert report.timings["tokens"] == 8
    assert "tokens_per_second" not in report.timings
    assert re.fullmatch(r"first token after \d+\.\d\d s, 8 tokens", detail(report, "stream"))


def test_the_speed_is_that_of_what_comes_after_the_first_packet(start_endpoint, check):
    endpoint = start_endpoint()
    word = chunk({"choices": [{"index": 0, "delta": {"content": "word"}}]})
    endpoint.stream = ["\n\n".join([word] * 8), *[": nothing yet"] * 50, word, "data: [DONE]"]
    report = check(endpoint)
    assert report.timings["tokens"] == 9
    assert 0 < report.timings["tokens_per_second"] < 11, "one token in a tenth of a second at least"


def test_an_error_that_is_null_is_none(start_endpoint, check):
    endpoint = start_endpoint()
    endpoint.stream = [chunk({"error": None, "choices": [{"index": 0, "delta": {"content": "word"}}]}), "data: [DONE]"]
    assert failed(check(endpoint)) == []


def test_a_silent_model_passes(start_endpoint, check):
    endpoint = start_endpoint()
    endpoint.stream = [endpoint.stream[0], ": a comment", "event: note", "data: [DONE]"]
    report = check(endpoint)
    assert failed(report) == []
    assert detail(report, "stream") == "well-formed, but the model said nothing"


# No connection ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "ca", "text"),
    [
        pytest.param("server", "other-ca.pem", r"not signed by a CA in .*other-ca.pem; give the CA", id="another_ca"),
        pytest.param("server", None, "not signed by a CA this machine knows; give the CA's file in ca_path", id="system"),
        pytest.param("elsewhere", "ca.pem", "certificate is not for 'localhost'; use a name", id="wrong_name"),
        pytest.param("expired", "ca.pem", "has expired; renew it", id="expired"),
        pytest.param("early", "ca.pem", "is not valid yet; check the clocks", id="not_yet_valid"),
    ],
)
def test_certificate_refused(start_endpoint, check, certificates, *, certificate, ca, text):
    report = check(start_endpoint(certificate), ca_path=ca and str(certificates / ca))
    assert failed(report) == ["https"] and skipped(report) == IDS[1:]
    assert re.search(text, detail(report, "https"))
    assert detail(report, "stream") == "no HTTPS connection"
    assert report.to_dict()["passed"] is False and report.to_dict()["failed_count"] == 1


def test_wrong_address_in_the_certificate(start_endpoint, check):
    endpoint = start_endpoint("elsewhere")
    report = check(endpoint, url=f"https://127.0.0.1:{endpoint.port}")
    assert "certificate is not for '127.0.0.1'" in detail(report, "https")


def test_http_url_sends_nothing(start_endpoint, check):
    endpoint = start_endpoint(tls=False)
    report = check(endpoint, url=f"http://localhost:{endpoint.port}")
    assert failed(report) == ["https"] and skipped(report) == IDS[1:]
    assert "a key must not travel in the clear: use https://" in detail(report, "https")
    assert endpoint.requests == []


def test_plain_http_port(start_endpoint, check):
    report = check(start_endpoint(tls=False))
    assert failed(report) == ["https"] and skipped(report) == IDS[1:]
    assert "answers, but not with TLS" in detail(report, "https")


def test_refused(start_endpoint, check):
    endpoint = start_endpoint()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    report = check(endpoint, url=f"https://127.0.0.1:{port}")
    assert failed(report) == ["https"]
    assert detail(report, "https") == f"127.0.0.1:{port} refuses connections; is the service running, and on this port?"


def test_time_out(start_endpoint, check):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        report = check(start_endpoint(), url=f"https://127.0.0.1:{port}", timeout=0.2)
    assert failed(report) == ["https"]
    assert f"no answer from 127.0.0.1:{port} within 0.2 s" in detail(report, "https")


def test_connection_closed_in_the_handshake(start_endpoint, check):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        port = rude.getsockname()[1]

        def hang_up() -> None:
            rude.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        report = check(start_endpoint(), url=f"https://127.0.0.1:{port}")
    assert "closed the connection in the middle" in detail(report, "https")


@pytest.mark.parametrize("host", [pytest.param("no.such.host.invalid", id="dns"), pytest.param("a..b", id="no_dns_name")])
def test_unknown_name(start_endpoint, check, host):
    report = check(start_endpoint(), url=f"https://{host}:8443")
    assert f"the name '{host}' has no address; check the URL and DNS" in detail(report, "https")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(OSError(113, "No route to host"), "no route to localhost:8443", id="no_route"),
        pytest.param(OSError(13, "Permission denied"), "cannot reach localhost:8443: Permission denied", id="other"),
        pytest.param(_endpoint.http.client.BadStatusLine("x"), "not with HTTP/1.1 (BadStatusLine)", id="no_http"),
    ],
)
def test_explained(error, text):
    target = Target("https://localhost:8443", "key")
    assert text in str(_endpoint._explain(error, target, _endpoint.parse_url(target.url), 1))


# Each other check failing in turn -----------------------------------------------------------------------------------


def spoil(**changes):
    def apply(endpoint):
        for name, value in changes.items():
            setattr(endpoint, name, value)

    return apply


def chunk(value):
    return f"data: {json.dumps(value)}"


def calling(name="say", arguments='{"word": "hello"}', why="tool_calls"):
    calls = [{"function": {"name": name, "arguments": arguments}}] if name else None
    return {"choices": [{"finish_reason": why, "message": {"tool_calls": calls}}]}


WORD = chunk({"choices": [{"delta": {"content": "Hi"}}]})


@pytest.mark.parametrize(
    ("change", "settings", "name", "skips", "text"),
    [
        pytest.param(spoil(health={}), {}, "health", [], "/health answered 404, /health/liveliness", id="no_health"),
        pytest.param(spoil(no_key=200), {}, "no_key", [], "answered 200 instead of 401; does the server", id="open"),
        pytest.param(spoil(no_key=503), {}, "no_key", [], "without key answered 503: still loading", id="no_key_503"),
        pytest.param(spoil(with_key=401), {}, "with_key", IDS[4:], "key refused (401); is it this", id="wrong_key"),
        pytest.param(spoil(with_key=503), {}, "with_key", IDS[4:], "answered 503: the model is still", id="loading"),
        pytest.param(spoil(with_key=302), {}, "with_key", IDS[4:], "a redirect; give the URL it leads", id="redirect"),
        pytest.param(spoil(models=b"<html>"), {}, "with_key", IDS[4:], "answered 200 with application/json that is", id="html"),
        pytest.param(spoil(models={"data": []}), {}, "models", IDS[5:], "the list of models is empty", id="no_models"),
        pytest.param(spoil(models=[1]), {}, "models", IDS[5:], "the list of models is empty", id="models_malformed"),
        pytest.param(spoil(), {"model": "big"}, "models", IDS[5:], "'big' is not served, only tiny, small", id="another_model"),
        pytest.param(spoil(chat=(200, {"choices": []})), {}, "chat", [], "without a message in 'choices'", id="no_choice"),
        pytest.param(spoil(chat=(200, {"choices": [{"message": {}}]})), {}, "chat", [], "without 'usage.compl", id="no_usage"),
        pytest.param(
            spoil(chat=(500, {"error": {"message": "no\nmemory for sk-the-key-of-the-endpoint"}})),
            {},
            "chat",
            [],
            "answered 500: no memory for ***",
            id="server_error_quoting_the_key",
        ),
        pytest.param(spoil(chat=(502, b"oops", "text/plain")), {}, "chat", [], "answered 502", id="bad_gateway"),
        pytest.param(spoil(chat=(200, b" " * (_endpoint.MAX_BODY + 1))), {}, "chat", [], "larger than 8 MiB", id="flood"),
        pytest.param(
            spoil(delay=0.6),
            {"chat_timeout": 0.2},
            "chat",
            ["stream", "tools"],
            "within 0.2 s; is a firewall",
            id="chat_time_out",
        ),
        pytest.param(spoil(stream=[WORD]), {}, "stream", [], "the stream ended without [DONE]", id="no_done"),
        pytest.param(spoil(stream=[WORD], cut=True), {}, "stream", [], "closed the connection in the middle", id="cut"),
        pytest.param(spoil(stream=["data: [DONE]"]), {}, "stream", [], "no chunk with 'choices'", id="empty_stream"),
        pytest.param(spoil(stream=["data: {oops"]), {}, "stream", [], "a chunk that is not JSON", id="broken_chunk"),
        pytest.param(spoil(stream=["data: 7"]), {}, "stream", [], "not a JSON object", id="number_chunk"),
        pytest.param(spoil(stream=["{}"]), {}, "stream", [], "a line that is no server-sent event", id="no_event"),
        pytest.param(spoil(stream=[WORD, chunk({"error": {}})]), {}, "stream", [], "ended with an error", id="error"),
        *(
            pytest.param(spoil(tools=answer), {}, "tools", [], text, id=f"tools-{name}")
            for name, answer, text in (
                ("no_call", (200, calling(name="", why="stop")), "without the required tool call"),
                ("half", (200, calling(arguments='{"word": "he', why="length")), "with one that is not in OpenAI's form"),
                ("another", (200, calling(name="sing")), "the call is for a different tool"),
                ("wrong", (200, calling(arguments="{}")), "has the wrong arguments"),
                ("nothing", (200, {"choices": []}), "without the required tool call"),
                ("list", (200, []), "without the required tool call"),
                ("refused", (400, {"error": {"message": "no sk-the-key-of-the-endpoint", "code": "x"}}), "answered 400: no ***"),
                ("bad", (400, b"oops", "text/plain"), "answered 400"),
                ("broken", (500, {"error": {"message": "it is broken"}}), "answered 500: it is broken"),
            )
        ),
        pytest.param(spoil(stream_type="text/html"), {}, "stream", [], "text/html instead of text/event", id="html_stream"),
    ],
)
def test_one_check_fails(start_endpoint, check, *, change, settings, name, skips, text):
    endpoint = start_endpoint()
    change(endpoint)
    report = check(endpoint, **settings)
    assert failed(report) == [name]
    assert skipped(report) == skips
    assert text in detail(report, name)
    assert report.to_dict()["passed"] is False


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param((400, {"error": {"message": "No.", "code": "tools_not_supported"}}), "does not support tools", id="tools"),
        pytest.param((200, calling(name="", why="length")), "not decided: within 256 tokens", id="cut_off"),
    ],
)
def test_tool_calls_do_not_always_apply(start_endpoint, check, *, answer, text):
    endpoint = start_endpoint()
    endpoint.tools = answer
    report = check(endpoint)
    assert (failed(report), skipped(report)) == ([], ["tools"])
    assert text in detail(report, "tools")
    result = report.to_dict()
    assert (result["passed"], result["failed_count"]) == (True, 0)
    assert checks_table([result]).splitlines()[-1].split()[3] == "n/a"
    assert 'skipped="1"' in checks_junit([result])


def test_a_loading_server(start_endpoint, check):
    endpoint = start_endpoint()
    spoil(health={"/health": 503}, no_key=503, with_key=503)(endpoint)
    report = check(endpoint)
    assert failed(report) == ["health", "no_key", "with_key"] and skipped(report) == IDS[4:]
    assert detail(report, "health") == "/health answered 503: the model is still loading; try again later"


def test_a_slow_stream_is_given_up(start_endpoint, check):
    endpoint = start_endpoint()
    endpoint.stream = [WORD] * 1000
    report = check(endpoint, chat_timeout=0.3)
    assert failed(report) == ["stream"]
    assert detail(report, "stream") == "the answer was not complete within 0.3 s"


# Parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"api_key": "sk-secret with space"}, "api_key: the key has a space", id="key_with_space"),
        pytest.param({"api_key": "sk-secret-sk-secret\r\nX: y"}, "api_key: the key has a space, a control", id="header"),
        pytest.param({"api_key": ""}, "api_key: the key has 0 characters", id="empty_key"),
        pytest.param({"ca_path": "/nowhere/ca.pem"}, "is /nowhere/ca.pem: it cannot be used (No such file", id="no_ca"),
        pytest.param({"ca_path": "{folder}/ca.key"}, "ca.key: it cannot be used (it holds no certificate", id="key_as_ca"),
        pytest.param(
            {"client_cert": "/nowhere.pem"},
            "client_cert, client_key: cannot be used: No such file",
            id="no_client_cert",
        ),
        pytest.param(
            {"client_cert": "{folder}/client.pem", "client_key": "{folder}/server.key"},
            "the key does not belong to the certificate",
            id="client_pair",
        ),
        pytest.param(
            {"client_cert": "{folder}/client.pem"}, "not a certificate and its unencrypted key", id="client_key_missing"
        ),
        pytest.param(
            {"client_cert": "{folder}/client.pem", "client_key": "{folder}/client.encrypted.key"},
            "unencrypted",
            id="client_key_encrypted",
        ),
    ],
)
def test_parameters_refused(certificates, settings, text):
    settings = {name: value.format(folder=certificates) for name, value in settings.items()}
    with pytest.raises(CopilotError, match=re.escape(text)) as caught:
        _endpoint.run_checks(Target(**{"url": "https://localhost:1", "api_key": "k" * 20, **settings}))
    assert "sk-secret" not in str(caught.value)


# Reports ------------------------------------------------------------------------------------------------------------


def result(host, *checks):
    titles = list(_endpoint.TITLES.items())
    return {
        "url": f"https://{host}:8443",
        "checks": [
            asdict(_endpoint.Check(*titles[number], ok, skip, text, seconds))
            for number, (ok, skip, text, seconds) in enumerate(checks)
        ],
        "invocation": {"module_args": {"api_key": "sk-secret"}},
    }


RESULTS = {
    "madrid-1": result("madrid-1", (True, False, "TLSv1.3", 0.012), (True, False, "/health answered 200", 1.5)),
    "paris-1": result("paris-1", (False, False, "'<tiny>' & \x1b[31m\nrefused", 0.25), (False, True, "no HTTPS connection", 0.0)),
    "berlin-1": {"failed": True, "msg": "It did not run.", "module_stderr": "sudo: not found\n"},
}


def test_table():
    assert checks_table(RESULTS).splitlines() == [
        "endpoint  check               result   seconds  detail",
        "madrid-1  HTTPS connectivity  ok          0.01  TLSv1.3",
        "madrid-1  Health              ok          1.50  /health answered 200",
        "paris-1   HTTPS connectivity  FAILED      0.25  '<tiny>' & \x1b[31m refused",
        "paris-1   Health              skipped        -  no HTTPS connection",
        "berlin-1  Checks              FAILED      0.00  It did not run. sudo: not found",
    ]


def test_table_without_names():
    assert "https://madrid-1:8443  Health" in checks_table([RESULTS["madrid-1"]])
    assert checks_table([{}]).splitlines()[1].startswith("?         Checks  FAILED")


def test_junit():
    text = checks_junit(RESULTS)
    root = ElementTree.fromstring(text.encode())
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    counts = {name: tuple(suite.get(one) for one in ("tests", "failures", "skipped")) for name, suite in suites.items()}
    assert counts == {"madrid-1": ("2", "0", "0"), "paris-1": ("2", "1", "1"), "berlin-1": ("1", "1", "0")}
    assert suites["madrid-1"].get("time") == "1.512"
    assert suites["paris-1"].find("testcase/failure").get("message") == "'<tiny>' & ?[31m\nrefused"
    assert suites["paris-1"].find("testcase/skipped").get("message") == "no HTTPS connection"
    assert suites["berlin-1"].find("testcase").get("classname") == "berlin-1"
    assert suites["madrid-1"].findtext("testcase/system-out") == "TLSv1.3"


def test_summary_drops_what_ansible_adds():
    assert "sk-secret" not in json.dumps(checks_summary(RESULTS))
    assert [(entry["passed"], entry["failed_count"]) for entry in checks_summary(RESULTS)] == [
        (True, 0),
        (False, 1),
        (False, 1),
    ]
