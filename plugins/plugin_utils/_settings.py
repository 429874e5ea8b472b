# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds errors in a fleet's variables, before a host is changed.

Everything here takes and returns plain data. A problem is one sentence or two for a person:
which variable, what was wrong with it, and what to do.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.slm.copilot.plugins.module_utils._access.certificates import host_fault
from ansible_collections.slm.copilot.plugins.module_utils._access.firewall import parse_network
from ansible_collections.slm.copilot.plugins.module_utils._access.fleet_keys import expired, last_day
from ansible_collections.slm.copilot.plugins.module_utils._access.keys import key_fault
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError, kind_of
from ansible_collections.slm.copilot.plugins.module_utils._common.names import USER_NAME
from ansible_collections.slm.copilot.plugins.module_utils._model.catalogue import catalogue_problems
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import AUTO, choice_problems, speculation_problems
from ansible_collections.slm.copilot.plugins.plugin_utils._pool import parse_extra
from ansible_collections.slm.copilot.plugins.plugin_utils._turns import permits

# A name so few letters away from one of ours is a typing error, not a stranger's variable; a long one may have two of them.
TYPING_ERRORS, LONG_NAME = 2, 16

# What the appliance that came before called it, or what is planned but not there yet.
REFUSED = {
    "client_config_keys_host": "keys are on the controller; remove the variable",
    "copilot_acme": "copilot_tls_domain says it; remove the variable",
    "copilot_ai_model": "use copilot_model",
    "copilot_api_password": "use copilot_api_key",
    "copilot_balancer": "the group copilot_balancers says it; remove the variable",
    "copilot_cpu_threads": "use copilot_threads",
    "copilot_gateway": "every host has a gateway; remove the variable",
    "copilot_lb_backends": "use copilot_extra_backends",
    "copilot_local_port": "llama-server listens on a Unix socket; remove the variable",
    "copilot_monitor": "the group copilot_monitors says it; remove the variable",
    "copilot_proxy_port": "LiteLLM listens on a Unix socket; remove the variable",
    "copilot_server": "the group copilot_servers says it; remove the variable",
    "gateway_api_keys_path": "the gateway knows keys by gateway_keys; remove the variable",
    "gateway_backend_key_sha256": "use gateway_keys, with the role balancer",
    "gateway_client_key": "a certificate stands for its own name; remove the variable",
    "gateway_models": "the router says which models there are; remove the variable",
    "gateway_upstream_loads": "a gateway's upstream opens its socket when it is ready; remove the variable",
    "litellm_lb_api_keys_path": "keys are in copilot_fleet_dir; remove the variable",
    "litellm_lb_backend_keys_path": "keys are in copilot_fleet_dir; remove the variable",
    "litellm_lb_port": "LiteLLM listens on a Unix socket; remove the variable",
    "litellm_lb_user": "each service has the account that the collection makes; remove the variable",
    "llama_server_api_key": "the gateway alone knows keys; use copilot_api_key",
    "llama_server_api_keys_path": "keys are kept in copilot_fleet_dir; remove the variable",
    "llama_server_backend_key": "keys of servers are made for copilot_fleet_dir; remove the variable",
    "llama_server_host": "llama-server listens on a Unix socket; use gateway_bind",
    "llama_server_port": "llama-server listens on a Unix socket; use copilot_port",
    "llama_server_tls_ca": "the gateway holds the certificate; remove the variable",
    "llama_server_tls_certificate": "the gateway holds the certificate; use gateway_tls_certificate",
    "llama_server_tls_key": "the gateway holds the certificate; use gateway_tls_key",
    "llama_server_tls_name": "the gateway holds the certificate; remove the variable",
    "llama_server_user": "each service has the account that the collection makes; remove the variable",
    "llama_server_users": "the gateway alone knows keys; use copilot_users",
    "model_fetch_path": "a model's name in model_fetch_dir follows from the catalogue; remove the variable",
    "report_api_keys_path": "keys are in copilot_fleet_dir; remove the variable",
    "tls_acme_http_port": "the gateway has port 80; use copilot_acme_port",
    "tls_acme_restart_wait": "a renewed certificate needs no restart; remove the variable",
}

USER_KEYS = ("name", "state", "key", "admin", "expires")
RESERVED_USERS = ("shared", "balancer", "readiness")
ZONE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
ZONE_POLICIES = ("any", "prefer_local", "local_only")
MTLS_MODES = ("off", "optional", "required")
USAGE_MODES = ("off", "pseudonym", "name")
DOMAIN = re.compile(r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?")
MIN_CONTEXT = 1024
NAME_IT = "Set it, or ansible_host, to a name or address by which other machines reach the host."


def name_problems(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Returns a problem for each variable name that is misspelt, renamed or not supported.

    :param names: the names of all variables that a host has.
    :param known: the names that the roles document.
    """
    known_names = set(known)
    problems = []
    for name in sorted(names):
        if name in REFUSED:
            problems.append(f"{name} is not supported: {REFUSED[name]}.")
        elif name not in known_names and (near := _misspelt(name, known_names)):
            problems.append(f"{name} is not a variable of slm.copilot: did you mean {near}?")
    return problems


def name_warnings(names: Iterable[str], known: Iterable[str], roles: Iterable[str]) -> list[str]:
    """Returns a warning about unknown names with a prefix of ours, which may belong to others.

    :param roles: the names of the roles, with which the names of their variables begin.
    """
    known_names = set(known)
    prefixes = tuple(f"{role}_" for role in roles)
    said = []
    for name in sorted(set(names) - known_names - REFUSED.keys()):
        if name.startswith(prefixes) and not _misspelt(name, known_names):
            near = difflib.get_close_matches(name, known_names, n=1, cutoff=0.8)
            said.append(f"{name} (the nearest is {near[0]})" if near else name)
    if not said:
        return []
    return [
        f"These variables are named like those of slm.copilot, but do not exist and have no effect: {', '.join(said)}. "
        "See ansible-doc -t role slm.copilot.copilot for the existing ones, and ignore this if another role uses them."
    ]


def _misspelt(name: str, known: Iterable[str]) -> str | None:
    """Returns the documented name that a misspelt one was probably meant to be."""
    allowed = TYPING_ERRORS if len(name) >= LONG_NAME else 1
    first_word = name.partition("_")[0] + "_"
    alike = (one for one in known if one.startswith(first_word) and abs(len(one) - len(name)) <= allowed)
    distances = ((_distance(name, one), one) for one in alike)
    distance, near = min(distances, default=(allowed + 1, ""))
    return near if distance <= allowed else None


def _distance(one: str, other: str) -> int:
    """Returns how many letters must be changed, added, removed, or swapped with their neighbours."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, there in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != there)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there:
                row[j] = min(row[j], last[j - 2] + 1)
    return row[-1]


def value_problems(values: Mapping[str, Any]) -> list[str]:
    """Returns a problem for each fleet-wide setting whose value cannot work.

    :param values: the ``copilot_*`` settings and ``tls_extra_names``, templated.
    """
    return [
        *_number(values, "copilot_context_size", MIN_CONTEXT, 4194304, "tokens for each conversation slot", auto=True),
        *_number(values, "copilot_slots", 1, 256, "conversations that are processed at the same time", auto=True),
        *_slots_of_a_pool(values),
        *choice_problems(
            values.get("copilot_models", []), values.get("copilot_model"), bool(values.get("copilot_fleet_balancers"))
        ),
        *_number(values, "copilot_threads", 0, 4096, "threads; 0 means all physical cores"),
        *speculation_problems("copilot_speculation", values.get("copilot_speculation")),
        *_number(values, "copilot_drain_timeout", 0, 86400, "seconds"),
        *_number(values, "copilot_gate_slowdown", 0, 100, "percent"),
        *_batch(values.get("copilot_upgrade_batch")),
        *_number(values, "copilot_port", 1024, 65535, "a TCP port that needs no privilege"),
        *_absolute(values, "copilot_install_dir", "copilot_config_dir", "copilot_data_dir", "copilot_work_dir"),
        *_users(values.get("copilot_users"), certificate_will_do=values.get("copilot_mtls_replaces_key") is True),
        *_keys(values),
        *_number(values, "copilot_acme_port", 1024, 65535, "a TCP port that needs no privilege"),
        *_given_for_a_run(values, "copilot_drain_cuts", "copilot_force"),
        *_switches(
            values,
            "copilot_save_slots",
            "copilot_firewall",
            "copilot_monitoring",
            "copilot_tune_host",
            "copilot_mtls_replaces_key",
        ),
        *_domain(values.get("copilot_tls_domain")),
        *_names(values),
        *_virtual_ip(values),
        *_mode(values, "copilot_mtls", MTLS_MODES),
        *_number(values, "copilot_journal_days", 0, 3660, "days for which the journal keeps lines; 0 leaves journald as it is"),
        *_size(values, "copilot_journal_max_use"),
        *_mode(values, "copilot_usage", USAGE_MODES),
        *_mode(values, "copilot_access_log", USAGE_MODES),
        *_number(values, "copilot_usage_days", 1, 3660, "days for which usage is kept"),
        *_zones(values),
        *_extra_backends(values.get("copilot_extra_backends")),
        *_extra_balancers(values.get("copilot_extra_balancers")),
        *catalogue_problems(values.get("copilot_catalogue") or {}),
    ]


def _number(values: Mapping[str, Any], name: str, low: int, high: int, meaning: str, auto: bool = False) -> list[str]:
    value = values.get(name)
    if auto and value == AUTO:
        return []
    try:
        fits = not isinstance(value, bool) and low <= int(str(value)) <= high
    except ValueError:
        fits = False
    word = f", or {AUTO}" if auto else ""
    return [] if fits else [f"{name} is {value!r}: give a whole number from {low} to {high} ({meaning}){word}."]


def _size(values: Mapping[str, Any], name: str) -> list[str]:
    value = str(values.get(name))
    fits = re.fullmatch(r"|[1-9][0-9]*[MGT]", value)
    return [] if fits else [f"{name} is {value!r}: give a size with M, G or T, such as 2G, or nothing."]


def _batch(batch: Any) -> list[str]:
    try:
        permits(batch, 1)
    except CopilotError as error:
        return [f"copilot_upgrade_batch: {error}: give the maximum number of hosts in service that may restart at the same time."]
    return []


def _slots_of_a_pool(values: Mapping[str, Any]) -> list[str]:
    if values.get("copilot_slots") != AUTO or not values.get("copilot_fleet_balancers"):
        return []
    return ["copilot_slots is 'auto', and there are balancers, which must know the number: give a whole number from 1 to 256."]


def _absolute(values: Mapping[str, Any], *names: str) -> list[str]:
    # Paths are written into unit files and cmake options: keep to what needs no quoting there.
    return [
        f"{name} is {values.get(name)!r}: give an absolute path of letters, digits, dots, dashes and underscores."
        for name in names
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", str(values.get(name)))
    ]


def _keys(values: Mapping[str, Any]) -> list[str]:
    """Returns the problems of the operator's keys. No message contains a key."""
    given = {"copilot_api_key": values.get("copilot_api_key") or None}
    users = values.get("copilot_users")
    for index, user in enumerate(users if isinstance(users, list) else []):
        if isinstance(user, dict):
            given[f"copilot_users[{index}].key"] = user.get("key")
    problems = []
    owners: dict[str, str] = {}
    for where, key in given.items():
        if key is None:
            continue
        if not isinstance(key, str):
            problems.append(f"{where} is no text, but {kind_of(key)}: write it in quotes.")
        elif fault := key_fault(key):
            problems.append(f"{where} {fault}. Give another, or none to have one generated.")
        elif key in owners:
            problems.append(f"{where} is the same as {owners[key]}, so that neither could be revoked alone: give each its own.")
        else:
            owners[key] = where
    return problems


def _switches(values: Mapping[str, Any], *names: str) -> list[str]:
    return [
        f"{name} is the text {values[name]!r}: give a boolean. In an INI inventory that is True or False with a capital letter, "
        "on the command line -e with JSON."
        for name in names
        if isinstance(values.get(name), str)
    ]


def _given_for_a_run(values: Mapping[str, Any], *names: str) -> list[str]:
    """Switches that are given with ``-e NAME=true``, which makes them a text."""
    return [
        f"{name} is the text {values[name]!r}: give true or false."
        for name in names
        if isinstance(values.get(name), str) and values[name].lower() not in ("true", "false")
    ]


def _domain(domain: Any) -> list[str]:
    if not domain or (isinstance(domain, str) and len(domain) <= 253 and DOMAIN.fullmatch(domain)):
        return []
    return [
        f"copilot_tls_domain is {domain!r}: give the full name that developers connect to, such as copilot.example.com, "
        "without scheme, port or wildcard. An address has no domain: leave it empty then, and the fleet's own CA signs."
    ]


def _names(values: Mapping[str, Any]) -> list[str]:
    problems = [
        f"tls_extra_names has {name!r}, which no certificate can cover ({fault}): remove it."
        for name in values.get("tls_extra_names") or []
        if (fault := host_fault(str(name)))
    ]
    host = values.get("copilot_endpoint_host", values.get("copilot_tls_domain"))
    if host == values.get("copilot_tls_domain"):  # which has a problem of its own
        return problems
    if fault := host_fault(str(host)):
        problems.append(
            f"copilot_endpoint_host is {host!r}, which no client can connect to ({fault}). It is ansible_host, or else the name "
            "in the inventory: give the host an ansible_host, or set copilot_endpoint_host to what clients connect to."
        )
    elif values.get("copilot_fleet_balancers") and _is_this_machine(str(host)):
        problems.append(f"copilot_endpoint_host is {host!r}, and for each balancer that is its own machine. {NAME_IT}")
    return problems


def _virtual_ip(values: Mapping[str, Any]) -> list[str]:
    address = values.get("copilot_virtual_ip")
    if not address:
        return []
    try:
        found = ipaddress.ip_address(str(address))
    except ValueError:
        return [f"copilot_virtual_ip is {address!r}: give one address without the length of a network, such as 192.0.2.100."]
    if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return [f"copilot_virtual_ip is {address!r}, which nobody can connect to: give a free address of the balancers' network."]
    if len(values.get("copilot_fleet_balancers") or []) < 2:
        return [
            f"copilot_virtual_ip is {address!r}, which moves between balancers, and there is no second one: name several hosts "
            "in copilot_balancers, or remove the variable."
        ]
    return []


def _is_this_machine(host: str) -> bool:
    return host == "127.0.0.1" or host.lower() in ("localhost", "localhost.localdomain") or host.lower().endswith(".localhost")


def _mode(values: Mapping[str, Any], name: str, modes: Sequence[str]) -> list[str]:
    mode = values.get(name)
    if mode in modes:
        return []
    if mode is False:
        return [f'{name} is false, which is how YAML reads off: write {name}: "off", with quotes.']
    return [f"{name} is {mode!r}: choose one of {', '.join(modes)}."]


def _zones(values: Mapping[str, Any]) -> list[str]:
    problems = []
    policy = values.get("copilot_zone_policy")
    if policy not in ZONE_POLICIES:
        problems.append(f"copilot_zone_policy is {policy!r}: choose one of {', '.join(ZONE_POLICIES)}.")
    for name in ("copilot_zone", "copilot_extra_backends_zone"):
        zone = values.get(name)
        if zone and not (isinstance(zone, str) and ZONE.fullmatch(zone)):
            problems.append(f"{name} is {zone!r}: use letters, digits, dots, dashes and underscores.")
    return problems


def _extra_backends(entries: Any) -> list[str]:
    if not isinstance(entries, list):
        return [f"copilot_extra_backends is {kind_of(entries)}: give a list of key@host:port strings."]
    problems = []
    for number, entry in enumerate(entries, 1):
        try:
            parse_extra(entry, number)
        except CopilotError as error:
            problems.append(str(error))
    return problems


def _extra_balancers(entries: Any) -> list[str]:
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        return ["copilot_extra_balancers must be a list of mappings, each with address and key_sha256."]
    problems = []
    for number, entry in enumerate(entries, 1):
        where = f"copilot_extra_balancers, entry {number}"
        try:
            parse_network(entry.get("address"), where)
        except CopilotError as error:
            problems.append(str(error))
        if not re.fullmatch(r"[0-9a-f]{64}", str(entry.get("key_sha256"))):
            problems.append(f"{where}: key_sha256 must be a SHA-256 in 64 lower-case hexadecimal digits, not the key itself.")
    return problems


def value_warnings(values: Mapping[str, Any], now: float) -> list[str]:
    """Returns warnings about addresses that do not work for others, names without a certificate, and expired keys.

    :param values: as for :func:`value_problems`, which found nothing; and ``inventory_hostname``, the host's name.
    :param now: seconds since 1970.
    """
    return [*_this_machine(values), *_no_certificate_name(values), *_expired(values, now)]


def _no_certificate_name(values: Mapping[str, Any]) -> list[str]:
    name = str(values.get("inventory_hostname", ""))
    if not name or not (fault := host_fault(name)):
        return []
    return [
        f"The certificate lacks the host's name in the inventory, {name!r} ({fault}): no client connects by this name. Connect "
        f"to {values.get('copilot_endpoint_host')}, or give the host a name of letters, digits, dashes and dots."
    ]


def _this_machine(values: Mapping[str, Any]) -> list[str]:
    host = str(values.get("copilot_endpoint_host"))
    if not _is_this_machine(host):
        return []
    return [
        f"copilot_endpoint_host is {host!r}: developers get https://{host}:{values.get('copilot_port')}, which is their own "
        f"machine. {NAME_IT} Ignore this if everybody works on this machine."
    ]


def _expired(values: Mapping[str, Any], now: float) -> list[str]:
    ended = [f"{one['name']} (after {one['expires']})" for one in expired(values.get("copilot_users") or [], now)]
    if not ended:
        return []
    return [
        f"These keys have expired and are refused: {', '.join(ended)}. A later expires in copilot_users makes them valid again."
    ]


def _users(users: Any, certificate_will_do: bool) -> list[str]:
    if not isinstance(users, list):
        return [f"copilot_users is {kind_of(users)}: give a list such as [{{name: alice}}]."]
    problems = []
    seen: set[str] = set()
    for index, user in enumerate(users):
        where = f"copilot_users[{index}]"
        if not isinstance(user, dict) or not isinstance(user.get("name"), str):
            problems.append(f"{where} has no name: give a mapping such as {{name: alice}}.")
            continue
        name = user["name"]
        unknown = sorted(set(user) - set(USER_KEYS))
        if not USER_NAME.fullmatch(name):
            problems.append(
                f"{where}.name is {name!r}: use 1 to 64 lower-case letters, digits, dots, dashes and "
                "underscores, the first and the last one a letter or a digit."
            )
        elif name in RESERVED_USERS:
            problems.append(f"{where}.name is {name!r}, which the collection uses itself: choose another name.")
        elif name in seen:
            problems.append(f"{where}.name is {name!r}, which an earlier entry has too: name each developer once.")
        if unknown:
            problems.append(f"{where} has unknown keys ({', '.join(unknown)}): known are {', '.join(USER_KEYS)}.")
        if user.get("state", "present") not in ("present", "absent"):
            problems.append(f"{where}.state must be present or absent.")
        elif user.get("state") == "absent" and user.get("key") is not None:
            problems.append(f"{where} has a key and state: absent, which revokes the key: remove one of the two.")
        if not isinstance(user.get("admin", False), bool):
            problems.append(f"{where}.admin is {user['admin']!r}: give a boolean.")
        problems += _expiry(where, user.get("expires"), certificate_will_do)
        seen.add(name)
    return problems


def _expiry(where: str, expires: Any, certificate_will_do: bool) -> list[str]:
    if expires is None:
        return []
    try:
        last_day(expires)
    except CopilotError as error:
        return [f"{where}.expires: {error}."]
    if certificate_will_do:
        return [
            f"{where}.expires ends a key, and with copilot_mtls_replaces_key a certificate would go on without: remove one of "
            "the two, and revoke the developer's key with state: absent on that day."
        ]
    return []
