"""Writes the demo scene: a small glossy object with painted maps, a studio light and a turntable camera.

python scripts/demo_scene.py --out demo_out/scene
"""

from __future__ import annotations

import argparse
from pathlib import Path

from usd_tools.errors import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for scene.usda and its textures")
    parser.add_argument("--frames", type=int, default=46, help="turntable frames (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="variant of the paint (default %(default)s)")
    parser.add_argument(
        "--probe-seed", type=int, default=0, help="variant of the light (default %(default)s)"
    )
    parser.add_argument("--texture-resolution", type=int, default=512, help="texels (default %(default)s)")
    options = parser.parse_args()

    from usd_tools.demo.scene import write_demo_scene

    path = write_demo_scene(
        options.out, options.frames, options.seed, options.probe_seed, options.texture_resolution
    )
    print(path)


if __name__ == "__main__":
    run_command(main)
