"""The script that prepares a host for a family's cards: numbers and addresses here, the steps in templates/_host/."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from weighbridge.catalog import MOST_NODES, Catalog
from weighbridge.errors import BadValue, Unsupported
from weighbridge.facts import Profile, Value
from weighbridge.order import read_count
from weighbridge.render import environment
from weighbridge.words import many

NETWORK = "192.168.100.0/24"  # private, for whoever prints without naming one; --apply wants it named
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")


class Port(Value, frozen=True, kw_only=True):
    """The network port of one card. `address_line`: how the tool prints it, see Setup."""

    index: int
    address: str
    address_line: str


class Setup(Value, frozen=True, kw_only=True):
    """What the templates fill in. The `…_line` are what the tool prints, without blanks and with ; at the end,
    when a setting holds."""

    profile: str
    family: str
    cards: int
    machine: int
    machines: int
    switched: bool
    ports: tuple[Port, ...]
    first: str
    netmask: str
    netmask_line: str
    gateway: str
    gateway_line: str
    watch_line: str


def read_setup(profile: Profile, flags: Mapping[str, Any]) -> Setup:
    """The Setup of a profile and the flags --network, --gateway, --machine and --apply. Raises BadValue."""
    _refuse_network(profile, flags)
    network = read_network(flags.get("network") or NETWORK)
    machine = _read_machine(flags.get("machine") or "1", profile)
    gateway = read_gateway(flags.get("gateway"), network)
    ports = addresses(network, gateway, profile, machine)
    if flags.get("apply") and profile.family.card_network and not flags.get("network"):
        raise BadValue("--apply sets addresses, and no network was named", f"for example: --network {NETWORK}")
    joined = profile.card.interconnect.kind not in ("pcie", "none")
    return Setup(
        profile=profile.id, family=profile.card.family, cards=profile.count, machine=machine, machines=profile.nodes,
        switched=joined and profile.count > 1, ports=ports, first=ports[0].address,
        netmask=str(network.netmask), netmask_line=f"netmask:{network.netmask};", gateway=str(gateway),
        gateway_line=f"defaultgateway:{gateway},", watch_line=f"address:{gateway};",
    )  # fmt: skip


def _refuse_network(profile: Profile, flags: Mapping[str, Any]) -> None:
    """Raises BadValue for addresses that no card has a port for."""
    for name in ("network", "gateway"):
        if flags.get(name) is not None and profile.family.card_network is None:
            message = f"--{name} {flags[name]}: the cards of {profile.id} have no network ports of their own"
            raise BadValue(message, f"leave --{name} out")


def _read_machine(text: str, profile: Profile) -> int:
    machine = read_count("--machine", text, "1", least=1, most=MOST_NODES)
    if machine > profile.nodes:
        more = f"{profile.id.removesuffix(f'-n{profile.nodes}')}-n{machine}"
        alone = profile.card.interconnect.kind == "none"
        hint = "leave --machine out" if alone else f"name them all: --profile {more}"
        raise BadValue(f"--machine {machine}: {profile.id} is {profile.nodes}", hint)
    return machine


def read_network(text: str) -> ipaddress.IPv4Network:
    """`10.0.0.0/24`: four numbers of 0 to 255 and a length. Raises BadValue that says what is wrong."""
    address, _, length = text.partition("/")
    wrong = wrong_address(address)
    if wrong:
        raise BadValue(f"--network {text!r}: {wrong}", f"for example: --network {NETWORK}")
    if no_hosts(ipaddress.IPv4Address(address)):
        raise BadValue(f"--network {text!r}: no other machine reaches it", f"for example: --network {NETWORK}")
    if not re.fullmatch(r"\d{1,2}", length) or not 8 <= int(length) <= 30:
        raise BadValue(f"--network {text!r} has no length of 8 to 30", f"for example: --network {address}/24")
    network = ipaddress.IPv4Network(text, strict=False)
    if str(network.network_address) != address:
        raise BadValue(f"--network {text!r} is an address in {network}", f"name the network: --network {network}")
    return network


def no_hosts(address: ipaddress.IPv4Address) -> bool:
    """Whether an address is in a range that no other machine is reached in."""
    return address in _THIS_NETWORK or address.is_loopback or address.is_multicast or address.is_reserved


def wrong_address(text: str) -> str:
    """What keeps `text` from being an IPv4 address; empty when nothing does."""
    parts = text.split(".")
    if len(parts) != 4:
        return f"an address has 4 numbers, this has {len(parts)}"
    bad = [p for p in parts if not re.fullmatch(r"0|[1-9]\d{0,2}", p) or int(p) > 255]
    return f"{bad[0]!r} is no number of 0 to 255" if bad else ""


def read_gateway(text: str | None, network: ipaddress.IPv4Network) -> ipaddress.IPv4Address:
    """The gateway that was named, else the first address of the network. Raises BadValue."""
    if text is None:
        return network[1]
    wrong = wrong_address(text)
    if wrong:
        raise BadValue(f"--gateway {text!r}: {wrong}", f"for example: --gateway {network[1]}")
    gateway = ipaddress.IPv4Address(text)
    if gateway not in network or gateway in (network.network_address, network.broadcast_address):
        raise BadValue(
            f"--gateway {text} is no address for a host in {network}", f"for example: --gateway {network[1]}"
        )
    return gateway


def addresses(
    network: ipaddress.IPv4Network, gateway: ipaddress.IPv4Address, profile: Profile, machine: int
) -> tuple[Port, ...]:
    """An address for each card of this machine: of all machines' cards in a row, the gateway left out."""
    room = network.num_addresses - 3  # less the network's own, the broadcast and the gateway
    if room < profile.cards:
        raise BadValue(
            f"{network} has room for {many(room, 'card')}; {profile.id} has {profile.cards}",
            f"a wider one: --network {network.network_address}/{max(8, 32 - (profile.cards + 3).bit_length())}",
        )
    last = (machine * profile.count) + 1
    free = [str(network[n]) for n in range(1, last + 1) if network[n] != gateway][(machine - 1) * profile.count :]
    return tuple(Port(index=i, address=a, address_line=f"ipaddr:{a};") for i, a in enumerate(free[: profile.count]))


def setup_script(setup: Setup, catalog: Catalog) -> str:
    """The script as text. Raises Unsupported for a family that needs no preparation."""
    folders = [f / "templates" / "_host" for f in catalog.folders]
    name = f"{setup.family}.sh.j2"
    if not any((f / name).is_file() for f in folders):
        raise Unsupported(f"{setup.profile}: such a host needs no preparation but Docker", "look at it: invoke doctor")
    return environment(list(reversed(folders))).get_template(name).render(setup=setup)
