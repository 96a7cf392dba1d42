"""Networks from files: every format, lengths by name, agents by name, and what is refused in a sentence."""

import json
import os

import networkx as nx
import pytest

import bayesalloc as ba
from bayesalloc.allocators import read_instance

TRIANGLE = {
    "agents": 3, "graph": "", "resource_types": 1, "resources": [[0], [0], [5]],
    "tasks": [{"agent": 0, "utility": 100.0, "requires": [2]}],
}  # fmt: skip


def graphml(edges, attribute="weight", kind="double", nodes="ABC", direction="undirected"):
    listed = "".join(f'<node id="{node}"/>' for node in nodes)
    lines = (f'<edge source="{a}" target="{b}"><data key="w">{w}</data></edge>' for a, b, w in edges)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        f'<key id="w" for="edge" attr.name="{attribute}" attr.type="{kind}"/><graph edgedefault="{direction}">'
        f"{listed}{''.join(lines)}</graph></graphml>"
    )


GEXF = """<?xml version='1.0' encoding='utf-8'?><gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">
<graph defaultedgetype="undirected"><nodes><node id="A" label="A"/><node id="B"/><node id="C" label="C"/></nodes>
<edges><edge source="A" target="B" id="0" weight="5.0"/><edge source="B" target="C" id="1"/></edges></graph></gexf>"""
GML = (
    'graph [ directed 0 node [ id 0 label "Hannover" ] node [ id 1 label "Ulm" ] node [ id 2 label "Essen" ]'
    " edge [ source 0 target 1 dist 249.8 ] edge [ source 1 target 2 dist 102.1 ] edge [ source 0 target 1 dist 300 ] ]"
)
PAJEK = '*vertices 3\n1 A 0.0 0.0 ellipse\n2 "B b"\n3 "C c"\n*edges\n1 2 5.0\n2 3 3.0\n'


def read(tmp_path, name, text, length=None, **changes):
    """The way from the task's agent to the one who has the items, and what was said."""
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(TRIANGLE | {"graph": name} | changes))
    problem, said = read_instance(path, length)
    assert "\n" not in said
    graph = nx.Graph()
    for (one, other), weight in zip(problem.edges.tolist(), problem.weights.tolist(), strict=True):
        graph.add_edge(one, other, weight=weight)
    return nx.dijkstra_path_length(graph, 0, 2), said


READ = {
    "GraphML": ("g.graphml", graphml([("A", "B", 5), ("B", "C", 3)]), None, 8.0),
    "text that says numbers": ("g.graphml", graphml([("A", "B", 10), ("B", "C", 10)], kind="string"), None, 20.0),
    "the shortest of parallel links": ("g.graphml", graphml([("A", "B", 5), ("A", "B", 4), ("B", "C", 3)]), None, 7.0),
    "a length by name": ("g.graphml", graphml([("A", "B", 10), ("B", "C", 10)], "distance"), "distance", 20.0),
    "every link as long": ("g.graphml", graphml([("A", "B", 10), ("B", "C", 10)], "distance"), "2.5", 5.0),
    "nodes in another order": ("g.graphml", graphml([(3, 1, 4), (1, 2, 5)], nodes="312"), None, 4.0),
    "numbers in names": ("g.xml", graphml([("n2", "n10", 4), ("n1", "n2", 5)], nodes=["n10", "n2", "n1"]), None, 9.0),
    "directed, the same both ways": (
        "g.graphml",
        graphml([("A", "B", 5), ("B", "A", 5), ("B", "C", 3), ("C", "B", 3)], direction="directed"), None, 8.0,
    ),
    "GEXF, whose weights left out are 1": ("g.gexf", GEXF, None, 6.0),
    "GML": ("g.gml", GML, "dist", 351.9),
    "Pajek": ("g.net", PAJEK, None, 8.0),
    "Pajek whose vertices have no lines": ("g.net", "*Vertices 3\n*Edges\n1 2 4\n2 3 5\n", None, 9.0),
    "Gephi's table": (
        "g.csv",
        "Source,Target,Type,Id,Weight\nA,B,Undirected,0,2\nB,C,Directed,1,3\nC,B,Directed,2,3\n", "Weight", 5.0,
    ),
    "Pajek by arcs": ("g.paj", PAJEK.replace("*edges", "*arcs") + "2 1 5.0\n3 2 3.0\n", None, 8.0),
    "GML numbered as it was written": (
        "g.gml",
        'graph [ node [ id 0 label "3" ] node [ id 1 label "1" ] node [ id 2 label "2" ]'
        " edge [ source 0 target 1 weight 4 ] edge [ source 1 target 2 weight 5 ] ]", None, 4.0,
    ),
    "an edge list from 1": ("g.txt", "3 1 4\n1 2 5\n", None, 4.0),
    "an edge list from 0": ("g.txt", "# a comment\n\n2 0 4\n0 1 5\n", None, 4.0),
    "ten as a number": ("g.txt", "10 2 4\n2 1 5\n", None, 9.0),
    "a byte-order mark": ("g.txt", b"\xef\xbb\xbf1 2 5\n3 1 4\n", None, 4.0),
    "without lengths": ("g.edges", "0 1\n1 2\n", None, 2.0),
    "a header": ("g.csv", "source,target,weight\nA,B,2\nB,C,15\n", None, 17.0),
    "another header": ("g.csv", "a;b;km\nA;B;2\nB;C;15\n", "km", 17.0),
    "columns in another order": ("g.csv", "weight,target,source\n2,A,B\n15,C,B\n", None, 17.0),
    "names with commas": ("g.csv", 'from,to,weight\n"A, a",B,2\nB,C,15\n', None, 17.0),
    "tabs": ("g.tsv", "A a\tB\t2\nB\tC\t15\n", None, 17.0),
    "as networkx writes it": ("g.edgelist", "A B {'weight': 5.0}\nB C {'weight': 3.0, 'colour': 'red'}\n", None, 8.0),
    "as networkx writes it, without attributes": ("g.edgelist", "A B {}\nB C {}\n", None, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_networks_are_read(tmp_path, case):
    name, text, length, far = READ[case]
    found, said = read(tmp_path, name, text, length)
    assert found == pytest.approx(far, rel=1e-12)
    assert said.startswith("3 agents") and "2 links" in said


def test_what_was_understood_is_said(tmp_path):
    _, said = read(tmp_path, "g.gml", GML, "dist")
    assert said == (
        "3 agents (0 is 'Hannover', 1 is 'Ulm', 2 is 'Essen'), 2 links, lengths: their 'dist' (102.1 to 249.8)"
    )


def test_the_instance_may_name_its_agents(tmp_path):
    """In any order, and its tasks by their names."""
    text, task = graphml([("A", "B", 5), ("B", "C", 3)]), [{"agent": "B", "utility": 9, "requires": [1]}]
    far, said = read(tmp_path, "g.graphml", text, agents=["B", "A", "C"], tasks=task)
    assert far == 3.0 and "0 is 'B', 1 is 'A'" in said
    assert read_instance(tmp_path / "problem.json")[0].owner.tolist() == [0]
    assert read(tmp_path, "g.gml", GML, "dist", agents=["Essen", "Ulm", "Hannover"])[0] == pytest.approx(351.9)
    named = (
        graphml([("n0", "n1", 5), ("n1", "n2", 3)], nodes=[])
        .replace(  # as igraph writes it
            "<graph ", '<key id="v" for="node" attr.name="name" attr.type="string"/><graph '
        )
        .replace(
            'undirected">',
            'undirected">' + "".join(f'<node id="n{k}"><data key="v">{"ABC"[k]}</data></node>' for k in range(3)),
        )
    )
    assert read(tmp_path, "g.graphml", named, agents=["B", "A", "C"])[0] == 3.0
    (tmp_path / "g.graphml").write_text(text)
    for agents, words in {("B", "A"): "C", ("B", "A", "D"): "C, D"}.items():
        with pytest.raises(ba.InputError, match=f"{words} are in one of them only"):
            read(tmp_path, "g.graphml", text, agents=list(agents), resources=[[1]] * len(agents))
    with pytest.raises(ba.InputError, match="'agents' has a name twice"):
        read(tmp_path, "g.graphml", text, agents=["A", "A", "B"])
    with pytest.raises(ba.InputError, match=r"tasks\[0\].agent is Z; is not among the names"):
        read(tmp_path, "g.graphml", text, agents=["A", "B", "C"], tasks=[task[0] | {"agent": "Z"}])


BOMB = '<!DOCTYPE g [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><graphml>&b;</graphml>'
REFUSED = {
    "another attribute": (
        "g.graphml", graphml([("A", "B", 5), ("B", "C", 3)], "distance"), None, ["distance", "attribute"]
    ),
    "a capital": ("g.graphml", graphml([("A", "B", 5), ("B", "C", 3)], "Weight"), None, ["have Weight", "attribute"]),
    "two that could be meant": ("g.csv", "source,target,weight,km\nA,B,1,5\nB,C,1,9\n", None, ["km, weight"]),
    "one that is not there": ("g.txt", "A B 5\nB C 3\n", "dist", ["no 'dist'", "they have weight"]),
    "one that is missing once": ("g.edgelist", "A B {'weight': 5}\nB C {}\n", None, ["'B' to 'C' has no weight"]),
    "text": ("g.csv", "source,target,weight\nA,B,far\nB,C,3\n", None, ["'A' to 'B'", "'far'", "a number"]),
    "not above zero": ("g.txt", "A B -5\nB C 3\n", None, ["'A' to 'B'", "-5"]),
    "not a number": ("g.txt", "A B nan\nB C 3\n", None, ["'A' to 'B'", "nan"]),
    "too long for float32": ("g.txt", "A B 1e300\nB C 3\n", None, ["'A' to 'B'", "1e300"]),
    "directions": (
        "g.graphml", graphml([("A", "B", 5), ("B", "A", 9), ("B", "C", 3), ("C", "B", 3)], direction="directed"), None,
        ["'A' to 'B' is 5 long and the one back is 9 long", "directions are not modelled"],
    ),
    "one way": ("g.paj", PAJEK.replace("*edges", "*arcs"), None, ["'A' to 'B b'", "there is none back"]),
    "one way in Gephi's table": (
        "g.csv", "Source,Target,Type,Weight\nA,B,Directed,2\nB,C,Undirected,3\n", "Weight", ["there is none back"],
    ),
    "a first length that is none": ("g.txt", "A B ?\nB C 3\nA C 4\n", None, ["'A' to 'B'", "'?'"]),
    "digits apart": ("g.txt", "A B 1_0\nB C 3\n", None, ["'A' to 'B'", "'1_0'"]),
    "a loop": ("g.txt", "A A 5\nB C 3\nA B 1\n", None, ["'A' to 'A'", "itself"]),
    "more nodes": ("g.txt", "A B 5\nB C 3\nC D 1\n", None, ["the graph has 4 nodes and 'agents' says 3"]),
    "fewer nodes": ("g.txt", "A B 5\n", None, ["the graph has 2 nodes and 'agents' says 3"]),
    "several parts": (
        "g.gml", GML.replace("source 0 target 1", "source 2 target 1"), "dist", ["2 parts", "'Ulm'", "from 'Hannover'"]
    ),
    "a line that is none": ("g.txt", "A B 5\nB\n", None, ["line 2 is 'B'", "one other [length]"]),
    "JSON": ("g.json", '{"nodes": [{"id": 0}], "links": []}', None, ["line 1", "what can be read is GraphML"]),
    "a row that is short": ("g.csv", "source,target,weight\nA,B,2\nB,C\n", None, ["line 3", "source target weight"]),
    "a dictionary that is none": ("g.edgelist", "A B {'weight': }\n", None, ["line 1"]),
    "not a format": ("g.gexf", "A B 5\n", None, ["cannot be read as a network", "GraphML", "GEXF", "GML", "Pajek"]),
    "not text": ("g.txt", b"\xff\xfe\x00A", None, ["not text in UTF-8"]),
    "an arc of nobody": ("g.net", PAJEK + "3 4 1\n", None, ["line 8", "no two of its vertices"]),
    "a matrix": ("g.net", "*vertices 2\n*matrix\n0 1\n1 0\n", None, ["*matrix", "*edges"]),
    "entities": ("g.graphml", BOMB, None, ["defines an entity"]),
    "entities in GEXF": ("g.gexf", BOMB, None, ["defines an entity"]),
    "XML without a bottom": ("g.graphml", "<a>" * 5_000, None, ["nested more than 64"]),
    "GML without a bottom": ("g.gml", "graph [ " + "a [ " * 20_000, None, ["g.gml"]),
    "control characters": ("g.txt", "A \x1b[2J 5\n\x1b[2J C far\n", None, ["\\x1b[2J", "'far'"]),
    "a name without an end": ("g.txt", "A" * 300 + " B 5\n", None, ["longer than 200"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_networks_are_refused_in_a_sentence(tmp_path, case):
    name, text, length, words = REFUSED[case]
    with pytest.raises(ba.InputError) as refused:
        read(tmp_path, name, text, length)
    said = str(refused.value)
    assert "problem.json" in said and all(word in said for word in words), said
    assert said.isprintable() and len(said) < 1_000


def test_what_never_ends_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("pipe.txt", "/dev/zero", "."):
        (tmp_path / "problem.json").write_text(json.dumps(TRIANGLE | {"graph": name}))
        with pytest.raises(ba.InputError, match="is not a file"):
            read_instance(tmp_path / "problem.json")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(2**40)
    for graph, path in (("large.txt", "problem.json"), ("x", "large.txt")):
        (tmp_path / "problem.json").write_text(json.dumps(TRIANGLE | {"graph": graph}))
        with pytest.raises(ba.InputError, match="more than the 33,554,432 bytes"):
            read_instance(tmp_path / path)


def test_lengths_of_edges_are_their_own(tmp_path):
    path = tmp_path / "problem.json"
    path.write_text(json.dumps({k: v for k, v in TRIANGLE.items() if k != "graph"} | {"edges": [[0, 1], [1, 2, 2]]}))
    assert read_instance(path)[1] == "3 agents, 2 links, lengths: the third number of 'edges' (1 to 2)"
    with pytest.raises(ba.InputError, match="'edges' have their lengths"):
        read_instance(path, "weight")
