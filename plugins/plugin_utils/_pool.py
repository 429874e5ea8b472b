# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns an inventory into the backends of a balancer. Plain data in, plain data out; problems are CopilotError."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.slm.copilot.plugins.module_utils._access.keys import key_fault
from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError, kind_of
from ansible_collections.slm.copilot.plugins.module_utils._common.names import HOST_NAME
from ansible_collections.slm.copilot.plugins.module_utils._common.urls import server_url
from ansible_collections.slm.copilot.plugins.module_utils._model.settings import AUTO, served

# What is said of a model whose settings are auto, and for which no run has planned yet.
ASSUMED = {"context_size": 32768, "slots": 1}
FORM = "key@host:port, for example sk-...@copilot.example.com:8443"


class ExtraBackend(NamedTuple):
    """A backend outside the inventory."""

    key: str
    host: str
    port: int


def url(host: str, port: int, scheme: str = "https") -> str:
    """Returns the base URL of an OpenAI-compatible API. An IPv6 address gets its brackets."""
    return f"{server_url(host, port, scheme)}/v1"


def parse_extra(text: Any, number: int) -> ExtraBackend:
    """Reads ``key@host:port``. Raises CopilotError, which shows neither the key nor what may be one.

    :param number: the place in copilot_extra_backends, from 1, for the error.
    """
    where = f"copilot_extra_backends, entry {number}"
    if not isinstance(text, str):
        raise CopilotError(f"{where}, is {kind_of(text)}; give a string {FORM}.")
    key, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (at and colon and host):
        raise CopilotError(f"{where}, has another form ({len(text)} characters); write {FORM}.")
    if host.startswith("sk-"):
        raise CopilotError(f"{where}, has a key after the @, which would be shown as a host; write {FORM}.")
    if not _is_host(host):
        raise CopilotError(f"{where}: the part between the @ and the last colon is no host name and no address; write {FORM}.")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise CopilotError(f"{where}: the part after the last colon is not a TCP port (1 to 65535); write {FORM}.")
    if fault := key_fault(key):
        raise CopilotError(f"{where}: its key {fault}; write {FORM}.")
    return ExtraBackend(key, host, int(port))


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return HOST_NAME.fullmatch(text) is not None
    return True


def zone_of(name: str, variables: Mapping[str, Any], functional: Collection[str], must_be_clear: bool) -> str:
    """Returns the zone of a host: its copilot_zone, otherwise its only group that is not functional.

    :param functional: groups that say what a host does, not where it is.
    :param must_be_clear: whether several such groups are an error; otherwise the first by name is the zone.
    """
    if variables.get("copilot_zone"):
        return str(variables["copilot_zone"])
    groups = sorted(set(variables.get("group_names") or ()) - set(functional) - {"all", "ungrouped"})
    if len(groups) > 1 and must_be_clear:
        raise CopilotError(
            f"{name} is in the groups {', '.join(groups)}, so its zone is ambiguous, and copilot_zone_policy needs it: "
            "set copilot_zone for the host or for one of these groups."
        )
    return groups[0] if groups else "default"


def pool(
    hosts: Mapping[str, Mapping[str, Any]],
    servers: Sequence[str],
    here: str,
    defaults: Mapping[str, Any],
    functional: Collection[str] = (),
    zone_policy: str = "any",
    extra: Iterable[Any] = (),
) -> dict[str, Any]:
    """Returns the zone of a balancer and its backends, without their keys.

    :param hosts: the variables of every host, by name, as an inventory has them (Ansible's hostvars).
    :param servers: names of the hosts that run llama-server. Each is a backend, also one that this run did not reach. One with
        copilot_server_ca is verified with that alone.
    :param here: name of the balancer. The server on the same host is asked by its Unix socket.
    :param defaults: what a host has that sets nothing: port (TCP), socket (path), slots, model (of a host that stands for one
        model, and of the extra backends), models (copilot_models), ca_file (path, on the balancer), extra_zone, extra_ca_file
        (path or empty).
    :param functional: groups that are no zones.
    :param zone_policy: any, prefer_local or local_only.
    :param extra: key@host:port strings.
    :returns: ``zone`` (str) and ``backends``, each with id, zone, slots (requests at a time), models (public name: name there),
        api_base (URL) and ca_file (path, or empty for a server on this host and for the system's own list); a server on this host
        also has socket (path), one with a CA of its own has ca (PEM), and one outside the fleet is foreign (bool).
    """
    clear = zone_policy != "any"
    backends = []
    for name in servers:
        variables = hosts[name]
        local = name == here
        address = str(variables.get("copilot_endpoint_host") or variables.get("ansible_host") or name)
        slots = int(variables.get("copilot_slots") or defaults["slots"])
        models = _models_of(variables, defaults)
        backends.append(
            {
                "id": name,
                "zone": zone_of(name, variables, functional, clear),
                # The models of a host share its CPUs: the largest number of slots is the host's number of concurrent requests.
                "slots": max(int(one["settings"].get("slots", slots)) for one in models),
                "models": {one["id"]: one["id"] for one in models},
                **(
                    {"api_base": "http://localhost/v1", "socket": defaults["socket"], "ca_file": ""}
                    if local
                    else {
                        "api_base": url(address, int(variables.get("copilot_port") or defaults["port"])),
                        **_verified_by(name, variables, defaults),
                    }
                ),
            }
        )
    for number, text in enumerate(extra, 1):
        one = parse_extra(text, number)
        backends.append(
            {
                "id": f"{one.host}:{one.port}",
                "zone": defaults["extra_zone"],
                "slots": int(defaults["slots"]),
                "models": {str(defaults["model"]): str(defaults["model"])},
                "api_base": url(one.host, one.port),
                "ca_file": defaults["extra_ca_file"],
                "foreign": True,
            }
        )
    ids = [str(one["id"]) for one in backends]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise CopilotError(
            f"copilot_extra_backends names {', '.join(twice)} more than once, or a host of the inventory; once is enough."
        )
    return {"zone": zone_of(here, hosts[here], functional, clear), "backends": backends}


def _verified_by(name: str, variables: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    own = str(variables.get("copilot_server_ca") or "")
    if own and ("-----BEGIN CERTIFICATE-----" not in own or "PRIVATE KEY" in own):
        raise CopilotError(f"copilot_server_ca of {name} must be CA certificates in PEM form, without a private key.")
    return {"ca_file": "", "ca": own} if own else {"ca_file": defaults["ca_file"]}


def addresses(backends: Iterable[Mapping[str, Any]]) -> list[str] | None:
    """Returns the addresses of all backends on other hosts, sorted; None where one has a name, whose address may change."""
    hosts = {str(urlsplit(one["api_base"]).hostname) for one in backends if not one.get("socket")}
    try:
        return sorted(str(ipaddress.ip_address(host)) for host in hosts)
    except ValueError:
        return None


def _models_of(variables: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the models of a host: its list, otherwise its own single model."""
    if "copilot_models" in variables:
        return served(variables["copilot_models"], str(variables.get("copilot_model") or defaults["model"]))
    if variables.get("copilot_model"):
        return served([], str(variables["copilot_model"]))
    return served(defaults.get("models", []), str(defaults["model"]))


def offered(
    hosts: Mapping[str, Mapping[str, Any]],
    servers: Sequence[str],
    plans: Mapping[str, Any],
    defaults: Mapping[str, Any],
    extra: Iterable[Any] = (),
    before: Iterable[Any] = (),
    catalogue: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Returns all models that an endpoint offers, the default one first.

    :param hosts: the variables of every host, by name.
    :param servers: names of the hosts that run llama-server behind the endpoint.
    :param plans: what the module memory_plan returned, by host; a host that this run did not plan for has none.
    :param defaults: what a host has that sets nothing: slots, context_size, model and models.
    :param extra: copilot_extra_backends, each of which stands for one model.
    :param before: what this function returned for the endpoint in an earlier run, for what is auto and was not planned now.
    :param catalogue: the models that can be chosen, by id.
    :returns: dicts with name, context_size (what a conversation can count on wherever it lands) and slots (of all hosts), and
        fim_only for a model that completes what is typed and does not chat, and tools, which is false, for one whose chat
        template shows it none.
    """
    earlier = {one["name"]: one for one in before if isinstance(one, Mapping)}
    found: dict[str, dict[str, Any]] = {}
    unplanned: set[str] = set()

    def add(name: str, settings: Mapping[str, Any], tools: Any = None) -> None:
        usual = {**ASSUMED, "context_size": earlier.get(name, ASSUMED)["context_size"]}
        context, slots = (int(usual[key] if settings[key] == AUTO else settings[key]) for key in ASSUMED)
        one = found.setdefault(name, {"name": name, "context_size": context, "slots": 0})
        if (catalogue or {}).get(name, {}).get("fim_only") is True:
            one["fim_only"] = True
        if (earlier.get(name, {}).get("tools") if tools is None else tools) is False:
            one["tools"] = False
        one["context_size"] = min(one["context_size"], context)
        one["slots"] += slots
        if settings["slots"] == AUTO:
            unplanned.add(name)

    for host in servers:
        variables = hosts[host]
        set_here = {key: variables.get(f"copilot_{key}") or defaults[key] for key in ASSUMED}
        plan, tools = ((plans.get(host) or {}).get(key) for key in ("plan", "tools"))
        for model in _models_of(variables, defaults):
            planned = (plan or {}).get("models", {}).get(model["id"], plan or {}).get("settings", {})
            shown = tools.get(model["id"]) if isinstance(tools, Mapping) else tools
            add(model["id"], {**set_here, **model["settings"], **planned}, shown)
    for _entry in extra:
        add(str(defaults["model"]), defaults)
    for name in unplanned & earlier.keys():
        found[name]["slots"] = int(earlier[name]["slots"])  # which are those of all hosts
    return sorted(found.values(), key=lambda one: one["name"] != defaults["model"])


def extra_keys(extra: Iterable[Any]) -> dict[str, str]:
    """Returns the keys of copilot_extra_backends, by the ids that ``pool`` gives them."""
    parsed = [parse_extra(text, number) for number, text in enumerate(extra, 1)]
    return {f"{one.host}:{one.port}": one.key for one in parsed}
