"""Broken files of each format that mere chance would not find: absurd sizes, cycles, escapes, bombs."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib

import numpy as np

ESCAPES = (
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "http://127.0.0.1:9/a.png",
    "https://example.com/a.usd",
    "file:///etc/passwd",
    "omniverse://server/a.usd",
    "//server/share/a.png",
    "\\\\\\\\server\\\\a.png",
    "/dev/zero",
    "/dev/stdin",
    "./renders",
    "missing.usd",
    "a" * 5000,
    "scene.usda[inside.usd]",
    "%00.png",
    "<UDIM>.png",
)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, color: int, data: bytes, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


BOMB = zlib.compress(bytes(1 << 26), 9)

PNGS: dict[str, bytes] = {
    f"{depth} bit {width}x{height}": png(width, height, depth, 6, zlib.compress(b"\0" * 100))
    for depth in (8, 16)
    for width, height in (
        (10**6, 10**6),
        (0, 5),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (2**32 - 1, 2**32 - 1),
        (16384, 16384),
    )
}
PNGS |= {
    "bomb 8": png(4000, 4000, 8, 6, BOMB),
    "bomb 16": png(16000, 16000, 16, 6, BOMB),
    "text bomb": png(4, 4, 8, 6, zlib.compress(bytes(4 * 17)), chunk(b"zTXt", b"a\0\0" + BOMB)),
    "profile bomb": png(4, 4, 8, 6, zlib.compress(bytes(4 * 17)), chunk(b"iCCP", b"a\0\0" + BOMB)),
    "palette without colors": png(4, 4, 8, 3, zlib.compress(bytes(4 * 5))),
    "no pixels": png(4, 4, 8, 6, b""),
    "empty": b"",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "depth 3": png(4, 4, 3, 6, b""),
}


def exr_with(data: bytes, name: bytes, value: bytes) -> bytes:
    """An EXR whose box attribute `name` is overwritten."""
    mark = name + b"\0box2i\0"
    position = data.index(mark) + len(mark) + 4
    return data[:position] + value + data[position + len(value) :]


EXR_BOXES = [
    struct.pack("<4i", *box)
    for box in (
        (0, 0, 999_999, 999_999),
        (0, 0, -1, -1),
        (5, 5, 1, 1),
        (-(2**31), -(2**31), 2**31 - 1, 2**31 - 1),
        (0, 0, 2**31 - 1, 0),
        (0, 0, 0, 2**31 - 1),
        (10**9, 10**9, 10**9 + 31, 10**9 + 31),
        (0, 0, 16383, 16383),
        (-31, -31, 0, 0),
    )
]


def exrs(intact: bytes) -> dict[str, bytes]:
    made = {
        f"{window.decode()} {i}": exr_with(intact, window, box)
        for window in (b"dataWindow", b"displayWindow")
        for i, box in enumerate(EXR_BOXES)
    }
    position = intact.index(b"compression\0")
    for size in (0, 1, 2**31 - 1, 2**32 - 1):
        made[f"attribute of {size} bytes"] = (
            intact[: position + 24] + struct.pack("<I", size) + intact[position + 28 :]
        )
    for kind in range(3, 256, 40):
        made[f"compression {kind}"] = intact[: position + 28] + bytes([kind]) + intact[position + 29 :]
    made["flags"] = intact[:4] + b"\xff" * 4 + intact[8:]
    made["deep"] = intact[:5] + bytes([intact[5] | 8]) + intact[6:]
    made["magic alone"] = intact[:8]
    return made


def hdrs() -> dict[str, bytes]:
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n"
    sizes = (
        b"-Y 1000000 +X 1000000",
        b"-Y 0 +X 5",
        b"-Y 9999999999999999999999 +X 3",
        b"+Y 5 -X 5",
        b"-Y 100000 +X 2000",
        b"-Y -5 +X 5",
        b"",
        b"-Y " + b"9" * 5000 + b" +X 1",
        b"-Y 30000 +X 8000",
    )
    made = {f"size {i}": head + size + b"\n" + bytes(3000) for i, size in enumerate(sizes)}
    made["runs of nothing"] = head + b"-Y 10 +X 20\n" + b"\x02\x02\x00\x14" + bytes(3000)
    made["runs beyond the line"] = head + b"-Y 10 +X 20\n" + b"\x02\x02\x00\x14" + b"\xff\x01" * 1500
    made["binary"] = b"#?" + bytes(range(256)) * 20
    return made


def npys() -> dict[str, bytes]:
    def with_header(text: str, body: bytes = b"") -> bytes:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + body

    def saved(array: np.ndarray, pickled: bool = False) -> bytes:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=pickled)
        return file.getvalue()

    descr = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"
    made = {
        f"shape {shape[:30]}": with_header(descr % shape, bytes(800))
        for shape in (
            "(1000000000000, 17)",
            "(-1, 17)",
            "(4, 17, 1)",
            "(0, 17)",
            "(17,)",
            "()",
            "(4, 16)",
            "(100000, 17)",
            "('a', 17)",
            "(" * 200,
            "(" + "9" * 4000 + ", 17)",
            "(9223372036854775807, 9223372036854775807)",
        )
    }
    made["pickle"] = saved(np.array([{"a": 1}, None], dtype=object), pickled=True)
    called = "__import__('os').system('touch escaped')"
    made["call in the header"] = with_header(f"{{'descr': {called}, 'shape': ()}}")
    made["object type"] = with_header(
        "{'descr': '|O', 'fortran_order': False, 'shape': (4, 17)}", b"cos\nsystem\n(S'touch escaped'\ntR."
    )
    for name, kind in (
        ("complex", "c16"),
        ("text", "U3"),
        ("dates", "M8[s]"),
        ("booleans", "?"),
        ("integers", "i8"),
    ):
        made[name] = saved(np.zeros((4, 17)).astype(kind))
    for value in (np.nan, np.inf, 1e308, -1.0, 0.0):
        made[f"all {value}"] = saved(np.full((4, 17), value))
    made["records"] = saved(np.zeros(4, [("a", "f8", (17,))]))
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros(3))
    made["npz"] = archive.getvalue()
    return made


def objs() -> dict[str, str]:
    corner = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nvn 0 0 1\n"
    faces = (
        "f 1 2 9",
        "f 0 1 2",
        "f -9 1 2",
        "f 1 2",
        "f",
        "f 1/9/1 2/1/1 3/1/1",
        "f 1/1/1/1 2 3",
        "f a b c",
        "f 1//1 2//1 3//9",
        "f 99999999999999999999999 1 2",
        "f 1/1 2 3",
        "f 1.5 2 3",
        "f " + "1 " * 100_000,
        "f 1 1 1",
    )
    made = {f"face {face[:20]}": corner + face + "\n" for face in faces}
    made |= {
        f"vertex {text}": f"v {text}\n" * 3 + "f 1 2 3\n"
        for text in ("nan 0 0", "1e999 0 0", "1", "a b c", "1e300 0 0")
    }
    made["continued without end"] = corner + "f 1 2 3 \\\n" * 100_000
    made["empty"] = ""
    made["binary"] = "\0\x01\x02" * 1000
    made["one long line"] = "v " + "1" * 5_000_000
    return made


def usdas(intact: str) -> dict[str, str]:
    """Layers named scene.usda, made from an intact one of that name."""
    made = {}
    for i, path in enumerate(ESCAPES):
        made[f"sublayer {i}"] = intact.replace("(\n", f"(\n    subLayers = [@{path}@]\n", 1)
        made[f"reference {i}"] = on_sphere(intact, f"prepend references = @{path}@")
        made[f"payload {i}"] = intact.replace(
            'def Xform "World"', f'def Xform "World" (payload = @{path}@)', 1
        )
        made[f"texture {i}"] = intact.replace("@./textures/albedo.png@", f"@{path}@")
        made[f"probe {i}"] = intact.replace("@./textures/probe.exr@", f"@{path}@")
    made["sublayer of itself"] = intact.replace("(\n", "(\n    subLayers = [@./scene.usda@]\n", 1)
    made["reference to itself"] = on_sphere(intact, "prepend references = @./scene.usda@</World>")
    made["inherits itself"] = on_sphere(intact, "prepend inherits = </World/sphere>")
    made["inherits its child"] = intact.replace(
        'def Xform "World"', 'def Xform "World" (\n    prepend inherits = </World/sphere>\n)', 1
    )
    made["deep"] = "#usda 1.0\n" + 'def "a" {\n' * 20_000 + "}\n" * 20_000
    made["deep dictionaries"] = (
        "#usda 1.0\n(\n customLayerData = {\n" + "dictionary a = {\n" * 20_000 + "}\n" * 20_000 + "}\n)\n"
    )
    made["long name"] = f'#usda 1.0\ndef "{"a" * 1_000_000}" {{}}\n'
    made["connected in a circle"] = intact.replace(
        "outputs:surface.connect = </World/materials/look/surface.outputs:surface>",
        "outputs:surface.connect = </World/materials/look.outputs:surface>",
    )
    for name, line in {
        "no points": "point3f[] points = []",
        "few points": "point3f[] points = [(0, 0, 0)]",
        "infinite points": "point3f[] points = [(inf, 0, 0)]",
        "points of another type": "int points = 3",
    }.items():
        made[name] = replaced_attribute(intact, "point3f[] points", line)
    for name, line in {
        "indices beyond": "[0, 1, 99999999]",
        "negative indices": "[-1, -2, -3]",
        "no indices": "[]",
    }.items():
        made[name] = replaced_attribute(
            intact, "int[] faceVertexIndices", f"int[] faceVertexIndices = {line}"
        )
    for name, line in {
        "huge counts": "[2147483647, 2147483647]",
        "negative counts": "[-3, 3]",
        "counts of two": "[2, 2]",
    }.items():
        made[name] = replaced_attribute(intact, "int[] faceVertexCounts", f"int[] faceVertexCounts = {line}")
    made["no focal length"] = replaced_attribute(intact, "float focalLength", "float focalLength = 0")
    made["frames without end"] = intact.replace("endTimeCode = 2", "endTimeCode = 1e18")
    made["frames that are not numbers"] = intact.replace("endTimeCode = 2", "endTimeCode = nan")
    made["frames backwards"] = intact.replace("endTimeCode = 2", "endTimeCode = -2")
    made["rate of nothing"] = intact.replace("(\n", "(\n    timeCodesPerSecond = 0\n", 1)
    made["empty"] = ""
    made["header alone"] = "#usda 1.0\n"
    made["version of another age"] = intact.replace("#usda 1.0", "#usda 99.0", 1)
    return made


def on_sphere(text: str, line: str) -> str:
    """The layer with a line more in the metadata of the mesh, which has some."""
    return text.replace('def Mesh "sphere" (', f'def Mesh "sphere" (\n        {line}', 1)


def replaced_attribute(text: str, start: str, line: str) -> str:
    """The layer with the one-line attribute that begins with `start` replaced."""
    lines = [line if candidate.strip().startswith(start) else candidate for candidate in text.split("\n")]
    return "\n".join(lines)


def usdzs(intact: bytes) -> dict[str, bytes]:
    def archive(**files: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
            for name, data in files.items():
                file.writestr(name, data)
        return buffer.getvalue()

    root = b'#usda 1.0\ndef Xform "World" (\n references = @%s@\n) {}\n'
    return {
        "climbing": archive(**{"../../escaped.usda": b"#usda 1.0\n"}),
        "climbing reference": archive(**{"a.usda": root % b"../../../../etc/passwd"}),
        "absolute": archive(**{"/tmp/escaped.usda": b"#usda 1.0\n"}),
        "no layer": archive(**{"a.txt": b"hello"}),
        "itself": archive(**{"a.usda": root % b"scene.usdz"}),
        "no entries": archive(),
        "directory beyond the end": intact[:-6] + b"\xff\xff\xff\x7f\0\0",
        "not a zip": b"PK\x03\x04" + bytes(500),
    }


JSONS: dict[str, str] = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "not a number": '{"frames": NaN, "camera_angle_x": NaN, "schema_version": NaN}',
    "long number": '{"schema_version": ' + "9" * 100_000 + "}",
    "empty": "",
    "list": "[]",
    "text": '"x"',
    "null": "null",
    "no frames": '{"schema_version": 1, "frames": []}',
    "half": '{"schema_version": 1, "frames": [{',
    "surrogate": '{"schema_version": "\\ud800"}',
    "binary": "\x00\x01\x02",
    "many frames": json.dumps({"schema_version": 1, "camera_angle_x": 1, "frames": [{}] * 100_000}),
}
