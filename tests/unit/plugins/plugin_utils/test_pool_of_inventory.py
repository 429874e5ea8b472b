# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.plugin_utils._pool import addresses, extra_keys, offered, parse_extra, pool, zone_of

FUNCTIONAL = ("copilot_servers", "copilot_balancers")
KEY = "sk-0123456789abcdef"
DEFAULTS = {
    "port": 8443,
    "socket": "/run/slm-copilot-router/router.sock",
    "slots": 2,
    "model": "devstral-small-2",
    "ca_file": "/etc/slm-copilot/ca.pem",
    "extra_zone": "elsewhere",
    "extra_ca_file": "",
}


def host(*groups, **variables):
    return {"group_names": list(groups), **variables}


FLEET = {
    "madrid-1": host("copilot_balancers", "copilot_servers", "madrid", ansible_host="100.64.1.5"),
    "paris-1": host("copilot_servers", "paris", ansible_host="100.64.1.10", copilot_slots=4, copilot_port=9443),
    "berlin-1": host("copilot_servers", "berlin", copilot_endpoint_host="fd00::20", copilot_model="mistral-7b"),
}


def make(here="madrid-1", **options):
    return pool(FLEET, list(FLEET), here, DEFAULTS, FUNCTIONAL, **options)


def test_an_inventory_gives_the_pool():
    assert make() == {
        "zone": "madrid",
        "backends": [
            {
                "id": "madrid-1",
                "zone": "madrid",
                "slots": 2,
                "models": {"devstral-small-2": "devstral-small-2"},
                "api_base": "http://localhost/v1",
                "socket": "/run/slm-copilot-router/router.sock",
                "ca_file": "",
            },
            {
                "id": "paris-1",
                "zone": "paris",
                "slots": 4,
                "models": {"devstral-small-2": "devstral-small-2"},
                "api_base": "https://100.64.1.10:9443/v1",
                "ca_file": "/etc/slm-copilot/ca.pem",
            },
            {
                "id": "berlin-1",
                "zone": "berlin",
                "slots": 2,
                "models": {"mistral-7b": "mistral-7b"},
                "api_base": "https://[fd00::20]:8443/v1",
                "ca_file": "/etc/slm-copilot/ca.pem",
            },
        ],
    }


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_a_server_of_another_controller_is_verified_with_its_own_ca():
    fleet = FLEET | {"oslo-1": host("copilot_servers", ansible_host="100.64.1.30", copilot_server_ca=PEM)}
    made = pool(fleet, list(fleet), "madrid-1", DEFAULTS, FUNCTIONAL)["backends"]
    assert [(one["ca_file"], one.get("ca")) for one in made[1:]] == [(DEFAULTS["ca_file"], None)] * 2 + [("", PEM)]


@pytest.mark.parametrize("text", ["/etc/ca.pem", PEM + "-----BEGIN PRIVATE KEY-----"], ids=["a path", "with a key"])
def test_a_ca_that_is_none_is_refused(text):
    with pytest.raises(CopilotError, match="copilot_server_ca of paris-1 must be CA certificates") as problem:
        pool(FLEET | {"paris-1": host(copilot_server_ca=text)}, ["paris-1"], "madrid-1", DEFAULTS, FUNCTIONAL)
    assert "BEGIN PRIVATE" not in str(problem.value)


def test_another_balancer_reaches_the_first_hosts_server_by_its_address():
    assert make(here="paris-1")["backends"][0]["api_base"] == "https://100.64.1.5:8443/v1"


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        pytest.param(["https://100.64.1.10:9443/v1", "https://[FD00::20]:8443/v1"], ["100.64.1.10", "fd00::20"], id="addresses"),
        pytest.param(["https://100.64.1.10:9443/v1"] * 2, ["100.64.1.10"], id="one of two ports"),
        pytest.param(["https://100.64.1.10:8443/v1", "https://paris-1:8443/v1"], None, id="a name"),
        pytest.param([], [], id="none but its own"),
    ],
)
def test_whom_a_balancer_may_reach(urls, expected):
    assert (
        addresses([{"api_base": one} for one in urls] + [{"api_base": "http://localhost/v1", "socket": "/run/x.sock"}])
        == expected
    )


def test_extra_backends_follow():
    made = make(extra=[f"{KEY}@other.example.com:443", "sk-with@in-it-0123456@[fd00::1]:8443"])
    assert [one["api_base"] for one in made["backends"][3:]] == ["https://other.example.com:443/v1", "https://[fd00::1]:8443/v1"]
    assert [one["zone"] for one in made["backends"][3:]] == ["elsewhere"] * 2
    assert [one.get("foreign", False) for one in made["backends"]] == [False, False, False, True, True]
    assert KEY not in str(made)
    keys = extra_keys([f"{KEY}@other.example.com:443", "sk-with@in-it-0123456@[fd00::1]:8443"])
    assert keys == {"other.example.com:443": KEY, "fd00::1:8443": "sk-with@in-it-0123456"}
    assert set(keys) == {one["id"] for one in made["backends"][3:]}


def test_a_backend_is_named_once():
    with pytest.raises(CopilotError, match="names a.example:1 more than once"):
        make(extra=[f"{KEY}@a.example:1", f"{KEY}@a.example:1"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(7, "is a number; give a string key@host:port", id="number"),
        pytest.param("sk-secret-secret-secret", "has another form (23 characters)", id="key only"),
        pytest.param(f"{KEY}@host", "has another form", id="no port"),
        pytest.param(f"{KEY}@:8443", "has another form", id="no host"),
        pytest.param(f"{KEY}@ho st:8443", "between the @ and the last colon is no host name", id="blank in host"),
        pytest.param(f"{KEY}@https://host:8443", "between the @ and the last colon is no host name", id="url"),
        pytest.param(f"{KEY}@host:0", "after the last colon is not a TCP port", id="port zero"),
        pytest.param(f"{KEY}@host:65536", "after the last colon is not a TCP port", id="port too large"),
        pytest.param(f"{KEY}@host:http", "after the last colon is not a TCP port", id="port by name"),
        pytest.param("short@host:8443", "its key has 5 characters", id="short key"),
        pytest.param("sk-0123456789 abcdef@host:8443", "has a space", id="blank in key"),
        pytest.param(f"host:8443@{KEY}", "has another form", id="swapped"),
        pytest.param(f"copilot.example.com@{KEY}:8443", "has a key after the @", id="key in the place of the host"),
        pytest.param(f"host:8443@{KEY}:x", "has a key after the @", id="swapped, with a colon in the key"),
        pytest.param("host:8443@my_own secret:8443", "no host name", id="swapped, with a key of another form"),
        pytest.param("copilot.example.com:8443@host:my_own secret", "not a TCP port", id="key in the place of the port"),
    ],
)
def test_a_malformed_backend_is_refused_without_showing_its_key(text, expected):
    with pytest.raises(CopilotError) as problem:
        parse_extra(text, 3)
    assert "copilot_extra_backends, entry 3" in str(problem.value)
    assert expected in str(problem.value)
    assert "sk-" not in str(problem.value).replace(FORM_EXAMPLE, "")
    assert "secret" not in str(problem.value)


FORM_EXAMPLE = "sk-...@copilot.example.com"


@pytest.mark.parametrize(
    ("variables", "zone"),
    [
        pytest.param(host("copilot_servers", "madrid"), "madrid", id="its group"),
        pytest.param(host("copilot_servers", "madrid", copilot_zone="dmz"), "dmz", id="told"),
        pytest.param(host("copilot_servers"), "default", id="no group"),
        pytest.param(host("copilot_servers", "madrid", "debian"), "debian", id="several"),
    ],
)
def test_zone(variables, zone):
    assert zone_of("one", variables, FUNCTIONAL, must_be_clear=False) == zone


def test_a_zone_must_be_clear_where_it_counts():
    with pytest.raises(CopilotError, match=r"one is in the groups debian, madrid, .* set copilot_zone"):
        zone_of("one", host("madrid", "debian"), FUNCTIONAL, must_be_clear=True)
    with pytest.raises(CopilotError, match="set copilot_zone"):
        pool({"a": host("x", "y")}, ["a"], "a", DEFAULTS, zone_policy="local_only")


def test_hosts_have_several_models():
    fleet = {
        "a": host("x", copilot_models=["one", {"id": "two", "slots": 5}]),
        "b": host("x", copilot_model="three"),
        "c": host("x"),
    }
    backends = pool(fleet, list(fleet), "a", {**DEFAULTS, "models": ["four", "five"]}, FUNCTIONAL)["backends"]
    assert [(one["models"], one["slots"]) for one in backends] == [
        ({"one": "one", "two": "two"}, 5),
        ({"three": "three"}, 2),
        ({"four": "four", "five": "five"}, 2),
    ]


OFFERS = {"slots": 2, "context_size": 32768, "model": "devstral-small-2", "models": []}


def offer(name, context_size, slots):
    return {"name": name, "context_size": context_size, "slots": slots}


def planned(context_size, slots, **more):
    return {"plan": {"settings": {"context_size": context_size, "slots": slots}, **more}}


@pytest.mark.parametrize(
    ("fleet", "plans", "options", "models"),
    [
        pytest.param({"a": {}}, {}, {}, [offer("devstral-small-2", 32768, 2)], id="what is set"),
        pytest.param({"a": {}}, {"a": planned(4096, 3)}, {}, [offer("devstral-small-2", 4096, 3)], id="the plan comes first"),
        pytest.param({"a": {}}, {"a": {"failed": True}}, {}, [offer("devstral-small-2", 32768, 2)], id="a plan that failed"),
        pytest.param(
            {"a": {"copilot_context_size": 8192, "copilot_slots": 4}, "b": {}},
            {"b": planned(16384, 2)},
            {},
            [offer("devstral-small-2", 8192, 6)],
            id="the smallest context and all slots",
        ),
        pytest.param(
            {"a": {"copilot_model": "mistral-7b"}, "b": {}},
            {},
            {},
            [offer("devstral-small-2", 32768, 2), offer("mistral-7b", 32768, 2)],
            id="the usual model comes first",
        ),
        pytest.param(
            {"a": {"copilot_models": ["one", {"id": "two", "context_size": 512, "slots": 1}]}},
            {},
            {},
            [offer("one", 32768, 2), offer("two", 512, 1)],
            id="several with settings of their own",
        ),
        pytest.param(
            {"a": {"copilot_models": ["one", {"id": "two", "context_size": "auto"}]}},
            {"a": {"plan": {"models": {"one": planned(1024, 2)["plan"], "two": planned(2048, 1)["plan"]}}}},
            {},
            [offer("one", 1024, 2), offer("two", 2048, 1)],
            id="several as planned",
        ),
        pytest.param(
            {"a": {"copilot_context_size": "auto"}},
            {},
            {"before": [offer("devstral-small-2", 20480, 9)]},
            [offer("devstral-small-2", 20480, 2)],
            id="auto as it was before",
        ),
        pytest.param(
            {"a": {"copilot_slots": "auto"}, "b": {"copilot_slots": "auto"}},
            {"b": planned(32768, 3)},
            {"before": [offer("devstral-small-2", 32768, 6)]},
            [offer("devstral-small-2", 32768, 6)],
            id="slots of all hosts as they were before",
        ),
        pytest.param(
            {"a": {"copilot_context_size": "auto", "copilot_slots": "auto"}},
            {},
            {"before": ["devstral-small-2"]},
            [offer("devstral-small-2", 32768, 1)],
            id="auto that nobody planned yet",
        ),
        pytest.param(
            {"a": {"copilot_model": "mistral-7b"}},
            {},
            {"extra": [f"{KEY}@elsewhere.example.com:8443"]},
            [offer("devstral-small-2", 32768, 2), offer("mistral-7b", 32768, 2)],
            id="one from outside",
        ),
        pytest.param(
            {"a": {"copilot_models": ["one", "two"]}},
            {},
            {"catalogue": {"one": {"fim_only": False}, "two": {"fim_only": True}}},
            [offer("one", 32768, 2), {**offer("two", 32768, 2), "fim_only": True}],
            id="one that only completes",
        ),
        pytest.param(
            {"a": {"copilot_models": ["one", "two"]}, "b": {"copilot_models": ["two", "one"]}},
            {
                "a": {"plan": {"models": {}}, "tools": {"one": True, "two": False}},
                "b": {"plan": {}, "tools": {"one": True, "two": True}},
            },
            {"before": [{**offer("one", 4096, 9), "tools": False}]},
            [offer("one", 32768, 4), {**offer("two", 32768, 4), "tools": False}],
            id="one that is shown no tools on one host",
        ),
        pytest.param(
            {"a": {}},
            {},
            {"before": [{**offer("devstral-small-2", 32768, 2), "tools": False}]},
            [{**offer("devstral-small-2", 32768, 2), "tools": False}],
            id="what was known before",
        ),
    ],
)
def test_every_model_is_offered_with_what_can_be_counted_on(fleet, plans, options, models):
    assert offered(fleet, list(fleet), plans, OFFERS, **options) == models
