# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of the appliance become ours, one to one, and a wrong one is told by its own name."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._appliance import settings

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "sk-a-key-of-thirty-two-characters"
BACKENDS = [f"{KEY}@10.0.1.10:8443", f"{KEY}@[2001:db8::1]:8443"]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("AI_MODEL", "Devstral Small 24B (built-in)", {"copilot_model": "devstral-small-2"}),
        ("AI_MODEL", "Mistral Nemo 12B", {"copilot_model": "mistral-nemo-12b"}),
        ("AI_MODEL", "my-own", {"copilot_model": "my-own"}),
        ("CONTEXT_SIZE", "8192", {"copilot_context_size": 8192}),
        ("CPU_THREADS", "0", {"copilot_threads": 0}),
        ("THREADS", "4", {"copilot_threads": 4}),
        ("API_PASSWORD", KEY, {"copilot_api_key": KEY}),
        ("API_KEY", KEY, {"copilot_api_key": KEY}),
        ("TLS_DOMAIN", "copilot.example.com", {"copilot_tls_domain": "copilot.example.com"}),
        ("HOSTNAME", "copilot.example.com", {"copilot_tls_domain": "copilot.example.com"}),
        ("TIMEOUT", "300", {"gateway_timeout": 300}),
        ("RATE_LIMIT", "20", {"gateway_key_requests": 20}),
        ("CONNECTION_LIMIT", "2", {"gateway_key_concurrent": 2}),
        ("LB_BACKENDS", ", ".join(BACKENDS), {"copilot_extra_backends": BACKENDS}),
        ("ZONE", "madrid", {"copilot_zone": "madrid"}),
        ("SERVICE_ROLE", "balancer", {"service_role": "balancer"}),
        ("TLS_MODE", "self-signed", {}),
    ],
)  # fmt: skip
def test_each_variable_sets_ours(name, value, found):
    assert settings.variables({f"ONEAPP_COPILOT_{name}": value, "VMID": "1"}) == (found, [])


def test_an_empty_value_means_the_default():
    assert settings.variables({f"{settings.PREFIX}{name}": " " for name in settings.INPUTS}) == ({}, [])


@pytest.mark.parametrize("value", [PEM, base64.b64encode(PEM.encode()).decode()], ids=["as it is", "base64"])
def test_certificates_of_the_backends(value):
    found, problems = settings.variables(
        {"ONEAPP_COPILOT_LB_CA": value, "ONEAPP_COPILOT_LB_BACKENDS": f"{KEY}@a.example.com:8443"}
    )
    assert (found["copilot_extra_backends_ca"], problems) == (PEM, [])


def test_with_a_ca_of_its_own_a_domain_is_a_name_alone():
    found, problems = settings.variables(
        {"ONEAPP_COPILOT_HOSTNAME": "copilot.example.com", "ONEAPP_COPILOT_TLS_MODE": "self-signed"}
    )
    assert (found, problems) == ({"copilot_endpoint_host": "copilot.example.com"}, [])


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"CONTEXT_SIZE": "32k"}, "ONEAPP_COPILOT_CONTEXT_SIZE is '32k', and must be a whole number from 1024 to 1048576."),
        ({"CONTEXT_SIZE": "1"}, "ONEAPP_COPILOT_CONTEXT_SIZE is '1', and must be a whole number from 1024 to 1048576."),
        ({"CPU_THREADS": "-1"}, "ONEAPP_COPILOT_CPU_THREADS is '-1', and must be a whole number from 0 to 1024."),
        ({"AI_MODEL": "{{ 7 * 7 }}"}, "ONEAPP_COPILOT_AI_MODEL is '{{ 7 * 7 }}', which is no model."),
        ({"API_PASSWORD": "short"}, "ONEAPP_COPILOT_API_PASSWORD has 5 characters"),
        ({"TLS_DOMAIN": "copilot"}, "ONEAPP_COPILOT_TLS_DOMAIN is 'copilot', and must be a full domain name"),
        ({"TLS_DOMAIN": "192.0.2.1"}, "ONEAPP_COPILOT_TLS_DOMAIN is '192.0.2.1', and must be a full domain name"),
        ({"TLS_MODE": "off"}, "ONEAPP_COPILOT_TLS_MODE is 'off', and must be one of self-signed, letsencrypt."),
        ({"TLS_MODE": "letsencrypt"}, "ONEAPP_COPILOT_TLS_MODE is letsencrypt, which needs ONEAPP_COPILOT_TLS_DOMAIN."),
        (
            {"TLS_DOMAIN": "a.example.com", "HOSTNAME": "b.example.com"},
            "ONEAPP_COPILOT_TLS_DOMAIN and ONEAPP_COPILOT_HOSTNAME say the same.",
        ),
        ({"LB_BACKENDS": "10.0.1.10:8443"}, "ONEAPP_COPILOT_LB_BACKENDS entry 1, has another form (14 characters)"),
        ({"LB_CA": "bm90aGluZw=="}, "ONEAPP_COPILOT_LB_CA must hold CA certificates"),
        ({"LB_CA": PEM}, "ONEAPP_COPILOT_LB_CA is of use with ONEAPP_COPILOT_LB_BACKENDS only."),
        ({"SERVICE_ROLE": "master"}, "ONEAPP_COPILOT_SERVICE_ROLE is 'master', and must be one of server, balancer."),
        ({"ZONE": "a b"}, "ONEAPP_COPILOT_ZONE is 'a b', and must be a name"),
        ({"COLOUR": "blue"}, "ONEAPP_COPILOT_COLOUR is not known. Known are ONEAPP_COPILOT_AI_MODEL,"),
        ({"API_KEY": KEY, "API_PASSWORD": KEY}, "ONEAPP_COPILOT_API_PASSWORD and ONEAPP_COPILOT_API_KEY say the same."),
    ],
)
def test_what_is_wrong_is_told_by_name(context, message):
    _found, problems = settings.variables({f"ONEAPP_COPILOT_{name}": value for name, value in context.items()})
    assert message in "\n".join(problems)


@pytest.mark.parametrize("name", ["API_PASSWORD", "LB_BACKENDS"])
def test_no_message_shows_a_secret(name):
    _found, problems = settings.variables({f"ONEAPP_COPILOT_{name}": "my secret@word of mine"})
    assert problems
    assert "secret" not in "\n".join(problems)
    assert "word" not in "\n".join(problems)
