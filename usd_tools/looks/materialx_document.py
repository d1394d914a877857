"""A .mtlx file as a USD layer, for OpenUSD builds without its MaterialX plugin.

The layer has the plugin's shape: a Material for every surfacematerial below /MaterialX/Materials, whose
`outputs:mtlx:surface` leads to shaders named by MaterialX's node definitions. Node graphs are taken apart:
their nodes stand beside each other below the material, interface inputs and file prefixes resolved.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from usd_tools.errors import UserError
from usd_tools.files import inside, is_url

ROOT = "/MaterialX"
MATERIALS = f"{ROOT}/Materials"

MOST_INCLUDES = 64
DEEPEST = 150

_FIRST = "out"

_WIDTHS = {"float": 1, "integer": 1, "vector2": 2, "vector3": 3, "vector4": 4, "color3": 3, "color4": 4}


@dataclass(frozen=True)
class _Scope:
    """Where a node stands: in the document, or in a node graph.

    graph: None in the document. node: the node whose definition the graph implements, None for plain graphs.
    outer: where that node, or what is connected to the graph, stands. prefix: of the shaders' names.
    """

    graph: Any = None
    node: Any = None
    outer: _Scope | None = None
    prefix: str = ""


@dataclass(frozen=True)
class _Value:
    """An input's constant. folder: what file names are relative to."""

    type: str
    text: str
    color_space: str
    folder: Path


def read_materialx(path: str | Path, known_kinds: Collection[str]) -> Any:
    """An anonymous Sdf.Layer with the materials of a .mtlx file; its asset paths are absolute.

    known_kinds: nodes that are kept whole, by `stage_network.split_identifier`; all others that are defined
        by a graph are replaced with that graph.

    Raises:
        UserError: the file is broken, includes one outside its folder, or MaterialX is not installed.
    """
    try:
        import MaterialX as mx  # type: ignore[import-untyped]  # noqa: N813 - as in its documentation
    except ImportError as error:
        raise UserError(
            f"{path}: this build of OpenUSD cannot read it, and the package MaterialX is missing ({error}); "
            "pip install MaterialX"
        ) from None
    from pxr import Sdf, Tf, Usd, UsdGeom

    path = Path(path)
    layer = Sdf.Layer.CreateAnonymous(f"{path.stem}.usda")
    stage = Usd.Stage.Open(layer)
    try:
        document = _load(mx, path)
        stage.SetDefaultPrim(UsdGeom.Scope.Define(stage, ROOT).GetPrim())
        UsdGeom.Scope.Define(stage, MATERIALS)
        for material in document.getMaterialNodes():
            _Material(mx, document, stage, path, material, known_kinds)
    except UnicodeDecodeError:
        raise UserError(f"{path}: holds broken text; export the material again") from None
    except (
        mx.Exception,
        mx.ExceptionParseError,
        mx.ExceptionFileMissing,
        mx.ExceptionFoundCycle,
        Tf.ErrorException,
    ) as error:
        raise UserError(f"{path}: cannot be read as MaterialX ({error}); export the material again") from None
    return layer


def _load(mx: Any, path: Path) -> Any:
    """The document with MaterialX's own definitions."""
    document = mx.createDocument()
    included: list[str] = []

    def include(child: Any, name: Any, search_path: Any, options: Any) -> None:
        if len(included) >= MOST_INCLUDES:
            raise UserError(f"{path}: includes more than {MOST_INCLUDES} files; does one include itself?")
        included.append(name.asString())
        mx.readFromXmlFile(child, str(inside(path.parent, name.asString())), search_path, options)

    options = mx.XmlReadOptions()
    options.readXIncludeFunction = include
    mx.readFromXmlFile(document, str(path), mx.FileSearchPath(str(path.parent)), options)
    document.importLibrary(_definitions())
    return document


@cache
def _definitions() -> Any:
    """MaterialX's own libraries."""
    import MaterialX as mx  # noqa: N813

    libraries = mx.createDocument()
    mx.loadLibraries(mx.getDefaultDataLibraryFolders(), mx.getDefaultDataSearchPath(), libraries)
    return libraries


class _Material:
    """Writes one material's shaders into a stage."""

    def __init__(
        self, mx: Any, document: Any, stage: Any, path: Path, node: Any, known_kinds: Collection[str]
    ) -> None:
        from pxr import UsdShade

        self.mx, self.document, self.stage, self.file = mx, document, stage, path
        self.known_kinds = known_kinds
        self.path = f"{MATERIALS}/{node.getName()}"
        self._shaders: dict[tuple[str, str], Any] = {}
        self._depth = 0
        material = UsdShade.Material.Define(stage, self.path)
        found = self._resolved(node.getInput("surfaceshader"), _Scope())
        if found is not None and not isinstance(found, _Value):
            material.CreateSurfaceOutput("mtlx").ConnectToSource(found)

    def _resolved(self, port: Any, scope: _Scope) -> Any:
        """What an input or output is given: a `_Value`, a UsdShade.Output, or None."""
        if port is None:
            return None
        self._depth += 1
        if self._depth > DEEPEST:
            raise UserError(f"{self.file}: {port.getNamePath()}: its network is too deep, or a circle")
        try:
            return self._followed(port, scope)
        finally:
            self._depth -= 1

    def _followed(self, port: Any, scope: _Scope) -> Any:
        interface = port.getAttribute("interfacename")
        if interface:
            return self._interface(interface, scope)
        graph_name, node_name = port.getAttribute("nodegraph"), port.getAttribute("nodename")
        output_name = port.getAttribute("output")
        if graph_name:
            graph = self.document.getNodeGraph(graph_name)
            if graph is None:
                raise UserError(f"{self.file}: {port.getNamePath()}: there is no node graph {graph_name}")
            inner = _Scope(graph, None, scope, f"{scope.prefix}{graph_name}_")
            return self._resolved(self._output(graph, output_name), inner)
        if node_name:
            holder = self.document if scope.graph is None else scope.graph
            node = holder.getNode(node_name)
            if node is None:
                raise UserError(f"{self.file}: {port.getNamePath()}: there is no node {node_name}")
            return self._node(node, output_name, scope)
        if port.getValueString() and not port.isA(self.mx.Output):
            return self._constant(port)
        return None

    def _interface(self, name: str, scope: _Scope) -> Any:
        if scope.node is not None:
            given = scope.node.getInput(name)
            if given is not None:
                return self._resolved(given, scope.outer or _Scope())
            definition = scope.node.getNodeDef()
            fallback = definition.getActiveInput(name) if definition else None
            return self._resolved(fallback, _Scope())
        given = scope.graph.getInput(name) if scope.graph is not None else None
        return self._resolved(given, scope.outer or _Scope())

    def _output(self, graph: Any, name: str) -> Any:
        outputs = graph.getOutputs()
        found = graph.getOutput(name) if name else (outputs[0] if outputs else None)
        if found is None:
            raise UserError(f"{self.file}: {graph.getName()}: has no output {name or 'at all'}")
        return found

    def _constant(self, port: Any) -> _Value:
        origin = port.getActiveSourceUri()
        folder = Path(origin).parent if origin and Path(origin).is_absolute() else self.file.resolve().parent
        return _Value(port.getType(), port.getResolvedValueString(), port.getActiveColorSpace(), folder)

    def _node(self, node: Any, output_name: str, scope: _Scope) -> Any:
        """The output of a shader prim, or of what the node's defining graph leads to."""
        from usd_tools.looks.stage_network import split_identifier

        definition = node.getNodeDef()
        identifier = definition.getName() if definition else f"ND_{node.getCategory()}_{node.getType()}"
        if split_identifier(identifier)[0] not in self.known_kinds and definition:
            graph = definition.getImplementation()
            if graph is not None and graph.isA(self.mx.NodeGraph):
                inner = _Scope(graph, node, scope, f"{scope.prefix}{node.getName()}_")
                return self._resolved(self._output(graph, output_name), inner)
        shader = self._shader(node, identifier, scope)
        return self._typed_output(shader, node, definition, output_name or _FIRST)

    def _shader(self, node: Any, identifier: str, scope: _Scope) -> Any:
        from pxr import UsdShade

        key = (scope.prefix, node.getNamePath())
        if key not in self._shaders:
            shader = UsdShade.Shader.Define(self.stage, f"{self.path}/{scope.prefix}{node.getName()}")
            self._shaders[key] = shader
            shader.CreateIdAttr(identifier)
            for port in node.getInputs():
                self._give(shader, port, self._resolved(port, scope))
        return self._shaders[key]

    def _give(self, shader: Any, port: Any, given: Any) -> None:
        if given is None:
            return
        kind = self._sdf_type(port.getType())
        if kind is None:
            return
        attribute = shader.CreateInput(port.getName(), kind)
        if not isinstance(given, _Value):
            attribute.ConnectToSource(given)
            return
        if given.type == "surfaceshader":
            return
        attribute.Set(self._parsed(given))
        if given.color_space and given.type in ("filename", "color3", "color4"):
            attribute.GetAttr().SetColorSpace(given.color_space)

    def _typed_output(self, shader: Any, node: Any, definition: Any, name: str) -> Any:
        from pxr import Sdf

        told = definition.getActiveOutput(name) if definition else None
        kind = self._sdf_type(told.getType() if told else node.getType())
        return shader.CreateOutput(name, kind or Sdf.ValueTypeNames.Token)

    def _parsed(self, value: _Value) -> Any:
        from pxr import Gf, Sdf

        if value.type == "filename":
            text = value.text
            absolute = is_url(text) or Path(text).is_absolute()
            return Sdf.AssetPath(text if absolute else str(value.folder / text))
        if value.type in ("string", "token"):
            return value.text
        if value.type == "boolean":
            return value.text == "true"
        try:
            figures = [float(word) for word in value.text.replace(",", " ").split()]
            if len(figures) != _WIDTHS[value.type]:
                raise ValueError
        except ValueError:
            raise UserError(
                f"{self.file}: {value.text!r} is no {value.type}; export the material again"
            ) from None
        if len(figures) == 1:
            return int(figures[0]) if value.type == "integer" else figures[0]
        return {2: Gf.Vec2f, 3: Gf.Vec3f, 4: Gf.Vec4f}[len(figures)](*figures)

    @staticmethod
    def _sdf_type(name: str) -> Any:
        """None for types that no node here takes: matrices, arrays, closures."""
        from pxr import Sdf

        kinds = Sdf.ValueTypeNames
        return {
            "float": kinds.Float,
            "integer": kinds.Int,
            "boolean": kinds.Bool,
            "string": kinds.String,
            "filename": kinds.Asset,
            "color3": kinds.Color3f,
            "color4": kinds.Color4f,
            "vector2": kinds.Float2,
            "vector3": kinds.Float3,
            "vector4": kinds.Float4,
            "surfaceshader": kinds.Token,
        }.get(name)
