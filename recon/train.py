"""`python -m recon.train`: from a dataset to a textured mesh, in a coarse and a fine stage.

    python -m recon.train --data DATASET --out RUN [--config FILE.yaml] [--set KEY=VALUE ...]
    python -m recon.train --resume --out RUN
    torchrun --nproc-per-node GPUS -m recon.train --data DATASET --out RUN

Coarse: a deformable tetrahedral grid and material fields in 3D. Then the surface is unwrapped. Fine: fields
and vertices are refined, now with the object's own shadows and reflections, and baked into textures (or
these are refined themselves, with `textures.learnt`). With `geometry.mesh` the artist's mesh and UVs are
taken as they are, and only the material (and a learnt light) is learnt.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from recon.assemble import (
    coarse_settings,
    fine_settings,
    make_coarse_scene,
    make_fine_scene,
    make_known_field,
    make_mesh_views,
    make_objective,
    make_setup,
    make_texture_maps,
    searches_before_fine,
    searches_material,
)
from recon.backend import BACKENDS, DEVICES, choose_backend, choose_device
from recon.checkpoints import Checkpoint, Checkpoints
from recon.config import Config, differences, load_config, with_values
from recon.data.dataset import load_views
from recon.data.views import Views
from recon.determinism import deterministic_on_cpu
from recon.export import export_asset
from recon.geometry.diffusion import denoised
from recon.geometry.grid_box import GridBox
from recon.geometry.known_mesh import load_known_mesh
from recon.geometry.mesh import Mesh
from recon.geometry.unwrap import unwrap
from recon.material.bake import AtlasTexels, bake_field
from recon.material.field import MaterialField
from recon.material.hash_grid_kernels import hash_grid_kernels
from recon.material.texture_maps import TextureMaps
from recon.run_folder import DONE, RunFolder
from recon.run_log import logging_to
from recon.run_record import RunRecord
from recon.stages.coarse import coarse_stage
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine import fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.material_search import search_material, teach
from recon.stages.reporter import StageReporter
from recon.stages.run_stage import Stage, StepResult, TrainingSetup, run_stage
from recon.validation import validate
from recon.warp_runtime import compile_kernels
from recon.workers import Workers
from usd_tools.errors import UserError, run_command

_LOG = logging.getLogger(__name__)

# A probe is exported as finely as the cubemap it lives in: four faces around the horizon.
_PROBE_COLUMNS_PER_FACE = 4
# Share of the fine stage between two searches. After 30 % rates begin to fall, normals are better than the
# coarse stage left them, and a learnt light is no longer blurred by wrong materials.
_BETWEEN_SEARCHES = 0.3


class Training:
    """One run: what its steps share, and the steps in their order.

    watch: called after every step with the stage's name, its scene and how many iterations are done.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        checkpoints: Checkpoints,
        device: torch.device,
        backend: str,
        workers: Workers,
        watch: Callable[[str, torch.nn.Module, int], None] | None = None,
    ) -> None:
        if config.data.path is None:
            raise UserError("--data: expected a dataset folder (or data.path in the config)")
        self.config = config
        self.run = run
        self.device = device
        self.dataset = Path(config.data.path)
        self.checkpoints = checkpoints
        self.workers = workers
        self.watch = watch
        self.backend = choose_backend(backend, device)
        self.record = RunRecord(run.record, device, self.backend.name)
        self._atlas: AtlasTexels | None = None  # of the only mesh that a run bakes

    def execute(self, *, resume: bool) -> None:
        """Trains, exports and validates; every part is timed in run.json."""
        torch.manual_seed(self.config.seed + self.workers.rank)  # jitter of their own; all else is equal
        with self.record.stage("compile"), self.workers.first_alone():
            material = self.config.material
            used = (None, "a", "b") if self.backend.networks == "warp" else ()
            features = {material.encoder(branch).hash_features for branch in used}
            generated = [kernel for count in features for kernel in hash_grid_kernels(count).all]
            seconds = compile_kernels(self.device, generated)
        _LOG.info("kernels ready in %.1f s (compiled at the first run, then cached)", seconds)
        with self.record.stage("load"):
            views, held_out = self._load_views()
            rasterizer = self.backend.rasterizer
            setup = make_setup(self.config, self.dataset, views, rasterizer, self.device, self.workers)
            setup.prefiltered_light()  # a known light is prefiltered here, once, and not in a timed step
        found = self.checkpoints.latest() if resume else None
        self.workers.wait()  # until all have read it
        if found is not None:
            self._check_networks(found)
            _LOG.info("resuming the %s stage after %d iterations", found.stage, found.iteration)

        if found is not None and found.stage == "fine":
            scene = self._fine_scene_of(found, setup)
        elif self.config.geometry.mesh is not None:
            scene = self._known_mesh_scene(setup)
        else:
            scene = self._unwrap_and_bake(self._learn_coarse(setup, found), setup)
        if searches_before_fine(self.config):
            if found is None or found.stage != "fine":
                with self.record.stage("search"):
                    self._search_material(scene, setup)
            setup = setup.with_objective(make_objective(self.config, refine=True))
        self._learn_fine(scene, setup, found if found is not None and found.stage == "fine" else None)

        with self.record.stage("bake"):
            if not isinstance(scene.material, TextureMaps):
                scene.material = self._baked(scene)
            maps = scene.material
        with self.record.stage("export"):
            self._export(self.run.mesh, scene.mesh(), maps, setup)
        with self.record.stage("validate"):
            self._validate(scene, setup, held_out)
        self.run.report(DONE, 1, 1)

    def _load_views(self) -> tuple[Views, Views]:
        resolution = self.config.train.resolution
        if self.config.data.kind == "mesh":
            rasterizer = self.backend.rasterizer
            views, held_out = make_mesh_views(self.config, self.dataset, rasterizer, self.device)
        else:
            views = load_views(self.dataset, "train", resolution).to(self.device)
            held_out = load_views(self.dataset, "test", resolution).to(self.device)
        self.run.copy_dataset_info(self.dataset)
        size = f"{views.cameras.width}x{views.cameras.height}"
        _LOG.info("%d training and %d held-out views of %s pixels", len(views), len(held_out), size)
        return views, held_out

    def _learn_coarse(self, setup: TrainingSetup, found: Checkpoint | None) -> CoarseScene:
        with self.record.stage("start"):
            saved = None if found is None else GridBox.from_tensors(found.tensors("start"))
            scene = make_coarse_scene(self.config, setup.views, self.device, self.backend.networks, saved)
        stage = coarse_stage(scene, setup.light, coarse_settings(self.config))
        self._learn(stage, scene, setup, found, scene.start_tensors())
        return scene

    def _unwrap_and_bake(self, coarse: CoarseScene, setup: TrainingSetup) -> FineScene:
        """The scene to refine, after its state so far is exported."""
        with self.record.stage("unwrap"):
            mesh = self._smooth_and_unwrapped(coarse.mesh().detach()) if self.workers.leads else None
            tensors = None if mesh is None else {k: v for k, v in vars(mesh).items() if v is not None}
            mesh = Mesh(**self.workers.from_first(tensors, self.device))
        with self.record.stage("bake"):
            scene = self._fine_scene(mesh, coarse.field, setup, movable=True)
            maps = self._baked(scene)
        with self.record.stage("export"):
            self._export(self.run.coarse, scene.mesh(), maps, setup)
        if self.config.textures.learnt:
            scene.material = maps
        return scene

    def _smooth_and_unwrapped(self, mesh: Mesh) -> Mesh:
        vertices = denoised(mesh.vertices, mesh.faces, self.config.geometry.denoise)
        return unwrap(mesh.with_vertices(vertices), self.config.textures.resolution)

    def _known_mesh_scene(self, setup: TrainingSetup) -> FineScene:
        source = self.config.geometry.mesh
        assert source is not None
        mesh = load_known_mesh(source, self.dataset).to(self.device)
        return self._fine_scene(mesh, self._untrained(mesh, setup), setup, movable=False)

    def _fine_scene_of(self, checkpoint: Checkpoint, setup: TrainingSetup) -> FineScene:
        tensors = {name: tensor.to(self.device) for name, tensor in checkpoint.tensors("start").items()}
        mesh = Mesh(**tensors)
        movable = self.config.geometry.mesh is None
        return self._fine_scene(mesh, self._untrained(mesh, setup), setup, movable=movable)

    def _untrained(self, mesh: Mesh, setup: TrainingSetup) -> TextureMaps | MaterialField:
        if self.config.textures.learnt:
            return make_texture_maps(self.config, None, self.device)
        return make_known_field(self.config, mesh, setup.views, self.backend.networks)

    def _fine_scene(
        self, mesh: Mesh, material: TextureMaps | MaterialField, setup: TrainingSetup, *, movable: bool
    ) -> FineScene:
        return make_fine_scene(
            self.config, mesh, material, setup.views, self.backend.rasterizer, movable=movable
        )

    def _baked(self, scene: FineScene) -> TextureMaps:
        """The field of `scene` as maps on its surface."""
        assert not isinstance(scene.material, TextureMaps)
        mesh = scene.mesh().detach().with_tangents(scene.tangent_groups)
        if self._atlas is None:
            self._atlas = AtlasTexels.of(mesh, self.config.textures.resolution)
        return make_texture_maps(self.config, bake_field(scene.material, mesh, self._atlas), self.device)

    def _search_material(self, scene: FineScene, setup: TrainingSetup) -> None:
        """Starts the fine stage's field anew from what the pictures say under the light as it is."""
        field = scene.material
        assert not isinstance(field, TextureMaps)
        if self.workers.leads:
            teach(field, search_material(scene, setup), self.config.seed)
        learnt = dict(field.named_parameters()) if self.workers.leads else None
        tensors = self.workers.from_first(learnt, self.device)
        field.load_state_dict(tensors, strict=False)

    def _learn_fine(self, scene: FineScene, setup: TrainingSetup, found: Checkpoint | None) -> None:
        stage = fine_stage(scene, setup, fine_settings(self.config, scene))
        if searches_material(self.config):
            stage = self._with_more_searches(stage, scene, setup)
        self._learn(stage, scene, setup, found, scene.start_tensors())

    def _with_more_searches(self, stage: Stage, scene: FineScene, setup: TrainingSetup) -> Stage:
        """`stage` with those searches that come after the one before it."""
        more = range(1, self.config.material.searches)
        at = {round(_BETWEEN_SEARCHES * k * stage.iterations) for k in more}

        def before_step(iteration: int) -> None:
            if iteration > 0 and iteration in at:
                self._search_material(scene, setup)
            stage.before_step(iteration)

        return replace(stage, before_step=before_step)

    def _learn(
        self,
        stage: Stage,
        scene: torch.nn.Module,
        setup: TrainingSetup,
        found: Checkpoint | None,
        start_tensors: dict[str, torch.Tensor],
    ) -> None:
        """Runs `stage`, from `found` on where there is one.

        start_tensors: what a resumed run makes the scene anew of.
        """
        modules = {"scene": scene, "light": setup.light}
        first = 0
        if found is not None:
            found.restore(modules, stage.optimizers.adams)
            first = found.iteration

        def save(iteration: int) -> None:
            groups = {"start": start_tensors}
            values = {"networks": self.backend.networks}
            adams = stage.optimizers.adams
            self.checkpoints.save(stage.name, iteration, modules, adams, tensors=groups, values=values)

        train = self.config.train
        with ExitStack() as opened:
            opened.enter_context(self.record.stage(stage.name, stage.iterations - first))
            if not self.workers.leads:
                run_stage(stage, setup, lambda result: None, start=first)
                return
            reporter = StageReporter(
                stage,
                self.run,
                log_every=train.log_every,
                image_every=train.image_every,
                checkpoint_every=train.checkpoint_every,
                save=save,
                summary=self.config.to_yaml(),
                start=first,
            )
            opened.enter_context(reporter)
            opened.enter_context(self.checkpoints.in_background())
            if first == 0:
                save(0)

            def report(result: StepResult) -> None:
                reporter(result)
                if self.watch is not None:
                    self.watch(stage.name, scene, result.iteration + 1)

            run_stage(stage, setup, report, start=first)

    def _check_networks(self, found: Checkpoint) -> None:
        """Refuses to go on with networks of another kind; texture maps fit everywhere."""
        saved, here = found.values.get("networks", "warp"), self.backend.networks
        maps = found.stage == "fine" and self.config.textures.learnt
        if not maps and saved != here:
            remedy = (
                "resume with --backend warp"
                if saved == "warp"
                else "resume without --backend where CUDA and tinycudann are there"
            )
            raise UserError(
                f"{found.path}: its networks were trained with {saved}, whose parameters {here} cannot take "
                f"over; {remedy}, or give another --out"
            )

    def _export(self, folder: Path, mesh: Mesh, maps: TextureMaps, setup: TrainingSetup) -> None:
        if not self.workers.leads:
            return
        with torch.no_grad():
            columns = _PROBE_COLUMNS_PER_FACE * setup.light.resolution
            probe = setup.light.to_latlong(columns // 2, columns)
            export_asset(folder, mesh, maps, probe)

    def _validate(self, scene: FineScene, setup: TrainingSetup, held_out: Views) -> None:
        if not self.workers.leads:
            return
        if len(held_out) == 0:
            _LOG.warning(
                "no held-out views: validation is skipped; convert with --test-frames or --test-every"
            )
            return
        if self.config.train.validate_views == 0:
            _LOG.info("train.validate_views is 0: validation is skipped")
            return
        setup.trace_occlusion(scene)
        mean = validate(
            held_out,
            lambda view: setup.render_view(scene, held_out, view),
            self.run.validation,
            self.config.train.validate_views,
        )
        figures = ", ".join(f"{name} {value:.4g}" for name, value in mean.items() if value is not None)
        _LOG.info("held-out views: %s", figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.train", description="Recovers a textured mesh from a dataset of posed views."
    )
    parser.add_argument(
        "--config", type=Path, help="YAML file of settings; recon/configs/default.yaml explains them"
    )
    parser.add_argument("--data", help="dataset folder, as usd_to_llff.py writes it (sets data.path)")
    parser.add_argument("--out", type=Path, default=Path("runs/latest"), help="run folder (%(default)s)")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="extend",
        nargs="+",
        default=[],
        help="change settings, such as train.batch=4 material.model=joint",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted run in --out")
    options = parser.parse_args(arguments)

    workers = Workers.from_environment()
    device = choose_device(options.device, workers.local_rank)
    config = _asked_config(options)
    kept = RunFolder(options.out)
    with ExitStack() as opened:
        if workers.leads:
            run = RunFolder.open(kept.path, resume=options.resume)
            opened.enter_context(logging_to(run.log))
        else:
            run = RunFolder.open(opened.enter_context(TemporaryDirectory()), resume=False)
        opened.enter_context(run.reporting_errors())
        saved = kept.saved_config() if options.resume else None
        if saved is not None:
            config = _config_to_resume(saved, config, kept)
            if kept.is_finished():
                _LOG.info("%s: the run is finished, there is nothing to resume", kept.path)
                return
        run.save_config(config)
        opened.enter_context(deterministic_on_cpu(device))
        opened.enter_context(workers.joined(device))
        checkpoints = Checkpoints(kept.checkpoints)
        training = Training(config, run, checkpoints, device, options.backend, workers)
        training.execute(resume=options.resume)
        _LOG.info("done: %s", run.mesh / "mesh.obj")


def _asked_config(options: argparse.Namespace) -> Config:
    """What the command line asks for; with --resume and no --config, based on the run's own config."""
    source = options.config
    own = RunFolder(options.out).config
    if source is None and options.resume and own.is_file():
        source = own
    config = load_config(source, options.overrides)
    return config if options.data is None else with_values(config, {"data.path": options.data})


def _config_to_resume(saved: Config, asked: Config, run: RunFolder) -> Config:
    """The config of the run that is resumed, which the command line may repeat but not change."""
    old, new = saved.data.path, asked.data.path
    if new is None or (old is not None and Path(old).resolve() == Path(new).resolve()):
        asked = with_values(asked, {"data.path": old})
    changed = differences(saved, asked)
    if changed:
        raise UserError(
            f"{run.path}: the run to resume had other settings ({'; '.join(changed)}); "
            "resume with --resume and --out alone, or give another --out"
        )
    return saved


if __name__ == "__main__":
    run_command(main)
