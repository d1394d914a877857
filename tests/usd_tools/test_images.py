"""Pictures: what is written is read back, what is broken is told by name."""

import struct
import zlib

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from usd_tools.color import srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.images import read_exr, read_image, read_png, read_texture, write_exr, write_png
from usd_tools.png16 import unfilter


def picture(height=6, width=9, channels=4, seed=0):
    return np.random.default_rng(seed).random((height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("channels, names", [(1, ("Y",)), (3, ("R", "G", "B")), (4, ("R", "G", "B", "A"))])
@pytest.mark.parametrize("half", [True, False])
def test_exr_round_trip(tmp_path, channels, names, half):
    expected = picture(channels=channels) * 100
    write_exr(tmp_path / "a.exr", expected, half=half)
    pixels, found, attributes = read_exr(tmp_path / "a.exr")
    assert found == names and pixels.dtype == np.float32 and "dataWindow" in attributes
    np.testing.assert_allclose(pixels, expected.astype(np.float16) if half else expected)
    np.testing.assert_array_equal(read_image(tmp_path / "a.exr"), pixels)


@pytest.mark.parametrize("layer", ["C", "beauty", "RGBA"])
def test_exr_layers(tmp_path, layer):
    expected = picture()
    channels = {f"{layer}.{name}": expected[..., i].copy() for i, name in enumerate("RGBA")}
    channels["N.R"] = np.zeros((6, 9), np.float32)
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, channels) as file:
        file.write(str(tmp_path / "a.exr"))
    np.testing.assert_array_equal(read_exr(tmp_path / "a.exr")[0], expected)


def test_exr_data_window_smaller_than_display_window(tmp_path):
    inner = picture(2, 3)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "dataWindow": (np.array([4, 1], np.int32), np.array([6, 2], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([8, 5], np.int32)),
    }
    with OpenEXR.File(header, {name: inner[..., i].copy() for i, name in enumerate("RGBA")}) as file:
        file.write(str(tmp_path / "a.exr"))
    pixels, _, _ = read_exr(tmp_path / "a.exr")
    assert pixels.shape == (6, 9, 4)
    np.testing.assert_array_equal(pixels[1:3, 4:7], inner)
    assert pixels.sum() == pytest.approx(inner.sum())


def test_exr_without_color_names_its_channels(tmp_path):
    with OpenEXR.File({}, {"depth.Z": np.zeros((2, 2), np.float32)}) as file:
        file.write(str(tmp_path / "a.exr"))
    with pytest.raises(UserError, match=r"a.exr.*depth\.Z"):
        read_exr(tmp_path / "a.exr")


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".exr", ".png"])
def test_truncated_pictures_are_named_without_noise(tmp_path, capfd, suffix, keep):
    path = tmp_path / f"a{suffix}"
    (write_exr if suffix == ".exr" else write_png)(path, picture(64, 64))
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(UserError, match=f"a{suffix}"):
        read_image(path)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_missing_picture(tmp_path):
    with pytest.raises(UserError, match="no such picture"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_round_trip(tmp_path, channels):
    expected = picture(channels=channels)
    write_png(tmp_path / "a.png", expected * 1.2 - 0.1)
    pixels = read_png(tmp_path / "a.png")
    np.testing.assert_allclose(pixels, np.clip(expected * 1.2 - 0.1, 0, 1), atol=0.5 / 255 + 1e-6)


def filtered_lines(values, filters):
    """The filtered bytes of a picture's lines, by the book: byte by byte."""
    height, _, channels = values.shape
    lines = np.frombuffer(values.astype(">u2").tobytes(), np.uint8).reshape(height, -1).astype(int)
    size, out = channels * 2, []
    for y in range(height):
        out.append(bytes([filters[y]]))
        for i in range(lines.shape[1]):
            a = lines[y, i - size] if i >= size else 0
            b = lines[y - 1, i] if y else 0
            c = lines[y - 1, i - size] if y and i >= size else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append(bytes([(lines[y, i] - [0, a, b, (a + b) // 2, paeth][filters[y]]) % 256]))

    return b"".join(out)


def encode_png16(values, filters, passes=None):
    """A 16-bit PNG; with `passes`, interlaced: (first row, first column, row step, column step) of each."""
    height, width, channels = values.shape
    if passes is None:
        data = filtered_lines(values, filters)
    else:
        parts = [values[top::down, left::right] for top, left, down, right in passes]
        data = b"".join(filtered_lines(part, filters) for part in parts if part.size)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(
            b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, int(passes is not None))
        )
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png16_keeps_all_bits_whatever_the_filter(tmp_path, channels):
    values = np.random.default_rng(1).integers(0, 65536, (13, 7, channels))
    data = encode_png16(values, [row % 5 for row in range(13)])
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(np.round(read_png(tmp_path / "a.png") * 65535), values)
    (tmp_path / "b.png").write_bytes(data[:-30])
    with pytest.raises(UserError, match=r"b\.png"):
        read_png(tmp_path / "b.png")


# Read off the specification's drawing of an 8x8 block: which pass each pixel belongs to.
ADAM7_BLOCK = ("16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777")


def adam7_passes():
    passes = []
    for number in "1234567":
        where = [
            (row, column) for row in range(8) for column in range(8) if ADAM7_BLOCK[row][column] == number
        ]
        rows, columns = sorted({row for row, _ in where}), sorted({column for _, column in where})
        passes.append(
            (
                rows[0],
                columns[0],
                ([*rows, rows[0] + 8][1] - rows[0]),
                [*columns, columns[0] + 8][1] - columns[0],
            )
        )
    return passes


@pytest.mark.parametrize("height, width", [(13, 7), (1, 1), (3, 1), (2, 9)])
def test_png16_interlaced(tmp_path, height, width):
    values = np.random.default_rng(1).integers(0, 65536, (height, width, 3))
    (tmp_path / "a.png").write_bytes(encode_png16(values, [row % 5 for row in range(height)], adam7_passes()))
    np.testing.assert_array_equal(np.round(read_png(tmp_path / "a.png") * 65535), values)


def test_unfilter_in_bands_is_unfilter_at_once(monkeypatch):
    random = np.random.default_rng(4)
    filtered = random.integers(0, 256, (11, 6, 8)).astype(np.uint8)
    filters = random.integers(0, 5, 11)
    at_once = unfilter(filtered, filters)
    monkeypatch.setattr("usd_tools.png16._BAND", 4)
    np.testing.assert_array_equal(unfilter(filtered, filters), at_once)


@pytest.mark.parametrize(
    "mode, options, expected",
    [
        ("1", {}, [[255], [0]]),
        ("L", {}, [[255], [10]]),
        ("L", {"transparency": 10}, [[255, 255], [10, 0]]),
        ("LA", {}, [[255, 255], [10, 255]]),
        ("RGB", {"interlace": True}, [[255] * 3, [10] * 3]),
        ("RGB", {"transparency": (10, 10, 10)}, [[255, 255, 255, 255], [10, 10, 10, 0]]),
        ("P", {}, [[255] * 3, [10] * 3]),
        ("P", {"transparency": 10}, [[255, 255, 255, 255], [10, 10, 10, 0]]),
    ],
)
def test_8_bit_png_kinds(tmp_path, mode, options, expected):
    gray = Image.new("L", (2, 1), 255)
    gray.putpixel((1, 0), 10)
    if mode == "P":
        picture = Image.new("P", (2, 1), 255)
        picture.putpixel((1, 0), 10)
        picture.putpalette([value for value in range(256) for _ in range(3)])
    else:
        picture = gray.convert(mode)
    picture.save(tmp_path / "a.png", **options)
    np.testing.assert_allclose(read_png(tmp_path / "a.png")[0] * 255, expected)


def test_jpeg_with_four_inks_is_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    pixels = read_image(tmp_path / "a.jpg")
    assert pixels.shape == (16, 16, 3) and pixels[..., 0].min() > 0.9 and pixels[..., 1:].max() < 0.1


def test_no_reader_that_starts_programs(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n")
    with pytest.raises(UserError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_unfilter_of_one_row_and_one_column():
    assert unfilter(np.full((1, 4, 1), 200, np.uint8), np.array([1], np.uint8)).ravel().tolist() == [
        200,
        144,
        88,
        32,
    ]
    assert unfilter(np.full((3, 1, 1), 100, np.uint8), np.full(3, 2, np.uint8)).ravel().tolist() == [
        100,
        200,
        44,
    ]


def test_texture_color_spaces(tmp_path):
    values = np.round(picture() * 255) / 255
    write_png(tmp_path / "a.png", values)
    decoded = np.concatenate([srgb_to_linear(values[..., :3]), values[..., 3:]], -1)
    np.testing.assert_allclose(read_texture(tmp_path / "a.png", "raw"), values, atol=1e-6)
    np.testing.assert_allclose(read_texture(tmp_path / "a.png", "sRGB"), decoded, atol=1e-6)
    np.testing.assert_allclose(read_texture(tmp_path / "a.png", "auto"), decoded, atol=1e-6)
    write_png(tmp_path / "gray.png", values[..., 0])
    np.testing.assert_allclose(read_texture(tmp_path / "gray.png", "auto"), values[..., :1], atol=1e-6)
    write_exr(tmp_path / "a.exr", values)
    np.testing.assert_array_equal(read_texture(tmp_path / "a.exr", "auto"), read_image(tmp_path / "a.exr"))
    (tmp_path / "b.png").write_bytes(encode_png16(np.full((2, 2, 3), 30000), [0, 0]))
    np.testing.assert_allclose(read_texture(tmp_path / "b.png", "auto"), 30000 / 65535, rtol=1e-6)


def hdr_file(rgbe, encoded):
    height, width, _ = rgbe.shape
    body = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + f"-Y {height} +X {width}\n".encode()
    if not encoded:
        return body + rgbe.tobytes()
    for row in rgbe:
        body += bytes((2, 2, width >> 8, width & 255))
        for component in row.T:
            if (component == component[0]).all():
                body += bytes((128 + width, int(component[0])))
            else:
                body += bytes((width,)) + component.tobytes()
    return body


@pytest.mark.parametrize("encoded", [True, False])
def test_radiance_pictures(tmp_path, encoded):
    rgbe = np.random.default_rng(2).integers(0, 256, (5, 20, 4)).astype(np.uint8)
    rgbe[..., 3] = 130
    rgbe[0, :, 3] = 0
    (tmp_path / "a.hdr").write_bytes(hdr_file(rgbe, encoded))
    pixels = read_image(tmp_path / "a.hdr")
    np.testing.assert_allclose(pixels[1:], (rgbe[1:, :, :3] + 0.5) / 256 * 4, rtol=1e-6)
    assert (pixels[0] == 0).all()
    for keep in (1, 40, 70, 200):
        (tmp_path / "b.hdr").write_bytes(hdr_file(rgbe, encoded)[:keep])
        with pytest.raises(UserError, match=r"b\.hdr"):
            read_image(tmp_path / "b.hdr")
