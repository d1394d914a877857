"""The stage that the artist means, and writing it to a file with Houdini's own USD ROP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hou

from usd_tools.errors import UserError
from usd_tools.husk import frame_runs

_STAGE_NETWORK = "/stage"
_SCRAMBLED = (".usdnc", ".usdlc")
"""What limited licenses (Apprentice, Indie) save in place of .usd: files for Houdini alone."""


@dataclass(frozen=True)
class StageSource:
    """node: the LOP whose stage is meant. hints: prim paths or names that tell which object is meant."""

    node: hou.LopNode
    hints: tuple[str, ...]


@contextmanager
def selected_stage() -> Iterator[StageSource]:
    """The selected LOP's stage; that of the whole scene where only objects or SOPs in them are selected.

    A node inside a LOP, such as a SOP Create's, means that LOP; nothing selected means the LOP that /stage
    displays. A scene is brought into Solaris by a Scene Import that is deleted afterwards.

    Raises:
        UserError: nothing usable is selected.
    """
    selected = hou.selectedNodes()
    lops = [node for node in selected if isinstance(node, hou.LopNode)]
    chosen = next(iter([*lops, *selected]), None)
    node = displayed_lop() if chosen is None else _lop_or_object(chosen)
    if isinstance(node, hou.LopNode):
        yield StageSource(node, tuple(str(path) for path in node.lastModifiedPrims()))
    elif isinstance(node, hou.ObjNode):
        with _temporary_lop(lop_network(), "sceneimport", None) as scene:
            _set(scene, {"objects": "*"})
            yield StageSource(scene, (node.name(),))
    else:
        raise UserError(
            "select the LOP node that shows the object (or its OBJ or SOP node) in a network, and click again"
        )


def lop_at(node_path: str) -> hou.LopNode:
    """The LOP node at `node_path`.

    Raises:
        UserError: there is none.
    """
    node = hou.node(node_path)
    if not isinstance(node, hou.LopNode):
        raise UserError(
            f"{node_path}: is no LOP node of {hou.hipFile.path()}; expected one such as /stage/OUT"
        )
    return node


def write_stage(source: hou.LopNode, path: Path, frames: Sequence[int]) -> None:
    """Writes the node's stage over `frames`, flattened, to `path`.

    A LOP's stage holds the current frame only where it is time dependent, so the USD ROP cooks every frame
    and collects the time samples.

    Raises:
        UserError: it was not written, or is what the node itself reads.
    """
    stage = source.stage()  # layers live as long as it does
    if any(layer.realPath and Path(layer.realPath) == path.resolve() for layer in stage.GetUsedLayers()):
        raise UserError(f"{path}: is part of the stage of {source.path()}; choose another folder")
    del stage
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in (path, *_scrambled(path)):
        old.unlink(missing_ok=True)  # so that an old file does not pass for the new one
    first, last, step = _frame_range(frames)
    with _temporary_lop(source.parent(), "usd_rop", source) as rop:
        _set(
            rop,
            {
                "lopoutput": path.as_posix(),
                "savestyle": "flattenstage",
                "trange": 1 if last > first else 0,
                "f1": first,
                "f2": last,
                "f3": step,
                "mkpath": 1,
            },
        )
        button = rop.parm("execute")
        if button is None:
            raise UserError(
                "this Houdini's USD ROP has no Save button (execute); expected Houdini 20.5 to 22"
            )
        button.pressButton()
        told = "; ".join(rop.errors())
    for file in _scrambled(path):
        if file.is_file():
            file.unlink()
            raise UserError(
                f"{file.name}: is what this Houdini's license (Apprentice or Indie) saves in place of "
                f"{path.name}, and no other program can read it; exporting needs a license without that limit"
            )
    if told or not path.is_file():
        raise UserError(
            f"{source.path()}: its stage could not be written to {path}: {told or 'no reason given'}"
        )


def _scrambled(path: Path) -> list[Path]:
    return [path.with_suffix(suffix) for suffix in _SCRAMBLED]


def _frame_range(frames: Sequence[int]) -> tuple[int, int, int]:
    """First, last and step that cover `frames`."""
    runs = frame_runs(frames)
    return frames[0], frames[-1], runs[0][2] if len(runs) == 1 else 1


@contextmanager
def _temporary_lop(parent: hou.Node | None, kind: str, source: hou.LopNode | None) -> Iterator[hou.LopNode]:
    """A node that leaves no trace, not even in the undo history."""
    if parent is None:
        raise UserError("the selected node lies in no network; select a LOP node")
    with hou.undos.disabler():
        node = parent.createNode(kind, "texture_recovery_export", exact_type_name=False)
        try:
            if not isinstance(node, hou.LopNode):
                raise UserError(f"{parent.path()}: {kind} cannot be made there; expected a LOP network")
            if source is not None:
                node.setInput(0, source)
            yield node
        finally:
            node.destroy()


def _set(node: hou.LopNode, values: Mapping[str, int | str]) -> None:
    """Sets what the node has of these parameters; expressions such as $FSTART give way."""
    for name, value in values.items():
        parm = node.parm(name)
        if parm is not None:
            parm.deleteAllKeyframes()
            parm.set(value)


def selected_lop() -> hou.LopNode | None:
    """The selected LOP, or else the one that /stage displays."""
    selected = next((node for node in hou.selectedNodes() if isinstance(node, hou.LopNode)), None)
    return selected or displayed_lop()


def displayed_lop() -> hou.LopNode | None:
    """The LOP that /stage displays."""
    network = hou.node(_STAGE_NETWORK)
    node = network.displayNode() if isinstance(network, hou.LopNetwork) else None
    return node if isinstance(node, hou.LopNode) else None


def lop_network() -> hou.Node:
    """/stage.

    Raises:
        UserError: it was deleted.
    """
    network = hou.node(_STAGE_NETWORK)
    if network is None:
        raise UserError(f"{_STAGE_NETWORK}: is missing; make a LOP network there")
    return network


def _lop_or_object(node: hou.Node) -> hou.Node | None:
    """The LOP or the object that `node` is or lies in."""
    place: hou.Node | None = node
    while place is not None and not isinstance(place, (hou.LopNode, hou.ObjNode)):
        place = place.parent()
    return place
