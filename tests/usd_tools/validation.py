"""Whether USD, and MaterialX where there is any, find a layer valid."""

from __future__ import annotations

from pathlib import Path

from pxr import Sdf, Usd, UsdShade, UsdUtils


def validation_errors(path: Path) -> list[str]:
    """What is wrong with the layer at `path`, as USD's validators and MaterialX's own see it."""
    return _usd_errors(path) + materialx_errors(Usd.Stage.Open(str(path)))


def _usd_errors(path: Path) -> list[str]:
    """By UsdValidation where this USD has it, else by the older ComplianceChecker.

    The wheels of USD know no MaterialX nodes: those are left to MaterialX itself.
    """
    try:
        from pxr import UsdValidation
    except ImportError:
        checker = UsdUtils.ComplianceChecker(arkit=False, rootPackageOnly=False)
        checker.CheckCompliance(str(path))
        return checker.GetErrors() + checker.GetFailedChecks()
    context = UsdValidation.ValidationContext(UsdValidation.ValidationRegistry().GetOrLoadAllValidators())
    errors = context.Validate(Usd.Stage.Open(str(path)))
    return [
        error.GetErrorAsString()
        for error in errors
        if not (error.GetName() == "MissingShaderIdInRegistry" and "'ND_" in error.GetMessage())
    ]


_TYPES = {
    Sdf.ValueTypeNames.Color3f: "color3",
    Sdf.ValueTypeNames.Float: "float",
    Sdf.ValueTypeNames.Float2: "vector2",
    Sdf.ValueTypeNames.Float3: "vector3",
    Sdf.ValueTypeNames.String: "string",
    Sdf.ValueTypeNames.Asset: "filename",
    Sdf.ValueTypeNames.Token: "surfaceshader",
}


def materialx_errors(stage: Usd.Stage) -> list[str]:
    """What MaterialX says of every material's network for the render context mtlx, read as version 1.38.

    That is what USD takes networks without a version for; the library then upgrades them to its own.
    """
    problems = []
    for prim in stage.Traverse():
        if prim.IsA(UsdShade.Material) and UsdShade.Material(prim).GetSurfaceOutput("mtlx"):
            problems += _network_errors(UsdShade.Material(prim))
    return problems


def _network_errors(material: UsdShade.Material) -> list[str]:
    import MaterialX as mx  # noqa: N813 - its own short name

    library = mx.createDocument()
    mx.loadLibraries(mx.getDefaultDataLibraryFolders(), mx.getDefaultDataSearchPath(), library)
    document = mx.createDocument()
    document.setVersionString("1.38")
    shaders = [UsdShade.Shader(prim) for prim in material.GetPrim().GetChildren()]
    shaders = [shader for shader in shaders if str(shader.GetIdAttr().Get()).startswith("ND_")]
    for shader in shaders:
        kind = _TYPES[shader.GetOutput("out").GetTypeName()]
        identifier = str(shader.GetIdAttr().Get())
        category = identifier.removeprefix("ND_").removesuffix("_surfaceshader").removesuffix(f"_{kind}")
        node = document.addNode(category, shader.GetPrim().GetName(), kind)
        node.setNodeDefString(identifier)
        for shader_input in shader.GetInputs():
            value = node.addInput(shader_input.GetBaseName(), _TYPES[shader_input.GetTypeName()])
            sources = shader_input.GetConnectedSources()[0]
            if sources:
                value.setNodeName(sources[0].source.GetPrim().GetName())
            elif isinstance(shader_input.Get(), Sdf.AssetPath):
                value.setValueString(shader_input.Get().path)
                value.setColorSpace(shader_input.GetAttr().GetColorSpace())
            else:
                value.setValueString(str(shader_input.Get()))
    document.importLibrary(library)
    document.upgradeVersion()
    valid, message = document.validate()
    unknown = [node.getName() for node in document.getNodes() if node.getNodeDef() is None]
    return ([] if valid else [message]) + [f"{name}: is no node of MaterialX" for name in unknown]
