"""A training step: recorded as a graph, it is what Lightning runs piece by piece."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from emulated_graphs import EmulatedRecorder
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from fast_style.bundled import PHOTOS
from fast_style.checkpoint import load_style
from fast_style.devices import tune_for_cuda
from fast_style.images import find_pictures, open_picture, resize_picture, to_tensor
from fast_style.networks import kernels
from fast_style.networks.cuda_graphs import Recorder
from fast_style.networks.transformer import ImageTransformer
from fast_style.stylizing.stylizer import Stylizer
from fast_style.training.exports import ExportNetwork
from fast_style.training.module import StepInputs, StyleTransfer
from fast_style.training.schedule import Schedule

Compose = Callable[..., DictConfig]

STEPS = 10

TINY = [
    "experiment=quickstart",
    "model.widths=[4,8,8]",
    "model.residual_blocks=1",
    "loss.style_layers=[relu1_1,relu2_1]",
    "loss.content_layers=[relu2_1]",
    "loss.style_scales=[1,2]",
    "loss.stability_weight=1",
    "data.size=40",
    "data.batch_size=2",
    "data.workers=0",
    "data.val_size=32",
    "data.val_count=1",
    "trainer.accelerator=cpu",
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=5",
    "trainer.log_every_n_steps=2",
    "logger.save_dir=null",
]


class StopAt(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: object) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def fit(
    compose: Compose,
    *overrides: str,
    recorder: Recorder | None = None,
    resume: Path | None = None,
    export: Path | None = None,
    stop: int | None = None,
    tune: Callable[[ImageTransformer], object] = lambda network: None,
    callbacks: Sequence[pl.Callback] = (),
) -> tuple[StyleTransfer, pl.Trainer]:
    """Train without what `fast_style.training.train.train` has beside the module."""
    cfg = compose(*TINY, *overrides)
    pl.seed_everything(cfg.seed, verbose=False)
    network = instantiate(cfg.model)
    tune(network)
    loss = instantiate(cfg.loss)
    loss.set_style_image(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)))
    stability = instantiate(cfg.stability)
    module = StyleTransfer(network, loss, instantiate(cfg.optimizer), cfg.seed, stability)
    module.recorder = recorder
    callbacks = [Schedule(), *callbacks]
    if stop is not None:
        callbacks.append(StopAt(stop))
    if export is not None:
        callbacks.append(ExportNetwork(export, "tiny", {}))
    trainer = instantiate(
        cfg.trainer, logger=False, callbacks=callbacks,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(module, instantiate(cfg.data), ckpt_path=resume, weights_only=True)
    return module, trainer


@pytest.mark.parametrize(
    ("optimizer", "adjustable", "precision", "stability"),
    [
        ("muon", True, "32-true", "film"),
        ("muon", True, "bf16-mixed", "photo"),
        ("adam", False, "32-true", "photo"),
    ],
)
def test_recorded_steps_are_lightnings(
    compose: Compose, optimizer: str, adjustable: bool, precision: str, stability: str
) -> None:
    overrides = [
        f"optimizer={optimizer}",
        f"model.adjustable={adjustable}",
        f"trainer.precision={precision}",
        f"stability={stability}",
    ]
    plain, plain_trainer = fit(compose, *overrides)
    recorder = EmulatedRecorder()
    recorded, trainer = fit(compose, *overrides, recorder=recorder)
    # Three steps of each kind run as they are.
    assert recorder.records == (2 if adjustable else 1)
    assert recorder.replays == STEPS - 3 * recorder.records
    assert trainer.global_step == plain_trainer.global_step == STEPS
    assert trainer.callback_metrics.keys() == plain_trainer.callback_metrics.keys()
    for name, value in plain_trainer.callback_metrics.items():
        assert torch.equal(trainer.callback_metrics[name], value), name
    assert_equal(recorded, plain)


def assert_equal(found: StyleTransfer, expected: StyleTransfer) -> None:
    weights = found.network.state_dict()
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(weights[name], tensor), name


@pytest.mark.parametrize("stability", ["photo", "film"])
def test_every_input_of_a_recorded_step_is_read_anew(compose: Compose, stability: str) -> None:
    """What a graph took from elsewhere than its inputs would not change with them."""
    overrides = ["trainer.max_steps=8", f"stability={stability}"]
    module, _ = fit(compose, *overrides, recorder=EmulatedRecorder())
    step = module.recorded[False]
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=generator)
    given = module._inputs(batch, 0)
    other = next(  # Moves are so few that two steps may share one.
        inputs.view
        for inputs in (module._inputs(batch, number) for number in range(1, 100))
        if not torch.equal(inputs.view, given.view)
    )
    changed = StepInputs(255 - batch, given.strength / 2, 1 - given.changed, other)
    for group in module._optimizer.param_groups:
        group["lr"].zero_()  # the network stands still

    def losses(inputs: StepInputs) -> list[float]:
        return [value.item() for value in step(*inputs).values()]

    before = losses(given)
    for field in StepInputs._fields:
        assert losses(given._replace(**{field: getattr(changed, field)})) != before, field
        assert losses(given) == before, field
    module._optimizer.param_groups[0]["lr"].fill_(0.1)
    step(*given)
    assert losses(given) != before  # the learning rate was read anew as well


def test_a_batch_of_another_size_is_trained_on_too(
    compose: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EmulatedRecorder()
    module, _ = fit(compose, "trainer.max_steps=8", recorder=recorder)
    before = module.network.to_rgb.weight.detach().clone()
    replays = recorder.replays
    module.training_step(torch.zeros(1, 3, 40, 40, dtype=torch.uint8).random_(), 0)
    assert not torch.equal(module.network.to_rgb.weight, before)
    assert recorder.replays == replays
    assert "another size" in caplog.text


def test_a_recorded_run_resumes_as_one_that_never_stopped(compose: Compose, tmp_path: Path) -> None:
    overrides = ["trainer.max_steps=10", "stability=film"]
    straight, _ = fit(compose, *overrides, recorder=EmulatedRecorder())
    # As long by its schedule, but stopped on the way.
    _, trainer = fit(compose, *overrides, recorder=EmulatedRecorder(), stop=7)
    assert trainer.global_step == 7
    trainer.save_checkpoint(tmp_path / "middle.ckpt")
    saved = torch.load(tmp_path / "middle.ckpt", weights_only=True)
    for group in saved["optimizer_states"][0]["param_groups"]:
        assert isinstance(group["lr"], float)
    for recorder in (EmulatedRecorder(), None):  # with graphs, and where there are none
        resumed, _ = fit(compose, *overrides, recorder=recorder, resume=tmp_path / "middle.ckpt")
        assert_equal(resumed, straight)


# What Triton's interpreter trains on in seconds.
TINIEST = [  # Triton's interpreter is slow, and dead leaves have 32 px at least
    "data=photos", f"data.dir={PHOTOS}", "data.size=16", "data.batch_size=1", "data.val_size=16",
    "trainer.max_steps=2", "trainer.val_check_interval=2",
    "loss.style_layers=[relu1_1]", "loss.content_layers=[relu1_2]", "loss.style_scales=[1]",
    "loss.stability_weight=0",  # another pass through the same kernels
]  # fmt: skip


def test_what_is_done_to_a_network_for_cuda_leaves_its_files_right(
    compose: Compose, tmp_path: Path
) -> None:
    """Training, exports, loading and stylizing with the layout, the precision and the kernels of
    CUDA."""
    path = tmp_path / "tiny.safetensors"
    with kernels.on_cpu():
        module, _ = fit(
            compose, *TINIEST, "trainer.precision=bf16-mixed", export=path, tune=tune_for_cuda
        )  # fmt: skip
    trained = module.network.eval()
    kernel = trained.get_parameter("residuals.0.body.1.weight")
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    photo = to_tensor(resize_picture(open_picture(find_pictures(PHOTOS)[0]), 120)).unsqueeze(0)
    with torch.no_grad():
        expected = trained(photo)
        loaded = load_style(path).network(photo)
    assert expected.std() > 0.05
    assert psnr(loaded, expected) > 50
    assert psnr(Stylizer(path, "cpu", precision="float32")(photo), expected) > 40


def psnr(found: Tensor, expected: Tensor) -> float:
    return -10 * (found - expected).square().mean().log10().item()


def test_the_kernels_train_as_pytorchs_operations_do(compose: Compose) -> None:
    exactly = [*TINIEST, "trainer.precision=32-true", "+trainer.limit_val_batches=0"]
    plain, _ = fit(compose, *exactly)
    with kernels.on_cpu():
        fused, _ = fit(compose, *exactly, tune=tune_for_cuda)
    for name, weight in plain.network.named_parameters():
        if weight.ndim == 4:
            change = (fused.network.get_parameter(name) - weight).norm() / weight.norm()
            assert change < 1e-3, name
