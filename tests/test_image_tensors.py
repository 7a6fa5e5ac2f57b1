"""Pictures in other sizes, as tensors and back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import grey_as_rgb, noise
from PIL import Image

from fast_style.images import open_picture, resize_picture, save_picture, to_picture, to_tensor


class TestSizes:
    @pytest.mark.parametrize("size", [(1, 1), (20_000, 10)])
    def test_odd_sizes_survive(self, tmp_path: Path, size: tuple[int, int]) -> None:
        colours = noise(*size)
        save_picture(Image.fromarray(colours), tmp_path / "p.png")
        picture = open_picture(tmp_path / "p.png")
        np.testing.assert_array_equal(np.asarray(picture), colours)
        np.testing.assert_array_equal(np.asarray(to_picture(to_tensor(picture))), colours)

    @pytest.mark.parametrize(
        ("size", "longer_side", "expected"),
        [
            ((100, 40), 50, (50, 20)),
            ((40, 100), 250, (100, 250)),
            ((20_000, 10), 100, (100, 1)),
            ((1, 1), 7, (7, 7)),
            ((101, 50), 101, (101, 50)),
            ((640, 427), 256, (256, 171)),
        ],
    )
    def test_resize(
        self, size: tuple[int, int], longer_side: int, expected: tuple[int, int]
    ) -> None:
        assert resize_picture(Image.new("RGB", size), longer_side).size == expected

    def test_resize_filters_before_it_samples(self) -> None:
        checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
        small = resize_picture(Image.fromarray(checkerboard).convert("RGB"), 16)
        np.testing.assert_allclose(np.asarray(small, dtype=int), 127.5, atol=6)


class TestTensors:
    # Every level in every channel, each channel in another order.
    levels = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) ^ 85], axis=-1)
    colours = levels.reshape(8, 32, 3).astype(np.uint8)

    def test_to_tensor(self) -> None:
        tensor = to_tensor(Image.fromarray(self.colours))
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        expected = np.moveaxis(self.colours.astype(np.float32) / np.float32(255), 2, 0)
        np.testing.assert_array_equal(tensor.numpy(), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_round_trip_is_exact(self, dtype: torch.dtype) -> None:
        tensor = to_tensor(Image.fromarray(self.colours)).to(dtype).requires_grad_()
        picture = to_picture(tensor)
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), self.colours)

    @pytest.mark.parametrize(("dtype", "one"), [(torch.float16, 0x3C00), (torch.bfloat16, 0x3F80)])
    def test_every_half_precision_number_is_rounded_once(
        self, dtype: torch.dtype, one: int
    ) -> None:
        numbers = torch.arange(one + 1, dtype=torch.int16).view(dtype)  # all from 0 to 1
        expected = np.rint(255 * numbers.double().numpy()).astype(np.uint8)
        found = np.asarray(to_picture(numbers.expand(3, 1, -1)))
        np.testing.assert_array_equal(found[0], expected[:, None].repeat(3, axis=1))

    def test_uint8_is_taken_as_it_is(self) -> None:
        tensor = torch.from_numpy(np.moveaxis(self.colours, 2, 0).copy())
        np.testing.assert_array_equal(np.asarray(to_picture(tensor)), self.colours)

    def test_clamps_and_rounds_to_nearest(self) -> None:
        values = torch.tensor([-3.0, 1.7, torch.inf, 0.49 / 255, 0.51 / 255, 254.51 / 255])
        before = values.clone()
        picture = to_picture(values.expand(3, 1, 6))
        np.testing.assert_array_equal(np.asarray(picture), grey_as_rgb([[0, 255, 255, 0, 1, 255]]))
        assert torch.equal(values, before)

    def test_torch_is_not_imported_for_files(self) -> None:
        code = "import sys, fast_style.images; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
