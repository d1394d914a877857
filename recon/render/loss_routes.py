"""Which of two losses the parts of a rendered picture learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossRoutes:
    """Which loss reaches what both branches share: each is "A", "B" or "A+B".

    Albedo always learns from A's loss; roughness, metallic and occlusion from B's.

    free_light: power of a pixel's trust (`OccludedLight.trust`) by which roughness, metallic learn from it.
    What the object sends itself is known roughly, and an error there is as large as a highlight; so is one
    where the normal is wrong. 0: from all pixels alike.
    """

    geometry: str = "A+B"
    normal: str = "A+B"
    light: str = "A+B"
    free_light: float = 0.0

    def __post_init__(self) -> None:
        for name, side in (("geometry", self.geometry), ("normal", self.normal), ("light", self.light)):
            if side not in ("A", "B", "A+B"):
                raise ValueError(f'route of {name}: expected "A", "B" or "A+B", got {side!r}')
        if self.free_light < 0.0:
            raise ValueError(f"free_light: expected 0 or more, got {self.free_light}")
