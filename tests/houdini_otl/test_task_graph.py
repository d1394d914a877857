"""Many recoveries: the TOP network's nodes and command lines, and the same chain as plain commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from texture_recovery.pipeline_commands import Training
from texture_recovery.task_graph import Asset, Batch, Variation, build, check, plain_commands, shell_script

from usd_tools.errors import UserError

TRAINING = Training("/opt/venv/bin/python", "/opt/clone dir")
BATCH = Batch(
    folder="/shows/a b",
    assets=[
        Asset("cow", "/shows/cow.usd", "/cameras/turntable", "/World/cow"),
        Asset("pig", "$HIP/pig.usd", "/cameras/turntable", "/World/pig"),
    ],
    variations=[Variation("split"), Variation("joint", ("material.model=joint", "train.batch=2"))],
    first_frame=1,
    last_frame=20,
    color_space="acescg",
    resolution=(640, 480),
)

# What each node type is known to have, of the parameters that are set; Houdini's own names.
WEDGE = r"wedgecount|wedgeattributes|name\d|type\d|values\d|strvalue\d_\d"
PARMS = {
    "wedge": WEDGE,
    "genericgenerator": "pdg_command|sequential",
    "partitionbyattribute": r"mode|attributes|name\d|type\d",
    "waitforall": "",
}


class Parm:
    def __init__(self, node: Node, name: str) -> None:
        self.node, self.name = node, name

    def set(self, value: object) -> None:
        self.node.values[self.name] = value


class Node:
    """Of a TOP network, as far as the graph is built by it."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.values: dict[str, Any] = {}
        self.above: Node | None = None
        self.children: list[Node] = []

    def createNode(self, kind: str, name: str) -> Node:  # noqa: N802 - Houdini's
        assert kind in PARMS, f"{kind} is not known to be a TOP node"
        self.children.append(Node(kind, name))
        return self.children[-1]

    def setInput(self, index: int, above: Node) -> None:  # noqa: N802
        assert index == 0
        self.above = above

    def parm(self, name: str) -> Parm | None:
        count = self.values.get("wedgeattributes", self.values.get("attributes", 0))
        match = re.fullmatch(PARMS[self.kind], name)
        number = re.search(r"\d", name)
        # Entries of a multiparm exist only after it was given their number.
        return Parm(self, name) if match and (number is None or int(number[0]) <= count) else None

    def path(self) -> str:
        return f"/tasks/{self.name}"

    def layoutChildren(self) -> None:  # noqa: N802
        return


def built(batch: Batch = BATCH) -> dict[str, Node]:
    network: Any = Node("topnet", "recovery")
    last = build(network, TRAINING, batch)
    assert last is network.children[-1]
    return {node.name: node for node in network.children}


def items(nodes: dict[str, Node]) -> list[tuple[str, list[str]]]:
    """All command lines as PDG would run them: wedges multiplied, attributes put in, partition gathered."""
    found: list[tuple[str, list[str]]] = []
    current: list[dict[str, str]] = [{}]
    for node in nodes.values():
        if node.kind == "wedge":
            rows = [
                {
                    node.values[f"name{i}"]: node.values[f"strvalue{i}_{n}"]
                    for i in range(1, node.values["wedgeattributes"] + 1)
                }
                for n in range(1, node.values["wedgecount"] + 1)
            ]
            current = [{**item, **row} for item in current for row in rows]
        elif node.kind == "partitionbyattribute":
            current = list({item[node.values["name1"]]: item for item in reversed(current)}.values())[::-1]
        elif node.kind == "genericgenerator":
            for item in current:
                line = re.sub(
                    r"`@(\w+)`", lambda match, item=item: item[match[1]], node.values["pdg_command"]
                )
                found.append((node.name, shlex.split(line)))
    return found


def test_network_is_a_chain_of_standard_nodes() -> None:
    nodes = built()
    assert [(node.name, node.kind) for node in nodes.values()] == [
        ("assets", "wedge"),
        ("frames", "wedge"),
        ("render", "genericgenerator"),
        ("all_frames", "partitionbyattribute"),
        ("convert", "genericgenerator"),
        ("settings", "wedge"),
        ("train", "genericgenerator"),
        ("import", "genericgenerator"),
        ("compare", "genericgenerator"),
        ("done", "waitforall"),
    ]
    chain = list(nodes.values())
    assert [node.above for node in chain] == [None, *chain[:-1]]
    for node in chain:
        if node.kind == "wedge":  # texts, one for each item
            count = node.values["wedgeattributes"]
            assert {node.values[f"type{i}"] for i in range(1, count + 1)} == {4}
            assert {node.values[f"values{i}"] for i in range(1, count + 1)} == {node.values["wedgecount"]}
    assert nodes["all_frames"].values == {"mode": 2, "attributes": 1, "name1": "asset", "type1": 2}
    assert "sequential" not in nodes["train"].values
    assert built(replace(BATCH, one_at_a_time=True))["train"].values["sequential"] == 1


def test_network_runs_the_plain_commands() -> None:
    plain = plain_commands(TRAINING, BATCH)
    assert sorted(command for _, command in items(built())) == sorted(plain)
    assert len(plain) == 2 * (3 + 1 + 2 * 3)


def test_plain_commands_are_the_contracts() -> None:
    commands = plain_commands(TRAINING, BATCH)[:10]
    python, tools = TRAINING.python, "/opt/clone dir/usd_tools"
    folder = "/shows/a b/cow"
    assert commands[0][:4] == [python, "-E", f"{tools}/render_turntable.py", "/shows/cow.usd"]
    assert [command[command.index("--frames") + 1] for command in commands[:3]] == ["1:8", "9:16", "17:20"]
    assert all(("--renderer husk" in " ".join(c)) and ("640x480" in c) for c in commands[:3])
    assert commands[3][4:8] == ["--images", f"{folder}/renders", "--out", f"{folder}/dataset"]
    assert commands[3][-6:] == ["--frames", "1:20", "--test-every", "8", "--colorspace", "acescg"]
    train = commands[4]
    assert train[:4] == [python, "-E", "-m", "recon.train"]
    assert train[-3:] == ["--resume", "--set", "seed=0"], "a second try goes on where the first one ended"
    assert commands[7][-3:] == ["--set", "material.model=joint", "train.batch=2"]
    assert commands[5][-4:] == ["--stage", "/shows/cow.usd", "--object", "/World/cow"]
    assert commands[6][3:] == [
        f"{folder}/split/run",
        f"{folder}/dataset",
        "--out",
        f"{folder}/split/report",
    ]


def test_settings_files_are_found_by_name_from_any_folder() -> None:
    for config, path in (("cpu.yaml", "/opt/clone dir/recon/configs/cpu.yaml"), ("/a/my.yaml", "/a/my.yaml")):
        train = plain_commands(TRAINING, replace(BATCH, config=config))[4]
        assert train[train.index("--config") + 1] == path


def test_variants_belong_to_their_asset() -> None:
    cow, pig = BATCH.assets
    batch = replace(BATCH, assets=[replace(cow, variants=("look=wet", "age=old")), pig])
    plain = plain_commands(TRAINING, batch)
    assert sorted(command for _, command in items(built(batch))) == sorted(plain)
    varied = [command for command in plain if "--variant" in command]
    assert len(varied) == 3 + 1, "renders and conversion"
    for command in varied:
        assert command[command.index("--variant") :][:4] == ["--variant", "look=wet", "--variant", "age=old"]
        assert "/shows/cow.usd" in command


def test_shell_script_stops_at_the_first_failure() -> None:
    lines = shell_script(TRAINING, BATCH).splitlines()
    assert lines[0] == "set -e"
    assert [shlex.split(line) for line in lines[1:]] == plain_commands(TRAINING, BATCH)


def test_windows_paths_survive_the_command_line() -> None:
    training = Training(r"C:\ss\.venv\Scripts\python.exe", r"C:\ss")
    line = next(iter(built_lines(training)))
    assert "\\" not in line and line.startswith("C:/ss/.venv/Scripts/python.exe -E ")


def built_lines(training: Training) -> list[str]:
    network: Any = Node("topnet", "recovery")
    build(network, training, BATCH)
    return [n.values["pdg_command"] for n in network.children if n.kind == "genericgenerator"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assets": []}, "no assets"),
        ({"variations": []}, "no variations"),
        ({"last_frame": 0}, "frames 1 to 0"),
        ({"frames_per_task": 0}, "by 0"),
        ({"assets": [Asset("a/b", "s", "/c", "/o")]}, "asset 'a/b'"),
        ({"assets": [Asset("a", "s", "/c", "/o"), Asset("A", "s", "/c", "/o")]}, "different"),
        ({"assets": [Asset("a", "s", "", "/o")]}, "expected a stage, a camera"),
        ({"assets": [Asset("a", "s", "/c", "/o", ("look",))]}, "variant 'look': expected SET=CHOICE"),
        ({"variations": [Variation("v", ())]}, "has no settings"),
        ({"variations": [Variation("v", ("a=1 b=2",))]}, "without spaces"),
        ({"variations": [Variation("v", ("a=`rm`",))]}, "quotes"),
        ({"folder": 'a"b'}, "quotes"),
    ],
)
def test_batches_that_cannot_be_written_are_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(replace(BATCH, **change))


def test_unknown_houdini_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARMS, "genericgenerator", "command")
    with pytest.raises(UserError, match="/tasks/render: has no parameter pdg_command"):
        built()
