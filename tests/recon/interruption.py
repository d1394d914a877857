"""Training that is interrupted at a given step."""

from __future__ import annotations

from collections.abc import Callable

from recon.stages import run_stage as loop


def interrupt_at(stage_name: str, iteration: int) -> Callable[..., loop.StepResult]:
    """A stand-in for the loop's step that is interrupted before `iteration` of `stage_name`."""
    step = loop._step

    def interrupted(stage, setup, views, at, factor):
        if (stage.name, at) == (stage_name, iteration):
            raise KeyboardInterrupt
        return step(stage, setup, views, at, factor)

    return interrupted
