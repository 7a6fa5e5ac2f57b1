"""The kernels agree with PyTorch in float64, and compile for an H100.

They run on a GPU where there is one, else in Triton's interpreter.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fast_style.networks import kernels
from fast_style.networks.kernels import launch

pytestmark = pytest.mark.skipif(not kernels.AVAILABLE, reason="needs Triton")

EPS = 1e-5
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
LAST = torch.channels_last
# Shapes of few tiles, because the interpreter is slow. WIDE has one pixel more than a tile of 32
# (backward) or 64 pixels holds. The channels of UNEVEN fill no tile.
SMALL = (2, 3, 14, 19)
WIDE = (1, 128, 5, 13)
UNEVEN = (1, 130, 4, 5)


def values(*shape: int, seed: int = 0, device: str, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(device, dtype)
    return x.contiguous(memory_format=LAST) if len(shape) == 4 else x


def near(got: Tensor, wanted: Tensor, scale: float = 1) -> None:
    """A result of float32 arithmetic, rounded once, equals the float64 result."""
    relative = 1e-5
    if got.dtype == torch.bfloat16:
        relative = 2**-8 if got.is_cuda else 2**-7  # the interpreter truncates, GPUs round
    torch.testing.assert_close(got.double(), wanted, rtol=relative, atol=2e-5 * scale)


def pad_reference(x: Tensor, margin: int, skipped: int) -> Tensor:
    """Padding by indices: PyTorch's paddings cannot mirror the edge itself by more than 1."""

    def indices(side: int) -> Tensor:
        once = torch.arange(side)
        top = once[skipped : skipped + margin].flip(0)
        bottom = once[side - margin - skipped : side - skipped].flip(0)
        return torch.cat([top, once, bottom]).to(x.device)

    return x[:, :, indices(x.shape[2])][..., indices(x.shape[3])]


@DTYPES
@pytest.mark.parametrize(
    ("shape", "margin", "skipped"),
    [
        (SMALL, 12, 1),
        (WIDE, 1, 1),
        (UNEVEN, 1, 0),
        ((3, 1, 17, 11), 4, 1),
        # Margins as wide as the mirror image: a pixel appears up to nine times.
        ((2, 4, 6, 9), 5, 1),
        ((2, 4, 5, 5), 5, 0),
        ((1, 8, 2, 1), 0, 1),
    ],
)
def test_padding(
    device: str, shape: tuple[int, ...], margin: int, skipped: int, dtype: torch.dtype
) -> None:
    x = values(*shape, device=device, dtype=dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    wanted = pad_reference(exact, margin, skipped)
    if skipped:
        assert torch.equal(wanted, F.pad(exact, (margin,) * 4, mode="reflect"))
    got = kernels.padded(x, margin, skipped)
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=LAST)
    assert torch.equal(got.double(), wanted)
    gradient = values(*wanted.shape, seed=1, device=device, dtype=dtype)
    (change,) = torch.autograd.grad(got, x, gradient)
    (wanted_change,) = torch.autograd.grad(wanted, exact, gradient.double())
    assert change.dtype == dtype
    near(change, wanted_change)


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x.contiguous(),
        lambda x: x.transpose(2, 3),
        lambda x: x[:, :, 1:, ::2],
        lambda x: x[:1].expand(3, -1, -1, -1),
    ],
    ids=["contiguous", "transposed", "sliced", "expanded"],
)
@pytest.mark.parametrize("channels", [None, 8])
def test_padding_of_any_strides_and_more_channels(
    device: str, lay: Callable[[Tensor], Tensor], channels: int | None
) -> None:
    leaf = values(2, 3, 15, 11, device=device).requires_grad_()
    x = lay(leaf)
    got = kernels.padded(x, 4, 1, channels)
    more = (channels or 3) - 3
    wanted = F.pad(F.pad(x, (4,) * 4, mode="reflect"), (0, 0, 0, 0, 0, more))
    assert got.is_contiguous(memory_format=LAST)
    assert torch.equal(got, wanted)
    gradient = values(*wanted.shape, seed=1, device=device).contiguous()
    (change,) = torch.autograd.grad(got, leaf, gradient, retain_graph=True)
    (wanted_change,) = torch.autograd.grad(wanted.double(), leaf, gradient.double())
    torch.testing.assert_close(change, wanted_change, rtol=1e-5, atol=1e-5)


def norm_reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    normal = (x - mean) / (variance + EPS).sqrt()
    return normal * weight[:, None, None] + bias[:, None, None]


@DTYPES
@pytest.mark.parametrize(
    ("shape", "kind", "margin", "skipped"),
    [
        (SMALL, "relu", 0, 1),
        (SMALL, "relu", 1, 1),
        (SMALL, "relu", 1, 0),
        (SMALL, "relu", 12, 1),
        (SMALL, "skip", 0, 1),
        (SMALL, "skip", 1, 0),
        (SMALL, "interior", 1, 1),
        (SMALL, "larger", 0, 1),
        (SMALL, "larger", 1, 1),
        (SMALL, "plain", 1, 1),
        (WIDE, "relu", 1, 1),
        (UNEVEN, "larger", 1, 1),
        ((3, 1, 9, 7), "relu", 1, 1),
    ],
)
def test_norm(
    device: str, shape: tuple[int, ...], kind: str, margin: int, skipped: int, dtype: torch.dtype
) -> None:
    channels, height, width = shape[1:]
    # Each channel has its own mean and spread.
    x = values(*shape, device=device)
    x = x * values(channels, 1, 1, seed=1, device=device) + values(
        channels, 1, 1, seed=2, device=device
    )
    inputs = {
        "x": x.to(dtype),
        "weight": values(channels, seed=3, device=device),
        "bias": values(channels, seed=4, device=device),
    }
    inset = 2 if kind in ("interior", "larger") else 0
    if kind not in ("relu", "plain"):
        inputs["skip"] = values(
            *shape[:2], height + 2 * inset, width + 2 * inset, seed=5, device=device, dtype=dtype
        )
    exact = {name: tensor.double().requires_grad_() for name, tensor in inputs.items()}
    for tensor in inputs.values():
        tensor.requires_grad_()

    def interior(skip: Tensor) -> Tensor:
        return skip[:, :, inset : inset + height, inset : inset + width]

    wanted = norm_reference(exact["x"], exact["weight"], exact["bias"])
    # Values whose sign may differ between float32 and float64 get no gradient.
    clear = pad_reference((wanted.abs() > 1e-4).to(dtype), margin, skipped)
    skip = inputs.get("skip")
    if kind == "relu":
        wanted = wanted.relu()
    elif "skip" in exact:
        wanted = wanted + interior(exact["skip"])
    wanted = pad_reference(wanted, margin, skipped)
    if kind == "interior":
        assert skip is not None
        skip = interior(skip)
    got = kernels.normalized(
        inputs["x"],
        inputs["weight"],
        inputs["bias"],
        EPS,
        kind == "relu",
        skip,
        margin,
        skipped,
    )
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=LAST)
    near(got, wanted)

    gradient = values(*wanted.shape, seed=6, device=device, dtype=dtype) * clear
    changes = torch.autograd.grad(got, list(inputs.values()), gradient)
    wanted_changes = torch.autograd.grad(wanted, list(exact.values()), gradient.double())
    # Small spreads make large gradients, and many pixels large sums.
    scale = max(1, (exact["weight"].abs() / exact["x"].std((2, 3)).amin(0)).max().item())
    for name, change, wanted_change in zip(inputs, changes, wanted_changes, strict=True):
        assert change.dtype == inputs[name].dtype
        assert change.shape == wanted_change.shape
        near(change, wanted_change, scale if name == "x" else wanted_change.abs().max().item())


@pytest.mark.parametrize("lay", [Tensor.contiguous, lambda x: x.transpose(2, 3)])
def test_norm_of_other_layouts(device: str, lay: Callable[[Tensor], Tensor]) -> None:
    x, skip = (lay(values(2, 6, 9, 9, seed=seed, device=device)) for seed in (0, 1))
    weight, bias = (values(12, seed=seed, device=device)[::2] for seed in (2, 3))
    inputs = [x, weight, bias, skip]
    exact = [tensor.double().requires_grad_() for tensor in inputs]
    for tensor in inputs:
        tensor.requires_grad_()
    got = kernels.normalized(x, weight, bias, EPS, False, skip, 1)
    wanted = pad_reference(norm_reference(*exact[:3]) + exact[3], 1, 1)
    assert got.is_contiguous(memory_format=LAST)
    near(got, wanted)
    # The gradient of a sum is expanded: all its strides are 0.
    weights = torch.arange(11.0, device=device)
    changes = torch.autograd.grad((got.sum((0, 1, 2)) * weights).sum(), inputs)
    wanted_changes = torch.autograd.grad((wanted.sum((0, 1, 2)) * weights).sum(), exact)
    for change, wanted_change in zip(changes, wanted_changes, strict=True):
        near(change, wanted_change, wanted_change.abs().max().item())


@DTYPES
def test_norm_of_flat_pictures_is_the_shift(device: str, dtype: torch.dtype) -> None:
    x = torch.full((2, 3, 9, 8), 7.0, device=device, dtype=dtype).requires_grad_()
    weight = values(3, device=device).requires_grad_()
    bias = torch.tensor([0.5, -2, 0], device=device).requires_grad_()
    got = kernels.normalized(x, weight, bias, EPS, False)
    assert torch.equal(got, bias.to(dtype)[:, None, None].expand_as(got))
    changes = torch.autograd.grad(got, (x, weight, bias), torch.ones_like(got))
    assert all(change.isfinite().all() for change in changes)
    assert torch.equal(changes[1], torch.zeros_like(weight))


def test_norm_keeps_digits_of_a_small_spread_around_a_large_mean(device: str) -> None:
    x = 1000 + 0.1 * values(1, 2, 67, 93, device=device)
    weight, bias = torch.ones(2, device=device), torch.zeros(2, device=device)
    got = kernels.normalized(x, weight, bias, EPS, False)
    # Near 1000, float32 has steps of 6e-5. Half a step is 3e-4 of the spread.
    wanted = norm_reference(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=5e-4)


def test_norm_of_two_megapixels(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is split into many chunks of many tiles, of which the last is short."""
    if device == "cpu":  # larger tiles, which the interpreter computes at once
        monkeypatch.setattr("fast_style.networks.kernels.norm.READ", 2**19)
        monkeypatch.setattr(launch, "PROGRAMS", 4)
    x = (4 + values(1, 1, 1031, 2039, device=device)).bfloat16().requires_grad_()
    exact = x.detach().double().requires_grad_()
    weight = torch.ones(1, device=device, requires_grad=True)
    bias = torch.zeros(1, device=device, requires_grad=True)
    got = kernels.normalized(x, weight, bias, EPS, False)
    wanted = norm_reference(exact, weight.double(), bias.double())
    near(got, wanted)
    gradient = (1 + values(*x.shape, seed=1, device=device)).bfloat16()
    changes = torch.autograd.grad(got, (x, weight, bias), gradient)
    wanted_changes = torch.autograd.grad(wanted, (exact, weight, bias), gradient.double())
    near(changes[0], wanted_changes[0])
    for change, wanted_change in zip(changes[1:], wanted_changes[1:], strict=True):
        torch.testing.assert_close(change, wanted_change, rtol=1e-5, atol=10)


def test_results_repeat_bit_for_bit(device: str) -> None:
    # The interpreter runs one program after the other: only a GPU needs a large picture here.
    shape = (16, 128, 65, 67) if device == "cuda" else (1, 3, 17, 19)
    x = values(*shape, device=device, dtype=torch.bfloat16).requires_grad_()
    weight, bias = (values(shape[1], seed=seed, device=device).requires_grad_() for seed in (1, 2))

    def run() -> list[Tensor]:
        got = kernels.normalized(x, weight, bias, EPS, True, margin=1)
        got = kernels.padded(got, 2, 1)
        gradient = values(*got.shape, seed=3, device=device, dtype=torch.bfloat16)
        return [got, *torch.autograd.grad(got, (x, weight, bias), gradient)]

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


@DTYPES
@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("shape", [(3, 64, 8, 9), (1, 130, 5, 7), (2, 1, 17, 241), (1, 512, 3, 3)])
def test_biased_relu(
    device: str, shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    leaf = values(*shape, device=device, dtype=dtype).requires_grad_()
    bias = values(shape[1], seed=1, device=device, dtype=dtype)
    # In place, it must not change the leaf.
    x = leaf.clone(memory_format=layout)
    version, place = x._version, x.data_ptr()
    got = kernels.biased_relu(x, bias)
    assert got is x
    assert (x._version, x.data_ptr()) == (version + 1, place)
    exact = leaf.detach().double().requires_grad_()
    wanted = (exact + bias.double()[:, None, None]).relu()
    near(got, wanted)
    gradient = values(*shape, seed=2, device=device, dtype=dtype)
    (change,) = torch.autograd.grad(got, leaf, gradient)
    (wanted_change,) = torch.autograd.grad(wanted, exact, gradient.double())
    assert torch.equal(change.double(), wanted_change)


def test_biased_relu_knows_when_its_output_was_changed(device: str) -> None:
    x = kernels.biased_relu(values(1, 4, 3, 3, device=device).requires_grad_() * 1, torch.zeros(4))
    x.mul_(-1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x.sum().backward()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_all_serve_without_gradients(device: str, mode: Callable[[], Any]) -> None:
    with mode():
        x = values(1, 4, 6, 5, device=device)
        weight, bias = (values(4, seed=seed, device=device) for seed in (1, 2))
        normal = kernels.normalized(kernels.padded(x, 1, 1), weight, bias, EPS, True)
        wanted = norm_reference(pad_reference(x, 1, 1).double(), weight.double(), bias.double())
        near(normal, wanted.relu())
        near(kernels.biased_relu(normal, bias), (wanted.relu() + bias[:, None, None]).relu())


class Log(TorchDispatchMode):
    """Names of the dispatched operations, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def step(x: Tensor, weight: Tensor, bias: Tensor, backward: bool = True) -> list[Tensor]:
    """Call every function once; returns all results and gradients."""
    padded = kernels.padded(x, 2, 1, 8)
    normal = kernels.normalized(padded, weight, bias, EPS, True, margin=1)
    again = kernels.normalized(padded, weight, bias, EPS, False, skip=normal)
    got = kernels.biased_relu(again, bias.detach())
    made = [padded, normal, got]
    if backward:
        made += torch.autograd.grad(got, (x, weight, bias), torch.ones_like(got))
    return made


@DTYPES
def test_fake_tensors_are_as_real_ones_and_each_function_is_one_operation(
    device: str, dtype: torch.dtype
) -> None:
    x = values(2, 3, 9, 7, device=device, dtype=dtype).requires_grad_()
    weight, bias = (values(8, seed=seed, device=device).requires_grad_() for seed in (1, 2))
    real = step(x, weight, bias)
    with FakeTensorMode() as mode, Log() as log:
        fake = step(mode.from_tensor(x), mode.from_tensor(weight), mode.from_tensor(bias))
    for one, other in zip(real, fake, strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
        assert other.device.type == device
    ours = [name.split("::")[1] for name in log.names if name.startswith("fast_style::")]
    assert ours == [
        "padded",
        "normalized",
        "normalized",
        "biased_relu_",
        "biased_relu_backward",
        "normalized_backward",
        "normalized_backward",
        "padded_backward",
    ]
    # The others make the test's gradient, and add up gradients of tensors that are used twice.
    others = [name for name in log.names if name.startswith("aten::")]
    assert set(others) <= {"aten::ones_like", "aten::add", "aten::add_"}, others
    assert len(others) == 4


def test_fake_cuda_tensors_are_served_without_a_gpu() -> None:
    with FakeTensorMode():
        x = torch.empty(2, 3, 9, 7, device="cuda", dtype=torch.bfloat16)
        weight, bias = torch.empty(8, device="cuda"), torch.empty(8, device="cuda")
        assert kernels.serve(x)
        assert not kernels.serve(x.double())
        made = step(x, weight, bias, backward=False)
    assert [tuple(tensor.shape) for tensor in made] == [
        (2, 8, 13, 11),
        (2, 8, 15, 13),
        (2, 8, 13, 11),
    ]
    assert all(tensor.device.type == "cuda" for tensor in made)


def test_cpu_tensors_are_served_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not kernels.serve(x)
    with kernels.on_cpu():
        assert kernels.serve(x)
        assert not kernels.serve(x.double())
    assert not kernels.serve(x)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"), kernels.on_cpu():
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, c: kernels.padded(x, 5, 1), "margin of 5 is wider"),
        (lambda x, c: kernels.padded(x, 1, 1, 3), "4 channels cannot be filled up to 3"),
        (lambda x, c: kernels.padded(x[0], 1, 1), "come as"),
        (lambda x, c: kernels.padded(x[:1, :1, :1, :1].expand(1, 1, 2**15, 2**16), 1, 0), "pixels"),
        (lambda x, c: kernels.normalized(x, c, c, EPS, True, x), "after ReLU"),
        (lambda x, c: kernels.normalized(x, c, c, EPS, False, x[..., 1:]), "cannot be added"),
        (lambda x, c: kernels.biased_relu(x[..., 1:], c), "in place"),
    ],
)
def test_what_cannot_be_is_refused(wrong: Callable[[Tensor, Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(torch.zeros(2, 4, 5, 5), torch.zeros(4))


# Triton can compile for a GPU that this machine lacks. Here each launch compiles instead, with the
# same arguments.
COMPILE = """
import sys, tempfile, subprocess, re
import torch
from fast_style.networks import kernels
assert "triton" not in sys.modules, "importing kernels imports Triton"
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

class H100:
    def get_current_target(self): return GPUTarget("cuda", 90, 32)
    def get_current_device(self): return 0
    def get_current_stream(self, device): return 0

driver.set_active(H100())
run, compiled = JITFunction.run, {}
def compile_only(self, *arguments, grid, warmup, **options):
    kernel = run(self, *arguments, grid=grid, warmup=True, **options)
    compiled[id(kernel)] = self.fn.__name__, kernel
JITFunction.run = compile_only

def launch_all(dtype):
    x = torch.zeros(2, 128, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
    c = torch.zeros(128, requires_grad=True)
    x.requires_grad_()
    skip = kernels.padded(x, 1, 1)
    yield skip
    yield kernels.normalized(x, c, c, 1e-5, True, margin=1)
    if dtype == torch.bfloat16:  # the default of trainings, in all forms
        yield kernels.normalized(x, c, c, 1e-5, False, skip, margin=1)
        yield kernels.normalized(x, c, c, 1e-5, False, skip[..., 1:-1, 1:-1])
        kernels.padded(x[:, :3].contiguous(), 4, 1, 8)
    yield kernels.biased_relu(x * 1, c.detach())

for dtype in (torch.bfloat16, torch.float32):
    for got in launch_all(dtype):
        got.backward(torch.zeros_like(got), retain_graph=True)

tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
for name, kernel in compiled.values():
    vectors = "v4.b32" in kernel.asm["ptx"] or "v4.f32" in kernel.asm["ptx"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [tools / "cuobjdump", "--dump-resource-usage", file.name],
            capture_output=True, text=True, check=True,
        ).stdout
    registers, stack = re.search(r"REG:(\\d+) STACK:(\\d+)", usage).groups()
    print("compiled", name, registers, stack, vectors)
"""


@pytest.mark.slow
def test_all_compile_for_an_h100(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    import triton

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    for tool in ("ptxas", "cuobjdump"):
        if not (tools / tool).is_file():
            pytest.skip(f"Triton comes without {tool}")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    # Kept between runs: Triton compiles only kernels that changed.
    assert pytestconfig.cache is not None
    monkeypatch.setenv("TRITON_CACHE_DIR", str(pytestconfig.cache.mkdir("triton")))
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, cwd=pytestconfig.rootpath
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("compiled")]
    assert {name for name, *_ in lines} == {
        "pad",
        "unpad",
        "moments",
        "merge_moments",
        "normalize",
        "gradient_sums",
        "merge_sums",
        "normalize_backward",
        "biased_relu",
        "relu_backward",
    }
    for name, registers, stack, vectors in lines:
        # Few enough registers for four programs on each multiprocessor, nearly none spilled to the
        # stack, and memory read in the widest words.
        assert int(registers) <= launch.MAX_REGISTERS, name
        assert int(stack) <= 64, name
        assert vectors == "True", name
