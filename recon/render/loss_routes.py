"""Which of two losses the parts of a rendered picture learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossRoutes:
    """Which loss reaches what both branches share: each is "A", "B" or "A+B".

    Albedo always learns from A's loss; roughness, metallic and occlusion from B's.
    """

    geometry: str = "A+B"
    normal: str = "A+B"
    light: str = "A+B"

    def __post_init__(self) -> None:
        for name, side in (("geometry", self.geometry), ("normal", self.normal), ("light", self.light)):
            if side not in ("A", "B", "A+B"):
                raise ValueError(f'route of {name}: expected "A", "B" or "A+B", got {side!r}')
