# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Determines which addresses the firewall of a host admits. Takes and returns plain data; raises CopilotError."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Union

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Resolver = Callable[[str], Iterable[str]]


def resolved(name: str) -> list[str]:
    """Returns the addresses of a name, as this machine resolves it."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


def parse_network(text: Any, where: str) -> Network:
    """Reads an address or a network.

    :param where: the variable, for the error.
    """
    if not isinstance(text, str):
        raise CopilotError(f"{where} has {text!r}: give strings, such as 10.0.0.0/8, 192.0.2.7 or fd00::/8.")
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise CopilotError(
            f"{where} has {text!r}: give an address or a network, such as 192.0.2.7, 10.0.0.0/8 or fd00::/8."
        ) from None
    raise CopilotError(
        f"{where} has {text!r}, which is an address with the length of a network: write {network} for the network, or "
        f"{text.partition('/')[0]} for the address."
    )


def host_networks(name: str, variables: Mapping[str, Any], resolve: Resolver = resolved) -> list[Network]:
    """Returns the source addresses of a host: its firewall_addresses, otherwise those of its ansible_host or name.

    :param variables: the host's variables, as an inventory has them.
    """
    if variables.get("firewall_addresses"):
        return _parsed(variables["firewall_addresses"], f"firewall_addresses of {name}")
    address = str(variables.get("ansible_host") or name)
    advice = f"Set firewall_addresses for {name} in the inventory to the addresses that it connects from."
    try:
        found = [ipaddress.ip_address(address)]
    except ValueError:
        try:
            # A scope, as in fe80::1%eth0, means something on this machine alone.
            found = [ipaddress.ip_address(one.partition("%")[0]) for one in resolve(address)]
        except (OSError, UnicodeError) as error:
            raise CopilotError(
                f"The firewall must admit {name}, but the controller cannot resolve {address!r} ({error}). {advice}"
            ) from None
    networks = [ipaddress.ip_network(one) for one in found if not one.is_loopback and not one.is_link_local]
    if not networks:
        shown = ", ".join(sorted({str(one) for one in found})) or "nothing"
        raise CopilotError(f"The firewall must admit {name}, but {address} is {shown}, which other hosts cannot reach. {advice}")
    return networks


def host_address(hosts: Mapping[str, Mapping[str, Any]], name: str, resolve: Resolver = resolved) -> str:
    """Returns the address at which others reach a host: its ansible_host or name, resolved by the controller if possible.

    A program that resolves a name when it starts does not start without a name server.
    """
    address = str(hosts.get(name, {}).get("ansible_host") or name)
    try:
        return str(host_networks(name, {"ansible_host": address}, resolve)[0].network_address)
    except CopilotError:
        return address


def sources(
    hosts: Mapping[str, Mapping[str, Any]],
    names: Collection[str],
    here: str,
    networks: Mapping[str, Any],
    lenient: bool = False,
    resolve: Resolver = resolved,
) -> dict[str, list[str]]:
    """Returns the networks that may connect to a host, each once, in a stable order.

    :param hosts: the variables of every host, by name (Ansible's hostvars).
    :param names: the hosts to admit. The host itself is skipped: its own connections use the loopback interface.
    :param here: the host whose firewall it is.
    :param networks: lists of networks, by the variable that has them.
    :param lenient: whether a host that cannot be resolved is passed over.
    :returns: ``ipv4`` and ``ipv6``; an empty list means nobody.
    """
    found = [one for variable, entries in networks.items() for one in _parsed(entries, variable)]
    for name in sorted(set(names) - {here}):
        try:
            found += host_networks(name, hosts[name], resolve)
        except CopilotError:
            if not lenient:
                raise
    return {
        "ipv4": _collapsed(one for one in found if isinstance(one, ipaddress.IPv4Network)),
        "ipv6": _collapsed(one for one in found if isinstance(one, ipaddress.IPv6Network)),
    }


def _parsed(entries: Any, where: str) -> list[Network]:
    if not isinstance(entries, list):
        raise CopilotError(f"{where} is {entries!r}: give a list of addresses and networks, such as [10.0.0.0/8, 'fd00::/8'].")
    return [parse_network(one, where) for one in entries]


def _collapsed(networks: Iterable[Any]) -> list[str]:
    return [str(one) for one in ipaddress.collapse_addresses(one for one in networks if not one.is_loopback)]
