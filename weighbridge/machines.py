"""The machines of a plan and the addresses of their cards: given, checked, and put into an engine's files."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadFile, BadValue, Refused, Unsupported
from weighbridge.facts import Model, Profile, Value
from weighbridge.host_setup import addresses, no_hosts, read_gateway, read_network, wrong_address
from weighbridge.render import environment, plan_json
from weighbridge.road import command_line, make_plan
from weighbridge.types import File, Order, Plan

_EXAMPLE = "192.168.100.0/24"
_FLAGS = ("nodes", "network", "gateway")


class Node(Value, frozen=True, kw_only=True):
    """One machine in a file of --nodes. `cards`: the address of each card's own network port, in their order."""

    address: str
    container: str | None = None
    cards: tuple[str, ...]


class Nodes(Value, frozen=True, kw_only=True):
    """A file of --nodes; the first machine is the one that is asked."""

    machines: tuple[Node, ...]


class CardPort(Value, frozen=True, kw_only=True):
    """A card of a machine: its number there, its number among all, the address of its network port."""

    index: int
    rank: int
    address: str


class Machine(Value, frozen=True, kw_only=True):
    """A machine of a plan, counted from 1. `container`: where the engine in its container is reached."""

    number: int
    address: str
    container: str
    cards: tuple[CardPort, ...]


def read_machines(flags: Mapping[str, Any], plan: Plan, profile: Profile) -> tuple[Machine, ...]:
    """The machines of --nodes: a file, or addresses with commas between and the --network of their cards.

    Raises BadValue, BadFile.
    """
    given = flags.get("nodes")
    if given is None:
        raise BadValue(f"{profile.id}: the addresses of its {profile.nodes} machines are not known", _hint(profile))
    nodes = _of_file(Path(given), flags) if _is_path(given) else _of_words(given.split(","), flags, profile)
    _check_counts(nodes, profile)
    _check_addresses(nodes)
    return tuple(_machine(number, node, plan.cards_per_node) for number, node in enumerate(nodes, 1))


def refuse_machines(flags: Mapping[str, Any], profile: Profile) -> None:
    """Raises BadValue when addresses were given for a plan that has no use for them."""
    for name in _FLAGS:
        if flags.get(name) is not None:
            what = "is one machine" if profile.nodes == 1 else "needs no addresses with this engine"
            raise BadValue(f"--{name} {flags[name]}: {profile.id} {what}", f"leave --{name} out")


def must_be_one(order: Order, plan: Plan, catalog: Catalog, model: Model | None, frame: Sequence[str]) -> None:
    """Raises Unsupported for a plan over several machines, with lines that do what can be done; nothing for others."""
    if plan.nodes == 1:
        return
    found, profile = [], catalog.profile(plan.profile)
    alone = msgspec.structs.replace(order, profile=plan.profile.removesuffix(f"-n{plan.nodes}"))
    with suppress(Refused):
        make_plan(alone, catalog, model)
        found.append(f"on one machine: {command_line(alone, frame).replace('invoke plan', 'invoke run', 1)}")
    line = command_line(order, frame)
    if catalog.engine(plan.engine).families[plan.family].machine_files:
        found.append(f"what its machines need: {line.replace('invoke plan', 'invoke render', 1)} {_example(profile)}")
    else:
        found.append(f"only the plan: {line}")
    message = f"{plan.profile} is {plan.nodes} machines: planned, and not started from here yet"
    raise Unsupported(message, "; ".join(found))


def render_machines(plan: Plan, machines: Sequence[Machine], catalog: Catalog) -> dict[str, File]:
    """What the machines of a plan need beside the image: the engine's own files, closed to others."""
    family = catalog.engine(plan.engine).families[plan.family]
    found = {"plan.json": File(text=plan_json(plan))}
    for name, source in {**family.config_files, **family.machine_files}.items():
        folder = catalog.engine_file(plan.engine, source).parent
        template = environment([folder, folder.parent / "_shared"]).get_template(source)
        for machine in machines if "{machine}" in name else machines[:1]:
            text = template.render(plan=plan, machines=machines, machine=machine)
            found[name.replace("{machine}", str(machine.number))] = File(text=text, private=True)
    return found


def _hint(profile: Profile) -> str:
    return f"give them: invoke render {_example(profile)}, as host-setup numbers the cards, or --nodes FILE"


def _example(profile: Profile) -> str:
    """Addresses of as many machines, to be replaced by one's own."""
    return f"--nodes {','.join(f'10.0.0.{n}' for n in range(11, 11 + profile.nodes))} --network {_EXAMPLE}"


def _is_path(given: str) -> bool:
    return given.endswith((".yaml", ".yml")) or "/" in given or Path(given).is_file()


def _of_file(path: Path, flags: Mapping[str, Any]) -> tuple[Node, ...]:
    for name in ("network", "gateway"):
        if flags.get(name) is not None:
            raise BadValue(f"--{name} and {path} both say which addresses the cards have", f"leave --{name} out")
    try:
        return convert(read_yaml(path), Nodes, path).machines
    except OSError as e:
        hint = "name a file that can be read, or the machines' addresses with commas between"
        raise BadFile(f"{path}: {e.strerror}", hint) from None


def _of_words(words: Sequence[str], flags: Mapping[str, Any], profile: Profile) -> tuple[Node, ...]:
    """Machines by their addresses; the cards' are those that host-setup gives them."""
    if flags.get("network") is None:
        hint = f"--network {_EXAMPLE}, the one of host-setup, or --nodes FILE with every card's address"
        raise BadValue(f"--nodes {','.join(words)}: and the addresses of their cards?", hint)
    network = read_network(flags["network"])
    gateway = read_gateway(flags.get("gateway"), network)
    ports = [addresses(network, gateway, profile, n) for n in range(1, profile.nodes + 1)]
    _check_length(len(words), profile)
    pairs = zip(words, ports, strict=True)
    return tuple(Node(address=word.strip(), cards=tuple(p.address for p in its)) for word, its in pairs)


def _check_length(found: int, profile: Profile) -> None:
    if found != profile.nodes:
        raise BadValue(f"--nodes names {found} machines; {profile.id} is {profile.nodes}", _hint(profile))


def _check_counts(nodes: Sequence[Node], profile: Profile) -> None:
    _check_length(len(nodes), profile)
    for number, node in enumerate(nodes, 1):
        if len(node.cards) != profile.count:
            raise BadValue(
                f"machine {number} has {len(node.cards)} card addresses; a machine of {profile.id} has {profile.count}",
                _read_with(profile),
            )


def _read_with(profile: Profile) -> str:
    """The line that prints the addresses of a machine's cards, where the family says it."""
    network = profile.family.card_network
    if network is None:
        return f"give each machine {profile.count} addresses"
    return f"read them there: {network.read_with.replace('{last}', str(profile.count - 1))}"


def _check_addresses(nodes: Sequence[Node]) -> None:
    """Every address is one that a host can have, and nobody has another's."""
    for number, node in enumerate(nodes, 1):
        _check_address(f"machine {number}", node.address)
        if node.container is not None:
            _check_address(f"the container of machine {number}", node.container)
        for index, card in enumerate(node.cards):
            _check_address(f"card {index} of machine {number}", card)
    _check_once(node.address for node in nodes)
    _check_once(node.container or node.address for node in nodes)
    _check_once([*(card for node in nodes for card in node.cards), *(node.address for node in nodes)])


def _check_address(whose: str, text: str) -> None:
    wrong = wrong_address(text)
    if not wrong and no_hosts(ipaddress.IPv4Address(text)):
        wrong = "no other machine reaches it"
    if wrong:
        raise BadValue(f"{whose}: {text!r}: {wrong}", "an address is four numbers, for example 10.0.0.11")


def _check_once(given: Iterable[str]) -> None:
    twice = [text for text, count in Counter(given).items() if count > 1]
    if twice:
        raise BadValue(f"--nodes: {twice[0]} stands twice", "every machine and every card has an address of its own")


def _machine(number: int, node: Node, cards: int) -> Machine:
    first = (number - 1) * cards
    ports = tuple(CardPort(index=i, rank=first + i, address=a) for i, a in enumerate(node.cards[:cards]))
    return Machine(number=number, address=node.address, container=node.container or node.address, cards=ports)
