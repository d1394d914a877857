"""The progress bar of a training stage: loss, speed and time left."""

from __future__ import annotations

from types import TracebackType

from tqdm.auto import tqdm


class TrainingBar:
    """A bar over `total` iterations, `start` of them done. It is silent where stderr is no terminal."""

    def __init__(self, stage: str, total: int, start: int = 0) -> None:
        self._bar = tqdm(
            desc=stage,
            total=total,
            initial=start,
            unit="it",
            disable=None,
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def step(self) -> None:
        self._bar.update()

    def show(self, **figures: float) -> None:
        """Shows figures (a loss that has been fetched anyway) at the end of the bar."""
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()}, refresh=False)
