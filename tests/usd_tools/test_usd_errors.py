"""What USD says about stages that are broken or incomplete."""

import pytest
from pxr import Tf

from usd_tools.errors import UserError
from usd_tools.stage import open_stage
from usd_tools.usd_errors import usd_errors_told

LAYER = """#usda 1.0
(
    subLayers = [{sublayers}]
)

def Xform "World" (
    {metadata}
)
{{
    def Xform "child" {{}}
}}
"""


def write(path, sublayers="", metadata=""):
    path.write_text(LAYER.format(sublayers=sublayers, metadata=metadata))
    return path


@pytest.mark.parametrize(
    "layer",
    [
        {"sublayers": "@./a.usda@"},
        {"metadata": "prepend references = @./a.usda@</World>"},
        {"metadata": "prepend inherits = </World/child>"},
        {"metadata": "payload = @./a.usda@</World/child>"},
    ],
)
def test_circles_are_refused(tmp_path, layer, capfd):
    with pytest.raises(UserError, match=r"a\.usda: refers to itself \(.*\); take the circle out"):
        open_stage(write(tmp_path / "a.usda", **layer))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["https://example.com/a.usd", "omniverse://server/a.usd", "file:///a.usd"])
@pytest.mark.parametrize(
    "layer", [{"sublayers": "@{}@"}, {"metadata": "references = @{}@"}, {"metadata": "payload = @{}@"}]
)
def test_urls_are_refused(tmp_path, url, layer):
    layer = {key: text.format(url) for key, text in layer.items()}
    with pytest.raises(UserError, match="URLs are not opened; bring the file to this machine"):
        open_stage(write(tmp_path / "a.usda", **layer))


def test_what_is_missing_is_told_in_single_lines(tmp_path, caplog, capfd):
    names = ", ".join(f"@missing_{i}.usda@" for i in range(7))
    stage = open_stage(write(tmp_path / "a.usda", names, "references = @gone.usda@"))
    assert stage.GetPrimAtPath("/World/child")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 6 and all(str(tmp_path / "a.usda") in text for text in told)
    assert "3 more such places" in told[-1] and "gone.usda" in " ".join(told)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error", [lambda: Tf.RaiseRuntimeError("broken"), lambda: b"\xff".decode()], ids=["Tf", "text"]
)
def test_errors_while_values_are_read_name_the_stage(error):
    told = r"a\.usdc: cannot be read as USD \(.*\); export the stage again"
    with pytest.raises(UserError, match=told), usd_errors_told("a.usdc"):
        error()
    with usd_errors_told("a.usdc"):
        pass
