"""Stands in for Houdini's `hou` in tests: the few calls at the plugin's edge, recorded, over real USD stages.

Nothing here says that Houdini behaves so. What it can promise is that calls have the signatures of Houdini's
own API: test_hou_stand_in.py compares every public one with the stubs of types-houdini.
"""

# ruff: noqa: N801, N802, N818 - the names are Houdini's
from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pxr import Sdf, Usd, UsdUtils

_ROP_PARMS = {
    "lopoutput": "",
    "savestyle": "separate",
    "trange": 0,
    "f1": 1,
    "f2": 240,
    "f3": 1,
    "execute": 0,
}
"""Those of the USD ROP that are known, with what they might be before."""

_EXPRESSIONS = {"f1", "f2"}  # $FSTART and $FEND, until they are deleted


class _Session:
    """What a test arranges and looks at."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.selected: tuple[Node, ...] = ()
        self.answers: list[Any] = []  # of the questions to come, in order
        self.messages: list[str] = []  # shown in a window
        self.reloaded: list[str] = []
        self.status: list[str] = []  # shown in the status line
        self.callbacks: list[Callable[[], None]] = []
        self.variables: dict[str, str] = {}
        self.preferences = ""
        self.frame = 1.0
        self.playbar = (1.0, 240.0)
        self.scene: Callable[[float], Usd.Stage] | None = None  # what a Scene Import sees
        self.refusal: str | Error = ""  # what the next USD ROP says instead of writing
        self.scrambled = ""  # suffix that a limited license puts in place of .usd

    def answer(self, question: str) -> Any:
        if not self.answers:
            raise AssertionError(f"nobody was to be asked: {question}")
        self.messages.append(question)
        return self.answers.pop(0)

    def tick(self) -> None:
        """One round of the event loop."""
        for callback in list(self.callbacks):
            callback()


_session = _Session()


class Error(Exception):
    def exceptionTypeName(self) -> str:
        return type(self).__name__

    def description(self) -> str:
        return "The attempted operation failed."

    def instanceMessage(self) -> str:
        return str(self)


class NodeError(Error):
    pass


class OperationFailed(Error):
    pass


class OperationInterrupted(Error):
    pass


class severityType:
    Message = "severityType.Message"
    Error = "severityType.Error"


class fileType:
    Directory = "fileType.Directory"


class Parm:
    def __init__(self, node: OpNode, name: str, value: Any) -> None:
        self._node, self._name, self._value = node, name, value
        self._expression = name in _EXPRESSIONS

    def set(self, value: Any, language: Any = None, follow_parm_reference: bool = True) -> None:
        if self._expression:
            raise OperationFailed(f"{self._name}: has an expression")
        if isinstance(self._value, str) != isinstance(value, str):
            raise OperationFailed(f"{self._name}: {value!r} is of the wrong kind")
        self._value = value

    def deleteAllKeyframes(self) -> None:
        self._expression = False

    def pressButton(self, arguments: Mapping[str, Any] = {}) -> None:
        self._node._pressed(self._name)


class Node:
    def __init__(self, path: str, kind: str = "") -> None:
        self._path, self._kind, self._errors = path, kind, list[str]()
        self._input: Node | None = None
        _session.nodes[path] = self

    def name(self) -> str:
        return self._path.rsplit("/", 1)[-1]

    def path(self) -> str:
        return self._path

    def parent(self) -> Node | None:
        return _session.nodes.get(self._path.rsplit("/", 1)[0])

    def errors(self) -> tuple[str, ...]:
        return tuple(self._errors)

    def setInput(self, input_index: int, item_to_become_input: Node | None, output_index: int = 0) -> None:
        self._input = item_to_become_input


class OpNode(Node):
    def __init__(self, path: str, kind: str = "", parms: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, kind)
        self._parms = {name: Parm(self, name, value) for name, value in (parms or {}).items()}

    def parm(self, parm_path: str) -> Parm | None:
        return self._parms.get(parm_path)

    def destroy(self, disable_safety_checks: bool = False) -> None:
        del _session.nodes[self._path]

    def evalParm(self, parm_path: str) -> Any:
        return self._parms[parm_path]._value

    def evalParmTuple(self, parm_path: str) -> tuple[Any, ...]:
        return tuple(self._parms[parm_path]._value)

    def moveToGoodPosition(
        self,
        relative_to_inputs: bool = True,
        move_inputs: bool = True,
        move_outputs: bool = True,
        move_unconnected: bool = True,
    ) -> None:
        return

    def setCurrent(self, on: bool, clear_all_selected: bool = False) -> None:
        _session.selected = (self,)

    def createNode(
        self,
        node_type_name: str,
        node_name: str | None = None,
        run_init_scripts: bool = True,
        load_contents: bool = True,
        exact_type_name: bool = False,
        force_valid_node_name: bool = False,
    ) -> OpNode:
        path = f"{self._path}/{node_name or node_type_name}"
        while path in _session.nodes:
            path += "1"
        if node_type_name == "usd_rop":
            return LopNode(path, node_type_name, _ROP_PARMS)
        if node_type_name == "sceneimport":
            return LopNode(path, node_type_name, {"objects": ""}, _session.scene)
        if node_type_name == "texture_recovery::import_recovered":
            return LopNode(path, node_type_name, {"layer": "", "show": "recovered", "object_path": ""})
        raise OperationFailed(f"Invalid node type name {node_type_name}")

    def _pressed(self, button: str) -> None:
        raise AssertionError(f"{self._kind} has no button {button}")


class LopNode(OpNode):
    def __init__(
        self,
        path: str,
        kind: str = "",
        parms: Mapping[str, Any] | None = None,
        stage_at: Callable[[float], Usd.Stage] | None = None,
        modified: Sequence[str] = (),
    ) -> None:
        super().__init__(path, kind, parms)
        self._stage_at, self._modified = stage_at, modified
        self._editable: Usd.Stage | None = None  # during the cook
        self._held: list[Sdf.Layer] = []

    def stage(
        self,
        output_index: int = -1,
        apply_viewport_overrides: bool = False,
        ignore_errors: bool = False,
        use_last_cook_context_options: bool = True,
        apply_post_layers: bool = True,
        frame: float | None = None,
        context_options: Mapping[str, Any] = {},
    ) -> Usd.Stage:
        if self._stage_at is None and isinstance(self._input, LopNode):
            return self._input.stage(frame=frame)  # nothing cooks: what it changes is not seen
        assert self._stage_at is not None, f"{self._path} has no stage"
        assert self._kind != "sceneimport" or self.evalParm("objects") == "*", "nothing is imported"
        return self._stage_at(_session.frame if frame is None else frame)

    def setDisplayFlag(self, on: bool) -> None:
        network = self.parent()
        if isinstance(network, LopNetwork):
            network._displayed = self

    def editableStage(self) -> Usd.Stage | None:
        """The input's stage below a layer of the node's own, which is the edit target."""
        if self._editable is None:
            root = Sdf.Layer.CreateAnonymous("root.usda")
            active = Sdf.Layer.CreateAnonymous("active.usda")
            source = self._input
            below = source.stage().GetRootLayer().identifier if isinstance(source, LopNode) else None
            root.subLayerPaths = [active.identifier, *([below] if below else [])]
            self._editable = Usd.Stage.Open(root)
            self._editable.SetEditTarget(active)
        return self._editable

    def addSubLayer(self, identifier: str) -> None:
        if self._editable is None:
            raise OperationFailed("editableStage was not called before")
        self._editable.GetRootLayer().subLayerPaths.insert(0, identifier)

    def setLastModifiedPrims(self, primPaths: Sequence[str]) -> None:
        self._modified = primPaths

    def lastModifiedPrims(self) -> tuple[Sdf.Path, ...]:
        return tuple(Sdf.Path(path) for path in self._modified)

    def _pressed(self, button: str) -> None:
        """The USD ROP: cooks its input frame by frame and collects the time samples in one flat file."""
        assert (self._kind, button) == ("usd_rop", "execute"), f"{self._kind}.{button}"
        value = {name: parm._value for name, parm in self._parms.items()}
        assert value["savestyle"] == "flattenstage", value["savestyle"]
        if isinstance(_session.refusal, Error):
            raise _session.refusal
        if _session.refusal:
            self._errors.append(_session.refusal)
            return
        source = self._input
        assert isinstance(source, LopNode), "the USD ROP has no input"
        frames = [_session.frame]
        if value["trange"] == 1:
            frames = [float(f) for f in range(value["f1"], value["f2"] + 1, value["f3"])]
        collected = source.stage(frame=frames[0]).Flatten()
        for frame in frames[1:]:
            UsdUtils.StitchLayers(collected, source.stage(frame=frame).Flatten())
        collected.Export(value["lopoutput"])
        if _session.scrambled:
            Path(value["lopoutput"]).rename(Path(value["lopoutput"]).with_suffix(_session.scrambled))


class LopNetwork(OpNode):
    _displayed: Node | None = None

    def displayNode(self) -> Node | None:
        return self._displayed


class ObjNode(OpNode):
    pass


class SopNode(OpNode):
    pass


class ui:
    @staticmethod
    def displayMessage(
        text: str,
        buttons: Sequence[str] = ("OK",),
        severity: Any = severityType.Message,
        default_choice: int = 0,
        close_choice: int = -1,
        help: str | None = None,
        title: str | None = None,
        details: str | None = None,
        details_label: str | None = None,
        details_expanded: bool = False,
        suppress: Any = None,
    ) -> int:
        """The answer to come is a button's label; a message with one button needs none."""
        if len(buttons) == 1:
            _session.messages.append(text)
            return 0
        return list(buttons).index(_session.answer(text))

    @staticmethod
    def readMultiInput(
        text: str,
        input_labels: Sequence[str],
        password_input_indices: Sequence[int] = (),
        buttons: Sequence[str] = ("OK",),
        severity_type: Any = severityType.Message,
        default_choice: int = 0,
        close_choice: int = -1,
        help: str | None = None,
        title: str | None = None,
        initial_contents: Sequence[str] = (),
    ) -> tuple[int, tuple[str, ...]]:
        """The answer to come is what is changed in the fields, by label; None for Cancel."""
        changes = _session.answer(text)
        contents = tuple(initial_contents)
        if changes is None:
            return close_choice, contents
        unknown = set(changes).difference(input_labels)
        assert not unknown, f"no field {unknown}"
        return 0, tuple(changes.get(label, old) for label, old in zip(input_labels, contents))

    @staticmethod
    def selectFromList(
        choices: Sequence[str],
        default_choices: Sequence[int] = (),
        exclusive: bool = False,
        message: str | None = None,
        title: str | None = None,
        column_header: str = "Choices",
        num_visible_rows: int = 10,
        clear_on_cancel: bool = False,
        width: int = 0,
        height: int = 0,
        sort: bool = False,
        condense_paths: bool = False,
    ) -> tuple[int, ...]:
        """The answer to come is a choice, a list of them, "default", or None for Cancel."""
        answer = _session.answer(message or "")
        if answer is None:
            return () if clear_on_cancel else tuple(default_choices)
        if answer == "default":
            return tuple(default_choices)
        chosen = [answer] if isinstance(answer, str) else answer
        assert len(chosen) == 1 or not exclusive
        return tuple(list(choices).index(choice) for choice in chosen)

    @staticmethod
    def selectFile(
        start_directory: str | None = None,
        title: str | None = None,
        collapse_sequences: bool = False,
        file_type: Any = None,
        pattern: str | None = None,
        default_value: str | None = None,
        multiple_select: bool = False,
        image_chooser: bool = False,
        chooser_mode: Any = None,
        width: int = 0,
        height: int = 0,
    ) -> str:
        """The answer to come is the path; "" for Cancel."""
        return str(_session.answer(title or ""))

    @staticmethod
    def setStatusMessage(message: str, severity: Any = severityType.Message) -> None:
        _session.status.append(message)

    @staticmethod
    def addEventLoopCallback(callback: Callable[[], None]) -> None:
        _session.callbacks.append(callback)

    @staticmethod
    def removeEventLoopCallback(callback: Callable[[], None]) -> None:
        if callback not in _session.callbacks:
            raise OperationFailed("callback was not registered")
        _session.callbacks.remove(callback)


class text:
    @staticmethod
    def expandString(str: str, expand_tilde: bool = True) -> str:
        return string.Template(str).safe_substitute(_session.variables)


class undos:
    @staticmethod
    def disabler() -> AbstractContextManager[None]:
        return nullcontext()


class playbar:
    @staticmethod
    def frameRange() -> tuple[float, ...]:
        return _session.playbar


class lop:
    @staticmethod
    def reloadLayer(layer_path: str, recursive: bool = False) -> None:
        _session.reloaded.append(layer_path)


class hipFile:
    @staticmethod
    def path() -> str:
        return str(Path(_session.variables.get("HIP", "")) / "untitled.hip")


def node(path: str) -> Node | None:
    return _session.nodes.get(path)


def selectedNodes(include_hidden: bool = False) -> tuple[Node, ...]:
    return _session.selected


def frame(full_precision: bool = False) -> float:
    return _session.frame


def getenv(name: str, default_value: str | None = None) -> str | None:
    return _session.variables.get(name, os.environ.get(name, default_value))


def homeHoudiniDirectory() -> str:
    return _session.preferences
