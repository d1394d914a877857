"""A material network as plain data: what the stage's reader writes and the evaluation reads, maybe elsewhere.

It holds no pxr and survives JSON, because in Houdini pixels are another process's matter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CHANNELS = {"albedo": 3, "roughness": 1, "metallic": 1, "occlusion": 1, "normal": 3}
"""What a look has, with numbers per texel. Albedo is linear Rec.709, normal tangent space, OpenGL +Y."""


@dataclass(frozen=True)
class Node:
    """One step. inputs: earlier nodes of the network. settings: JSON values that the operation knows.

    operation: "constant" (`value`), "uv" (`primvar`, None for the mesh's own), "texture", or one of
    `operations.OPERATIONS`.
    """

    operation: str
    inputs: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """nodes: every input comes before what it feeds. channels: the node of each of CHANNELS."""

    nodes: tuple[Node, ...]
    channels: dict[str, int]

    def ancestors(self, node: int) -> list[int]:
        """`node` and everything it depends on, in order."""
        wanted = {node}
        for index in range(node, -1, -1):
            if index in wanted:
                wanted.update(self.nodes[index].inputs)
        return sorted(wanted)

    def is_constant(self, channel: str) -> bool:
        return all(self.nodes[index].operation != "uv" for index in self.ancestors(self.channels[channel]))

    def uv_primvars(self) -> list[str | None]:
        """The texture coordinates that the channels read, the most used ones first; [] for a plain look."""
        used = [
            self.nodes[index].settings["primvar"]
            for root in self.channels.values()
            for index in self.ancestors(root)
            if self.nodes[index].operation == "uv"
        ]
        return sorted(dict.fromkeys(used), key=lambda name: -used.count(name))

    def textures(self) -> list[Node]:
        """The texture nodes that the channels read."""
        used = {index for root in self.channels.values() for index in self.ancestors(root)}
        return [self.nodes[index] for index in sorted(used) if self.nodes[index].operation == "texture"]

    def to_json(self) -> dict[str, Any]:
        nodes = [[node.operation, list(node.inputs), node.settings] for node in self.nodes]
        return {"nodes": nodes, "channels": self.channels}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Look:
        nodes = [Node(operation, tuple(inputs), settings) for operation, inputs, settings in data["nodes"]]
        return Look(tuple(nodes), dict(data["channels"]))


class NetworkBuilder:
    """Collects nodes; what was added before, with the same inputs and settings, is not added again."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[str, int] = {}

    def add(self, operation: str, inputs: Sequence[int] = (), **settings: Any) -> int:
        key = json.dumps([operation, list(inputs), settings], sort_keys=True)
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(Node(operation, tuple(inputs), settings))
        return self._known[key]

    def constant(self, *value: float) -> int:
        return self.add("constant", value=[float(figure) for figure in value])

    def is_constant(self, node: int, *value: float) -> bool:
        """Whether `node` is the constant `value`."""
        found = self.nodes[node]
        return found.operation == "constant" and found.settings["value"] == [float(v) for v in value]
