"""The run folder: where a training run puts its results, and where others look how it is doing."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recon.config import Config, load_config
from usd_tools.errors import UserError
from usd_tools.files import atomic_file, refuse_foreign_folder

_LOG = logging.getLogger(__name__)
_STATUS = "status.json"  # also what tells a run folder from any other
_STATUS_SECONDS = 1.0
DONE = "done"  # the stage that a finished run reports


class RunFolder:
    """The paths and small files of one run. Make it by `open`.

    config, status, record, log: config.yaml, status.json, run.json, train.log. mesh, coarse: folders for the
    results of the fine and the coarse stage. checkpoints, tensorboard, validation: folders.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.status = path / _STATUS
        self.record = path / "run.json"
        self.log = path / "train.log"
        self.mesh = path / "mesh"
        self.coarse = path / "coarse"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self.validation = path / "validation"
        self._position: dict[str, Any] = {"stage": "starting", "iteration": 0, "total": 0}
        self._written_at = float("-inf")

    @classmethod
    def open(cls, path: Path | str, *, resume: bool) -> RunFolder:
        """The run folder at `path`, made if it is not there.

        What a run that ended before its first checkpoint left there does not count: it is started anew.

        Raises:
            UserError: `path` is a file, holds something else, or an earlier run that is not to be resumed.
        """
        run = cls(Path(path))
        refuse_foreign_folder(run.path, _STATUS)
        if not resume and run.status.is_file():
            if run._has_results():
                raise UserError(
                    f"{run.path}: holds an earlier run; add --resume to go on with it, or give another --out"
                )
            shutil.rmtree(run.tensorboard, ignore_errors=True)
            run.record.unlink(missing_ok=True)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"{run.path}: a parent of it is a file, not a folder; give another --out"
            ) from error
        if not (resume and run.is_finished()):
            run._write_status(None)
        return run

    def is_finished(self) -> bool:
        """Whether a run here ended well. Its status.json then stays as it is until a stage is reported."""
        try:
            content = json.loads(self.status.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and content.get("stage") == DONE and content.get("error") is None

    def saved_config(self) -> Config | None:
        """The config of the run that is being resumed; None for a new run."""
        return load_config(self.config) if self.config.is_file() else None

    def save_config(self, config: Config) -> None:
        with atomic_file(self.config) as temporary:
            temporary.write_text(config.to_yaml(), encoding="utf-8")

    def copy_dataset_info(self, dataset: Path | str) -> None:
        """Keeps the dataset's dataset.json, where there is one, so that a moved run can still be imported."""
        source = Path(dataset) / "dataset.json"
        if source.is_file():
            with atomic_file(self.path / "dataset.json") as temporary:
                shutil.copyfile(source, temporary)

    def report(self, stage: str, iteration: int, total: int) -> None:
        """Updates status.json: `iteration` of `total` done. At most one write a second within a stage."""
        moved_on = stage != self._position["stage"] or iteration >= total
        self._position = {"stage": stage, "iteration": iteration, "total": total}
        if moved_on or time.monotonic() - self._written_at >= _STATUS_SECONDS:
            self._write_status(None)

    @contextmanager
    def reporting_errors(self) -> Iterator[None]:
        """Puts whatever ends the body early into status.json, and lets it pass on.

        A finished run's status stays as it is: what was refused does not undo it.
        """
        try:
            yield
        except BaseException as error:
            if self.is_finished():
                raise
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            told = f"{kind}{error}".removesuffix(": ")
            try:
                self._write_status(" ".join(told.split()))
            except (OSError, UserError) as second:  # a full disk must not hide the first error
                _LOG.warning("%s: could not be written (%s)", self.status, second)
            raise

    def _has_results(self) -> bool:
        folders = (self.checkpoints, self.coarse, self.mesh, self.validation)
        return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)

    def _write_status(self, error: str | None) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_json(self.status, {**self._position, "pid": os.getpid(), "error": error, "time": now})
        self._written_at = time.monotonic()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes strict JSON (no NaN or Inf) atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
