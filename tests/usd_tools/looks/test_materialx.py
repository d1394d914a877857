"""MaterialX networks by way of .mtlx files: nodes, graphs, includes, color spaces, surfaces, refusals."""

import colorsys
import json
import re
import sys

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdShade

from tests.usd_tools.looks.documents import PICTURE, SIZE, document, open_quad, write_picture, write_stage
from usd_tools.color import srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.looks.evaluation import UvGrid, evaluate
from usd_tools.looks.network import Look
from usd_tools.looks.reading import read_look
from usd_tools.looks.stage_network import split_identifier
from usd_tools.stage import find_mesh, open_stage

ACES_WEIGHTS = np.array([0.2722287, 0.6740818, 0.0536895])


def channel(folder, text, name="albedo"):
    """A channel's values at the picture's own texels."""
    mesh = open_quad(folder, text)
    return evaluate(read_look(mesh, 1), name, UvGrid((0.0, 0.0), (1.0, 1.0), SIZE, SIZE))


def node(category, inputs, name="n", kind="color3"):
    """An element with inputs given as `name=node` or `name:type=value`."""
    lines = []
    for told in inputs.split(";"):
        left, _, value = told.strip().partition("=")
        port, _, port_type = left.partition(":")
        if port_type:
            lines.append(f'<input name="{port}" type="{port_type}" value="{value}" />')
        else:
            lines.append(f'<input name="{port}" type="color3" nodename="{value}" />')
    return f'<{category} name="{name}" type="{kind}">{"".join(lines)}</{category}>'


RESULT = '<output name="result" type="color3" nodename="n" />'


def by_pixel(function, picture):
    return np.array([function(*color) for color in picture.reshape(-1, 3)]).reshape(picture.shape)


def turned_hue(red, green, blue, turn, saturation=1.0, value=1.0):
    h, s, v = colorsys.rgb_to_hsv(red, green, blue)
    return colorsys.hsv_to_rgb(h + turn, s * saturation, v * value)


@pytest.mark.parametrize(
    "nodes, expected",
    [
        (node("add", "in1=picture;in2:color3=0.1, 0.2, 0.3"), lambda p: p + np.array([0.1, 0.2, 0.3])),
        (node("subtract", "in1=picture;in2:color3=0.1, 0.2, 0.3"), lambda p: p - [0.1, 0.2, 0.3]),
        (node("multiply", "in1=picture;in2:float=0.25"), lambda p: p * 0.25),
        (node("divide", "in1=picture;in2:color3=2, 4, 0"), lambda p: p / [2, 4, np.inf]),
        (node("power", "in1=picture;in2:float=2"), lambda p: p**2),
        (node("invert", "in=picture"), lambda p: 1 - p),
        (node("clamp", "in=picture;low:float=0.3;high:float=0.6"), lambda p: np.clip(p, 0.3, 0.6)),
        (
            node("mix", "fg:color3=1, 0, 0;bg=picture;mix:float=0.25"),
            lambda p: 0.75 * p + [0.25, 0, 0],
        ),
        (
            node("remap", "in=picture;inlow:float=0.5;inhigh:float=1;outlow:float=2;outhigh:float=4"),
            lambda p: 2 + (p - 0.5) / 0.5 * 2,
        ),
        (
            node("range", "in=picture;gamma:float=2;outhigh:float=0.5;doclamp:boolean=true"),
            lambda p: np.clip(0.5 * p**0.5, 0, 0.5),
        ),
        (
            node("smoothstep", "in=picture;low:float=0.2;high:float=0.8"),
            lambda p: np.interp(p, [0.2, 0.8], [0, 1]) ** 2 * (3 - 2 * np.interp(p, [0.2, 0.8], [0, 1])),
        ),
        (node("contrast", "in=picture;amount:float=2;pivot:float=0.4"), lambda p: (p - 0.4) * 2 + 0.4),
        (node("luminance", "in=picture"), lambda p: np.repeat(p @ ACES_WEIGHTS[:, None], 3, axis=-1)),
        (
            node("saturate", "in=picture;amount:float=0.5"),
            lambda p: 0.5 * (p + p @ ACES_WEIGHTS[:, None]),
        ),
        (node("rgbtohsv", "in=picture"), lambda p: by_pixel(colorsys.rgb_to_hsv, p)),
        (node("hsvtorgb", "in=picture"), lambda p: by_pixel(colorsys.hsv_to_rgb, p)),
        (
            node("hsvadjust", "in=picture;amount:vector3=0.3, 0.5, 2"),
            lambda p: by_pixel(lambda r, g, b: turned_hue(r, g, b, 0.3, 0.5, 2), p),
        ),
        (
            node(
                "colorcorrect",
                "in=picture;hue:float=0.1;gamma:float=2;lift:float=0.1;gain:float=0.5;contrast:float=2;"
                "exposure:float=1",
            ),
            lambda p: (
                (
                    ((by_pixel(lambda r, g, b: turned_hue(r, g, b, 0.1), p) ** 0.5 * 0.9 + 0.1) * 0.5 - 0.5)
                    * 2
                    + 0.5
                )
                * 2
            ),
        ),
        (node("max", "in1=picture;in2:float=0.5"), lambda p: np.maximum(p, 0.5)),
        (
            '<extract name="e" type="float"><input name="in" type="color3" nodename="picture" />'
            '<input name="index" type="integer" value="1" /></extract>'
            '<convert name="n" type="color3"><input name="in" type="float" nodename="e" /></convert>',
            lambda p: p[..., [1, 1, 1]],
        ),
        (
            '<separate3 name="s" type="multioutput"><input name="in" type="color3" nodename="picture" />'
            '</separate3><combine3 name="n" type="color3">'
            '<input name="in1" type="float" nodename="s" output="outb" />'
            '<input name="in2" type="float" nodename="s" output="outr" />'
            '<input name="in3" type="float" value="0.5" /></combine3>',
            lambda p: np.stack([p[..., 2], p[..., 0], np.full(p.shape[:2], 0.5)], axis=-1),
        ),
        (
            '<swizzle name="n" type="color3"><input name="in" type="color3" nodename="picture" />'
            '<input name="channels" type="string" value="bgr" /></swizzle>',
            lambda p: p[..., ::-1],
        ),
        (
            '<ifgreater name="n" type="color3"><input name="value1" type="float" value="2" />'
            '<input name="value2" type="float" value="1" />'
            '<input name="in1" type="color3" nodename="picture" /></ifgreater>',
            lambda p: p,
        ),
        (
            '<constant name="n" type="color3"><input name="value" type="color3" value="0.2, 0.4, 0.6" />'
            "</constant>",
            lambda p: np.broadcast_to([0.2, 0.4, 0.6], p.shape),
        ),
        (
            '<constant name="n" type="color3">'
            '<input name="value" type="color3" value="0.2, 0.4, 0.6" colorspace="srgb_texture" /></constant>',
            lambda p: np.broadcast_to(srgb_to_linear(np.array([0.2, 0.4, 0.6])), p.shape),
        ),
    ],
)
def test_arithmetic(tmp_path, nodes, expected):
    picture = write_picture(tmp_path)
    found = channel(tmp_path, document(PICTURE + nodes + RESULT))
    np.testing.assert_allclose(found, expected(picture.astype(float)), atol=2e-6)


@pytest.mark.parametrize(
    "space, expected",
    [
        ("srgb_texture", srgb_to_linear),
        ("lin_rec709", lambda p: p),
        ("g22_rec709", lambda p: p**2.2),
        # White is white in every space, and the channel sums tell the matrices apart.
        (
            "acescg",
            lambda p: (
                p
                @ np.array(
                    [
                        [1.70505, -0.62179, -0.08326],
                        [-0.13026, 1.14080, -0.01055],
                        [-0.02400, -0.12897, 1.15297],
                    ]
                ).T
            ),
        ),
    ],
)
def test_texture_color_spaces(tmp_path, space, expected):
    picture = write_picture(tmp_path)
    graph = PICTURE.replace('colorspace="none"', f'colorspace="{space}"').replace(
        'name="picture"', 'name="n"'
    )
    np.testing.assert_allclose(
        channel(tmp_path, document(graph + RESULT)), expected(picture.astype(float)), atol=2e-4
    )


@pytest.mark.parametrize(
    "coordinates, source",
    [
        # place2d divides by the scale: twice the size shows the picture's lower left quarter.
        ('<input name="scale" type="vector2" value="2, 2" />', lambda u, v: (u / 2, v / 2)),
        ('<input name="offset" type="vector2" value="0.25, 0.5" />', lambda u, v: (u - 0.25, v - 0.5)),
        ('<input name="rotate" type="float" value="90" />', lambda u, v: (v, -u)),
        (
            '<input name="pivot" type="vector2" value="0.5, 0.5" />'
            '<input name="rotate" type="float" value="90" />'
            '<input name="scale" type="vector2" value="1, -1" />',
            lambda u, v: (0.5 - (v - 0.5), 0.5 - (u - 0.5)),
        ),
    ],
)
def test_place2d(tmp_path, coordinates, source):
    picture = write_picture(tmp_path)
    graph = f"""<texcoord name="st" type="vector2" />
<place2d name="place" type="vector2">
  <input name="texcoord" type="vector2" nodename="st" />{coordinates}
</place2d>
<image name="n" type="color3">
  <input name="file" type="filename" value="picture.png" />
  <input name="texcoord" type="vector2" nodename="place" />
</image>"""
    found = channel(tmp_path, document(graph + RESULT).replace("lin_rec709", "none"))
    for row, column in ((1, 2), (6, 3), (4, 7)):
        u, v = source((column + 0.5) / SIZE, 1 - (row + 0.5) / SIZE)
        x, y = u * SIZE - 0.5, (1 - v) * SIZE - 0.5
        left, top = int(np.floor(x)), int(np.floor(y))
        corners = [
            picture[(top + j) % SIZE, (left + i) % SIZE] * abs(1 - i - (x - left)) * abs(1 - j - (y - top))
            for i in (0, 1)
            for j in (0, 1)
        ]
        np.testing.assert_allclose(found[row, column], sum(corners), atol=1e-5)


def test_tiled_images(tmp_path):
    picture = write_picture(tmp_path)
    graph = """<tiledimage name="n" type="color3">
  <input name="file" type="filename" value="picture.png" />
  <input name="uvtiling" type="vector2" value="2, 1" />
  <input name="uvoffset" type="vector2" value="0, 0.5" />
</tiledimage>"""
    mesh = open_quad(tmp_path, document(graph + RESULT).replace("lin_rec709", "none"))
    look = read_look(mesh, 1)
    found = evaluate(look, "albedo", UvGrid((0.0, 0.0), (1.0, 1.0), SIZE, 2 * SIZE))
    shifted = np.roll(picture, -SIZE // 2, axis=0)
    np.testing.assert_allclose(found, np.concatenate([shifted, shifted], axis=1), atol=1e-6)


MAPS = """
<image name="c" type="color3"><input name="file" type="filename" value="picture.png" /></image>
<image name="r" type="float"><input name="file" type="filename" value="rough.png" /></image>
<image name="v" type="vector3"><input name="file" type="filename" value="normal.png" /></image>
<normalmap name="m" type="vector3"><input name="in" type="vector3" nodename="v" />{scale}</normalmap>
<output name="result" type="color3" nodename="c" />
<output name="rough" type="float" nodename="r" />
<output name="bent" type="vector3" nodename="m" />
"""


@pytest.mark.parametrize(
    "surface, weight, metal, rough, normal",
    [
        ("standard_surface", "base", "metalness", "specular_roughness", "normal"),
        ("open_pbr_surface", "base_weight", "base_metalness", "specular_roughness", "geometry_normal"),
        ("gltf_pbr", None, "metallic", "roughness", "normal"),
    ],
)
def test_surfaces(tmp_path, surface, weight, metal, rough, normal):
    picture = write_picture(tmp_path)
    roughness = write_picture(tmp_path, "rough.png", seed=2)
    bent = write_picture(tmp_path, "normal.png", seed=3)
    inputs = f"""<input name="{metal}" type="float" value="0.75" />
    <input name="{rough}" type="float" nodegraph="graph" output="rough" />
    <input name="{normal}" type="vector3" nodegraph="graph" output="bent" />"""
    if weight:
        inputs += f'<input name="{weight}" type="float" value="0.5" />'
    text = document(MAPS.format(scale=""), inputs, surface).replace("lin_rec709", "none")
    np.testing.assert_allclose(channel(tmp_path, text), picture * (0.5 if weight else 1), atol=1e-6)
    np.testing.assert_allclose(channel(tmp_path, text, "roughness"), roughness[..., :1], atol=1e-6)
    np.testing.assert_allclose(channel(tmp_path, text, "metallic"), 0.75)
    vectors = bent * 2 - 1
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.testing.assert_allclose(channel(tmp_path, text, "normal"), vectors, atol=1e-5)
    # Green turned round, as maps made for DirectX want it.
    turned = '<input name="scale" type="vector2" value="1, -1" />'
    text = document(MAPS.format(scale=turned), inputs, surface).replace("1.38", "1.39")
    np.testing.assert_allclose(channel(tmp_path, text, "normal"), vectors * [1, -1, 1], atol=1e-5)


def test_constants_have_the_models_defaults(tmp_path):
    text = document('<constant name="n" type="color3" /><output name="result" type="color3" nodename="n" />')
    for surface, rough, metal in (
        ("standard_surface", 0.2, 0),
        ("open_pbr_surface", 0.3, 0),
        ("gltf_pbr", 1, 1),
        ("UsdPreviewSurface", 0.5, 0),
    ):
        found = text.replace("standard_surface", surface)
        assert channel(tmp_path, found, "roughness")[0, 0, 0] == pytest.approx(rough)
        assert channel(tmp_path, found, "metallic")[0, 0, 0] == metal
        np.testing.assert_array_equal(channel(tmp_path, found, "normal")[0, 0], [0, 0, 1])


def test_own_definitions_interfaces_prefixes_and_includes(tmp_path):
    (tmp_path / "maps").mkdir()
    picture = write_picture(tmp_path / "maps")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "tint.mtlx").write_text(
        """<?xml version="1.0"?><materialx version="1.38">
  <nodedef name="ND_tint" node="tint"><input name="amount" type="float" value="0.5" />
    <input name="file" type="filename" value="" /><output name="out" type="color3" /></nodedef>
  <nodegraph name="NG_tint" nodedef="ND_tint">
    <image name="i" type="color3"><input name="file" type="filename" interfacename="file" /></image>
    <multiply name="m" type="color3"><input name="in1" type="color3" nodename="i" />
      <input name="in2" type="float" interfacename="amount" /></multiply>
    <output name="out" type="color3" nodename="m" />
  </nodegraph></materialx>"""
    )
    graph = """<input name="strength" type="float" value="0.8" />
<tint name="n" type="color3">
  <input name="amount" type="float" interfacename="strength" />
  <input name="file" type="filename" value="picture.png" fileprefix="maps/" />
</tint>
<tint name="plain" type="color3"><input name="file" type="filename" value="maps/picture.png" /></tint>
<add name="both" type="color3"><input name="in1" type="color3" nodename="n" />
  <input name="in2" type="color3" nodename="plain" /></add>"""
    more = '<xi:include href="shared/tint.mtlx" xmlns:xi="http://www.w3.org/2001/XInclude" />'
    text = document(graph + RESULT.replace('"n"', '"both"'), more=more).replace("lin_rec709", "none")
    np.testing.assert_allclose(channel(tmp_path, text), picture * 1.3, atol=1e-6)


def test_nodes_that_are_graphs_of_known_ones(tmp_path):
    picture = write_picture(tmp_path)
    graph = """<gltf_colorimage name="g" type="multioutput">
  <input name="file" type="filename" value="picture.png" />
  <input name="color" type="color4" value="0.5, 1, 1, 1" />
</gltf_colorimage><output name="result" type="color3" nodename="g" output="outcolor" />"""
    text = document(graph, surface="gltf_pbr").replace("lin_rec709", "none")
    np.testing.assert_allclose(channel(tmp_path, text), picture * [0.5, 1, 1], atol=1e-6)


INCLUDE = '<xi:include href="{}" xmlns:xi="http://www.w3.org/2001/XInclude" />'
PASSED = PICTURE + node("multiply", "in1=picture") + RESULT
UV_TEXTURE = """<UsdUVTexture name="n" type="multioutput">
  <input name="file" type="filename" value="picture.png" colorspace="srgb_texture" />
</UsdUVTexture><output name="result" type="color3" nodename="n" output="rgb" />"""


def test_preview_surfaces_nodes_have_materialxs_defaults(tmp_path):
    picture = write_picture(tmp_path)
    text = document(UV_TEXTURE, surface="UsdPreviewSurface").replace("base_color", "diffuseColor")
    mesh = open_quad(tmp_path, text)
    found = evaluate(read_look(mesh, 1), "albedo", UvGrid((0.0, 0.0), (2.0, 1.0), SIZE, 2 * SIZE))
    linear = srgb_to_linear(picture)
    np.testing.assert_allclose(found, np.concatenate([linear, linear], axis=1), atol=1e-6)


NOISE = '<noise2d name="n" type="color3" />' + RESULT
CIRCLE = node("add", "in1=b", "n") + node("add", "in1=n", "b") + RESULT


@pytest.mark.parametrize(
    "text, message",
    [
        (
            document(
                '<texcoord name="st" type="vector2" />' + PICTURE + node("add", "in1=picture;in2=st") + RESULT
            ),
            "do not fit together",
        ),
        (
            document(PASSED, '<input name="specular_roughness" type="string" value="rough" />'),
            "expected numbers",
        ),
        (document(NOISE), "noise2d node, which is not supported"),
        (document(CIRCLE), "depends on itself"),
        (document(PASSED, surface="disney_principled"), "disney"),
        (
            document(
                PASSED,
                '<input name="normal" type="vector3" nodegraph="graph" output="result" />',
            ),
            "expected a normalmap node",
        ),
        (document(PASSED.replace("none", "mystery")), "mystery"),
        (
            document(PASSED.replace("picture.png", "absent.png")),
            "absent",
        ),
        (
            document(
                PICTURE.replace("picture.png", "https://e.org/a.png") + node("add", "in1=picture") + RESULT
            ),
            "URL",
        ),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, text, message):
    write_picture(tmp_path)
    with pytest.raises(UserError, match=message):
        channel(tmp_path, text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("<materialx", "cannot be read as MaterialX"),
        (document(PASSED).replace('"n"', '"\udcff"'), "broken text"),
        (document(PASSED, '<input name="base" type="float" value="much" />'), "'much' is no float"),
        (document(node("add", "in1=absent") + RESULT), "no node absent"),
        (
            document(RESULT, more=INCLUDE.format("../secret.mtlx")),
            "leads out of",
        ),
        (
            document(RESULT, more=INCLUDE.format("look.mtlx")),
            "includes|cycle",
        ),
    ],
)
def test_broken_documents_are_warned_about_and_bring_nothing(tmp_path, caplog, text, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.mtlx").write_text(document(RESULT))
    stage = open_stage(write_stage(folder, text))
    assert re.search(message, caplog.text), caplog.text
    with pytest.raises(UserError, match="no material"):
        read_look(find_mesh(stage), 1)


def test_without_the_materialx_package_the_remedy_is_told(tmp_path, caplog, monkeypatch):
    write_picture(tmp_path)
    path = write_stage(tmp_path, document(PASSED))
    monkeypatch.setitem(sys.modules, "MaterialX", None)  # makes the import fail
    with pytest.raises(UserError, match="no material"):
        read_look(find_mesh(stage := open_stage(path)), 1)
    assert "pip install MaterialX" in caplog.text and stage


def test_composition_by_payload_variant_and_instance(tmp_path):
    picture = write_picture(tmp_path)
    path = write_stage(tmp_path, document(PICTURE + node("multiply", "in1=picture;in2:float=0.5") + RESULT))
    stage = Usd.Stage.CreateNew(str(tmp_path / "set.usda"))
    for name in ("a", "b"):
        prim = stage.DefinePrim(f"/Set/{name}", "Xform")
        prim.GetPayloads().AddPayload(str(path), "/World")
        prim.SetInstanceable(True)
    chooser = stage.DefinePrim("/Set/c", "Xform").GetVariantSets().AddVariantSet("model")
    for name in ("none", "quad"):
        chooser.AddVariant(name)
    chooser.SetVariantSelection("quad")
    with chooser.GetVariantEditContext():
        stage.GetPrimAtPath("/Set/c").GetReferences().AddReference(str(path), "/World")
    chooser.SetVariantSelection("none")
    stage.Save()
    before = (tmp_path / "set.usda").read_bytes(), path.read_bytes()
    opened = open_stage(tmp_path / "set.usda", ["model=quad"])
    for name in ("a", "b", "c"):
        look = read_look(UsdGeom.Mesh(opened.GetPrimAtPath(f"/Set/{name}/quad")), 1)
        found = evaluate(look, "albedo", UvGrid((0.0, 0.0), (1.0, 1.0), SIZE, SIZE))
        np.testing.assert_allclose(found, 0.5 * picture, atol=1e-6)
    assert ((tmp_path / "set.usda").read_bytes(), path.read_bytes()) == before
    assert not any(layer.dirty for layer in opened.GetUsedLayers() if not layer.anonymous)


def test_both_surfaces_of_a_material(tmp_path, caplog):
    """MaterialX counts; the universal surface stands in where it cannot be read."""
    write_picture(tmp_path)
    mesh = open_quad(tmp_path, document(PICTURE + node("multiply", "in1=picture") + RESULT))
    stage = mesh.GetPrim().GetStage()
    preview = UsdShade.Shader.Define(stage, "/World/looks/look/preview")
    preview.CreateIdAttr("UsdPreviewSurface")
    material = UsdShade.Material(stage.GetPrimAtPath("/World/looks/look"))
    material.CreateSurfaceOutput().ConnectToSource(preview.ConnectableAPI(), "surface")
    assert not read_look(mesh, 1).is_constant("albedo")
    image = UsdShade.Shader(stage.GetPrimAtPath("/World/looks/look/graph_picture"))
    image.CreateIdAttr("ND_noise2d_color3")
    look = read_look(mesh, 1)
    assert look.is_constant("albedo") and "noise2d" in caplog.text


def test_what_the_ground_truth_leaves_out_is_told(tmp_path, caplog):
    inputs = '<input name="coat" type="float" value="0.5" /><input name="specular" type="float" value="1" />'
    write_picture(tmp_path)
    channel(tmp_path, document(PICTURE + node("multiply", "in1=picture") + RESULT, inputs))
    assert "coat is not part" in caplog.text and "specular is" not in caplog.text


def test_displacement_is_told(tmp_path, caplog):
    write_picture(tmp_path)
    mesh = open_quad(tmp_path, document(PICTURE + node("multiply", "in1=picture") + RESULT))
    stage = mesh.GetPrim().GetStage()
    node_ = UsdShade.Shader.Define(stage, "/World/looks/look/lift")
    material = UsdShade.Material(stage.GetPrimAtPath("/World/looks/look"))
    material.CreateDisplacementOutput("mtlx").ConnectToSource(node_.ConnectableAPI(), "out")
    read_look(mesh, 1)
    assert "displacement is not part" in caplog.text


def test_looks_survive_json(tmp_path):
    write_picture(tmp_path)
    mesh = open_quad(tmp_path, document(PICTURE + node("invert", "in=picture") + RESULT))
    look = read_look(mesh, 1)
    assert Look.from_json(json.loads(json.dumps(look.to_json()))) == look


@pytest.mark.parametrize(
    "identifier, kind, kind_type",
    [
        ("ND_multiply_color3FA", "multiply", "color3"),
        ("ND_convert_color3_vector3", "convert", "vector3"),
        ("ND_standard_surface_surfaceshader_100", "standard_surface", "surfaceshader"),
        ("ND_open_pbr_surface_surfaceshader", "open_pbr_surface", "surfaceshader"),
        ("ND_UsdUVTexture_23", "UsdUVTexture", ""),
        ("ND_place2d_vector2", "place2d", "vector2"),
        ("ND_normalmap", "normalmap", ""),
        ("ND_ifgreater_color3I", "ifgreater", "color3"),
        ("UsdPrimvarReader_float2", "UsdPrimvarReader_float2", ""),
    ],
)
def test_identifiers(identifier, kind, kind_type):
    assert split_identifier(identifier) == (kind, kind_type)


HOUDINI = """#usda 1.0
def Mesh "quad" (prepend apiSchemas = ["MaterialBindingAPI"])
{
    point3f[] points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    int[] faceVertexCounts = [4]
    int[] faceVertexIndices = [0, 1, 2, 3]
    texCoord2f[] primvars:st = [(0, 0), (1, 0), (1, 1), (0, 1)] (interpolation = "vertex")
    uniform token subdivisionScheme = "none"
    rel material:binding = </mtl>
}
def Material "mtl"
{
    token outputs:kma:surface.connect = </mtl/surface.outputs:out>
    float inputs:polish = 0.125
    def Shader "surface"
    {
        uniform token info:id = "ND_standard_surface_surfaceshader"
        color3f inputs:base_color.connect = </mtl/paint.outputs:color>
        float inputs:specular_roughness.connect = </mtl.inputs:polish>
        token outputs:out
    }
    def NodeGraph "paint"
    {
        color3f outputs:color.connect = </mtl/paint/tint.outputs:out>
        def Shader "tint"
        {
            uniform token info:id = "ND_multiply_color3FA"
            color3f inputs:in1.connect = </mtl/paint/image.outputs:out>
            float inputs:in2 = 0.5
            color3f outputs:out
        }
        def Shader "image"
        {
            uniform token info:id = "ND_image_color3"
            asset inputs:file = @./picture.png@ (colorSpace = "srgb_texture")
            float2 inputs:texcoord.connect = </mtl/paint/st.outputs:out>
            color3f outputs:out
        }
        def Shader "st"
        {
            uniform token info:id = "ND_geompropvalue_vector2"
            string inputs:geomprop = "st"
            float2 outputs:out
        }
    }
}
"""


def test_networks_authored_in_usd(tmp_path):
    """As Houdini writes them: Karma's context, a node graph, an interface, color spaces."""
    picture = write_picture(tmp_path)
    (tmp_path / "scene.usda").write_text(HOUDINI)
    stage = open_stage(tmp_path / "scene.usda")
    look = read_look(UsdGeom.Mesh(stage.GetPrimAtPath("/quad")), 1)
    grid = UvGrid((0.0, 0.0), (1.0, 1.0), SIZE, SIZE, "st")
    np.testing.assert_allclose(evaluate(look, "albedo", grid), 0.5 * srgb_to_linear(picture), atol=1e-6)
    np.testing.assert_allclose(evaluate(look, "roughness", grid), 0.125)
    assert look.uv_primvars() == ["st"]
