"""Networks from files: whatever the format, agents by name, links, and lengths that somebody named."""

import ast
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

import networkx as nx

from bayesalloc.allocators.files import read_bytes, read_text
from bayesalloc.errors import InputError, listed, quoted

SHORTEST, LONGEST = 1e-9, 2.0**24  # what a link may be long: float32 holds the cost of any way
DEEPEST = 64  # elements of XML inside each other
LONGEST_NAME = 200  # characters
ENDS = ("source", "target"), ("from", "to")  # what the columns of an edge list with a header may be called
NO_LENGTHS = {"id", "key", "label", "source", "target", "type"}  # what formats say of a link for themselves
LIKE_LENGTHS = re.compile(r"dist|leng|cost|time|duration|^(km|miles?|met(er|re)s?|m)$", re.IGNORECASE)
LISTS = ("", ".txt", ".csv", ".tsv", ".edgelist", ".edges", ".dat")  # what lists of edges are usually called
FORMATS = (
    "GraphML (.graphml, .xml), GEXF (.gexf), GML (.gml), Pajek (.net, .paj), and lists of edges, `one other [length]` a"
    " line or CSV with a header (any other name)"
)


class Network(NamedTuple):
    """A network as a file has it.

    Attributes:
        names: of its nodes, in the order of the agents.
        links: pairs of places in `names`, and the attributes of each link; there may be several between two nodes.
        directed: whether a link leads from the first to the second only.
        usual: the length of a link without one, where the format says so.
    """

    names: tuple[str, ...]
    links: list[tuple[int, int, Mapping[str, Any]]]
    directed: bool = False
    usual: float | None = None


def read_network(path: Path, agents: Sequence[str] | None = None) -> Network:
    """The network in a file, its nodes in the order of the agents.

    Nodes are sorted by their ids, the numbers in them as numbers: 1, 2, 10, or n1, n2, n10. Where ids are numbers and
    nodes have names beside them that are numbers too, they are sorted by these: programs that write GML and Pajek
    number nodes as they come.

    Args:
        path: the file; its suffix says what format it is in (see FORMATS).
        agents: the nodes' names in another order.

    Raises:
        InputError: where it cannot be read, or `agents` are not its nodes.
    """
    reader = _READERS.get(path.suffix.lower(), _edge_list)
    try:
        nodes, links, *more = reader(path)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply") from None
    except Exception as error:  # networkx and its parsers raise many kinds
        raise InputError(
            f"{path}: cannot be read as a network ({quoted(error)}); what can be read is {FORMATS}"
        ) from None
    for name in {*nodes, *nodes.values()}:
        if len(name) > LONGEST_NAME:
            raise InputError(f"{path}: has a node whose name is longer than {LONGEST_NAME} characters")
    try:
        order = _order(nodes, agents)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    place = {node: number for number, node in enumerate(order)}
    unique = len(set(nodes.values())) == len(nodes)
    named = tuple(nodes[node] if unique else node for node in order)
    return Network(named, [(place[a], place[b], about) for a, b, about in links], *more)


def lengths(network: Network, length: str | None = None) -> tuple[dict[tuple[int, int], float], str]:
    """(smaller end, larger end) -> the length of the shortest link between them; and what lengths were taken to be.

    Args:
        network: from a file.
        length: the attribute of links that is their length, or a number that all have. None: `weight`; without any
            attribute that is a number, all are 1.

    Raises:
        InputError: where it is not clear which attribute is the length, one is no length, a link joins a node to
            itself, or one has a direction.
    """
    by = _attribute(network, length)
    found: dict[tuple[int, int], float] = {}
    for one, other, about in network.links:
        between = f"the link from {_name(network, one)} to {_name(network, other)}"
        if one == other:
            raise InputError(f"{between} joins an agent to itself; a link joins two")
        value = about.get(by, network.usual if by == "weight" else None) if isinstance(by, str) else by
        number = _number(value)
        if number is None or not SHORTEST <= number < LONGEST:
            said = f"has no {by}" if value is None else f"has the length {quoted(repr(value))}"
            raise InputError(f"{between} {said}; a length is a number from {SHORTEST:g} to {LONGEST:.0f}")
        found[one, other] = min(number, found.get((one, other), number))
    both: dict[tuple[int, int], float] = {}
    for (one, other), number in found.items():
        back = found.get((other, one))
        if network.directed and back != number:
            said = "there is none back" if back is None else f"the one back is {back:g} long"
            raise InputError(
                f"the link from {_name(network, one)} to {_name(network, other)} is {number:g} long and {said};"
                " directions are not modelled: give a network without them"
            )
        ends = min(one, other), max(one, other)
        both[ends] = min(number, both.get(ends, number))
    return both, f"their '{quoted(by)}'" if isinstance(by, str) else f"{by:g} for every link"


def described(names: Sequence[str], links: Mapping[tuple[int, int], float], by: str) -> str:
    """What was understood, in one line.

    >>> described(["A", "B"], {(0, 1): 2.5}, "their 'weight'")
    "2 agents (0 is 'A', 1 is 'B'), 1 link, lengths: their 'weight' (2.5 to 2.5)"
    """
    shown = [f"{place} is '{quoted(name)}'" for place, name in enumerate(names[:4])]
    shown += ["..."] * (len(names) > 5) + [f"{len(names) - 1} is '{quoted(names[-1])}'"] * (len(names) > 4)
    who = "" if [*names] == [str(place) for place in range(len(names))] else f" ({', '.join(shown)})"
    span = f" ({min(links.values()):g} to {max(links.values()):g})" if links else ""
    count = "1 link" if len(links) == 1 else f"{len(links)} links"
    return f"{len(names)} agents{who}, {count}, lengths: {by}{span}"


def _name(network: Network, place: int) -> str:
    return f"'{quoted(network.names[place])}'"


def _number(value: Any) -> float | None:
    """The number that a value is, or that a text says."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        return None  # Python takes 1_0 for 10
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _attribute(network: Network, length: str | None) -> str | float:
    """The name of the attribute that is a link's length, or the length of all."""
    there = {name for _, _, about in network.links for name in about} - NO_LENGTHS
    if length is not None:
        number = _number(length)
        if length not in there and number is None:
            raise InputError(f"its links have no '{quoted(length)}'; they have {quoted(listed(there))}")
        return number if length not in there and number is not None else length
    numbers = {n for n in there if any(_number(about.get(n)) is not None for _, _, about in network.links)}
    unclear = {name for name in numbers if LIKE_LENGTHS.search(name)} if "weight" in there else numbers
    if unclear:
        names = quoted(listed(unclear | ({"weight"} & there)))
        raise InputError(
            f"its links have {names}, and nothing says what is their length: say the attribute that is, or 1 where"
            " every link is 1 long"
        )
    return "weight" if "weight" in there else 1.0


def _key(name: str) -> tuple[Any, ...]:
    """Sorts names with their numbers as numbers."""
    number = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", name)
    if number:
        return 0, float(name), name
    return 1, [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", name)], name


def _order(nodes: Mapping[str, str], agents: Sequence[str] | None) -> list[str]:
    """The nodes in the order of the agents; `nodes` gives each one's name."""
    unique = len(set(nodes.values())) == len(nodes)
    if agents is None:
        numbers = unique and all(_number(each) is not None for each in (*nodes, *nodes.values()))
        return sorted(nodes, key=lambda node: _key(nodes[node] if numbers else node))
    for known in ({name: node for node, name in nodes.items()}, {node: node for node in nodes}):
        if len(known) == len(nodes) and set(known) == set(agents):
            return [known[name] for name in agents]
    strange = {*agents} ^ {*nodes.values()}
    raise InputError(f"its nodes are not those of 'agents': {quoted(listed(strange))} are in one of them only")


Found = tuple[Any, ...]  # node -> its name, links between nodes, and what else a Network has


def _of_networkx(graph: nx.Graph, usual: float | None = None) -> Found:
    defaults = graph.graph.get("edge_default", {})
    labels = {str(n): str(about.get("label") or about.get("name") or n) for n, about in graph.nodes(data=True)}
    links = [(str(a), str(b), {**defaults, **about}) for a, b, about in graph.edges(data=True)]
    return labels, links, graph.is_directed(), usual


def _xml(path: Path) -> io.BytesIO:
    """The file, once it is known to be XML that is flat enough and defines no entities, which can grow without end."""
    data, depth = read_bytes(path), 0

    def opens(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise InputError(f"{path}: is nested more than {DEEPEST} deep")

    def closes(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    def entity(*_: Any) -> None:
        raise InputError(f"{path}: defines an entity of XML, which is not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.EntityDeclHandler = opens, closes, entity
    parser.Parse(data, True)  # noqa: FBT003  (expat takes its flag by place alone)
    return io.BytesIO(data)


def _graphml(path: Path) -> Found:
    return _of_networkx(nx.read_graphml(_xml(path), force_multigraph=True))


def _gexf(path: Path) -> Found:
    return _of_networkx(nx.read_gexf(_xml(path)), usual=1.0)  # of the format: files leave out weights that are 1


def _gml(path: Path) -> Found:
    text = read_text(path)
    if "multigraph" not in text:
        text = re.sub(r"\bgraph\s*\[", "graph [ multigraph 1", text, count=1)
    return _of_networkx(nx.parse_gml(text, label=None))  # pyright: ignore[reportArgumentType]  # None: by their ids


def _pajek(path: Path) -> Found:
    """Pajek's vertices, edges and arcs; a list of arcs makes the network a directed one."""
    nodes: dict[str, str] = {}
    links: list[tuple[str, str, Mapping[str, Any]]] = []
    section, directed = "", False
    for number, line in _lines(path, "%"):
        if line.startswith("*"):
            section = line.split()[0].lower()
            if section not in ("*network", "*vertices", "*edges", "*arcs"):
                raise InputError(f"{path}: line {number} begins '{quoted(section)}'; *vertices, *edges, *arcs are read")
            directed |= section == "*arcs"
            count = int(line.split()[1]) if re.fullmatch(r"\*vertices +[0-9]{1,5}( .*)?", line.lower()) else 0
            nodes |= {str(node): str(node) for node in range(1, count + 1)}  # few may have no lines of their own
            continue
        cells = next(csv.reader([" ".join(line.split())], delimiter=" "))
        if section == "*vertices":
            nodes[cells[0]] = cells[1] if len(cells) > 1 else cells[0]
            continue
        if section not in ("*edges", "*arcs") or not {*cells[:2]} <= {*nodes} or len(cells) < 2:
            raise InputError(f"{path}: line {number} is '{quoted(line)}', which joins no two of its vertices")
        about = {"weight": cells[2]} if len(cells) > 2 else {}
        links.append((cells[0], cells[1], about))
        if section == "*edges":
            links.append((cells[1], cells[0], about))
    return nodes, links, directed


def _lines(path: Path, comments: str = "#%") -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip() and line.lstrip()[0] not in comments:
            yield number, line.strip()


def _edge_list(path: Path) -> Found:
    """`one other [length]` a line, by spaces, tabs, commas or semicolons, or with columns that a header names.

    What networkx writes is read too: the attributes of a link as a dictionary at the end of its line.
    """
    rows = [(number, line, *_attributes(line)) for number, line in _lines(path)]
    sample = rows[0][2] if rows else ""
    separator = next((each for each in ",;\t" if each in sample), None)
    cells = [_cells(bare, separator) for _, _, bare, _ in rows]
    header = cells[0] if cells and _is_header(cells) else []
    lower = [name.lower() for name in header]
    one, other = next(((lower.index(a), lower.index(b)) for a, b in ENDS if {a, b} <= {*lower}), (0, 1))
    columns = header or ["", "", "weight"]
    nodes: dict[str, str] = {}
    links: list[tuple[str, str, Mapping[str, Any]]] = []
    for (number, line, _, about), row in list(zip(rows, cells, strict=True))[bool(header) :]:
        if about is None or not 2 <= len(row) <= len(columns) or (header and len(row) != len(columns)):
            shape = " ".join(header) if header else "one other [length]"
            known = "" if path.suffix.lower() in LISTS else f"; what can be read is {FORMATS}"
            raise InputError(
                f"{path}: line {number} is '{quoted(line)}', which is not of the form '{quoted(shape)}'{known}"
            )
        named = {columns[k]: value for k, value in enumerate(row) if k not in (one, other) and value}
        links.append((row[one], row[other], {**named, **about}))
        nodes |= {row[one]: row[one], row[other]: row[other]}
    sorts = [next((str(v).lower() for name, v in about.items() if name.lower() == "type"), "") for *_, about in links]
    directed = "directed" in sorts  # as Gephi says it of each link
    both = [(b, a, about) for (a, b, about), sort in zip(links, sorts, strict=True) if directed and sort != "directed"]
    return nodes, links + both, directed


def _attributes(line: str) -> tuple[str, dict[str, Any] | None]:
    """A line without the dictionary at its end, and that dictionary; None where it is none."""
    start = line.find("{")
    if start < 0:
        return line, {}
    try:
        about = ast.literal_eval(line[start:])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return line, None
    named = isinstance(about, dict) and all(isinstance(name, str) for name in about)
    return line[:start].rstrip(" ,;\t"), about if named else None


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def _is_header(cells: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names columns: by the names that ends have, or as the only one without numbers."""
    first, rest = cells[0], cells[1:]
    if any({*ends} <= {name.lower() for name in first} for ends in ENDS):
        return True

    def numbers(rows: Iterable[Sequence[str]], *columns: int) -> bool:
        return all(len(row) > max(columns) and _number(row[k]) is not None for row in rows for k in columns)

    ends = not any(numbers([first], k) for k in (0, 1)) and numbers(rest, 0, 1)
    lengths_below = len(first) > 2 and not numbers([first], 2) and numbers(rest, 2)
    joins = {*first[:2]} & {end for row in rest for end in row[:2]}  # then it is a link whose length is no number
    return bool(rest) and (ends or (lengths_below and not joins))


_READERS: Mapping[str, Callable[[Path], Found]] = {
    ".graphml": _graphml,
    ".xml": _graphml,
    ".gexf": _gexf,
    ".gml": _gml,
    ".net": _pajek,
    ".paj": _pajek,
}
