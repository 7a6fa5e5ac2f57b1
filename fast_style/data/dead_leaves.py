"""Dead leaves: synthetic content images with the statistics of photographs."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.float32]

_SUPERSAMPLING = 2
_MAX_VERTICES = 28
_MAX_SHAPES = 600  # bounds the time of one picture
_TEXTURES = 3


def dead_leaves(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one picture of occluding, shaded and textured shapes, determined by ``rng`` alone.

    This is the dead leaves model of Lee, Mumford and Huang, "Occlusion models for natural images"
    (IJCV 2001). Shapes fall on one another with radii r of density proportional to r^-3, which
    gives the scale invariance of photographs. Shapes and textures are mixed as in the dead leaves
    models of Baradad et al., "Learning to see by looking at noise" (NeurIPS 2021). Each picture
    also has its own focus, lens blur, exposure, white balance and sensor noise.

    Args:
        size: height and width in pixels, at least 32.
        rng: the only source of randomness; it is advanced.

    Returns:
        ``(size, size, 3)`` RGB, uint8.

    Raises:
        ValueError: if ``size`` is below 32.

    >>> dead_leaves(64, np.random.default_rng(0)).shape
    (64, 64, 3)
    """
    if size < 32:
        raise ValueError(f"a dead leaves picture needs size >= 32, got {size}")
    palette = _palette(rng)
    textures = np.stack([_texture(size, rng) for _ in range(_TEXTURES)])

    # A far plane of large shapes on a backdrop, in or out of focus, then the plane in focus.
    picture, _ = _plane(size, rng, palette, textures, size / 20, rng.uniform(0, 1.5), backdrop=True)
    if rng.random() < 0.4:
        picture = _blur(picture, size * np.exp(rng.uniform(-6, -3.5)))
    smallest = np.exp(rng.uniform(np.log(1.2), np.log(size / 20)))
    near, opacity = _plane(
        size, rng, palette, textures, smallest, rng.uniform(0.2, 1.8) ** 1.5, backdrop=False
    )
    picture = near + (1 - opacity) * picture

    return _photograph(picture, rng)


def _palette(rng: np.random.Generator) -> Floats:
    """Six colours ``(6, 3)`` with the strongly correlated channels of photographs."""
    luminance = rng.beta(1.0, 1.2, 6)
    # Opponent axes: orange against blue varies most in photographs, green against magenta least.
    saturation = rng.exponential(0.11) + 0.02
    warm = rng.normal(0.03, saturation, 6) + rng.normal(0, 0.03)
    green = rng.normal(0, 0.4 * saturation, 6)
    colours = np.stack([luminance + warm, luminance + green, luminance - warm], axis=1)
    return np.clip(colours, 0.02, 0.98).astype(np.float32)


def _texture(size: int, rng: np.random.Generator) -> Floats:
    """Band-limited noise or wavy stripes ``(size, size)`` with a standard deviation of about 1."""
    cell = np.exp(rng.uniform(np.log(1.5), np.log(size / 16)))
    stretch = np.exp(rng.uniform(0, 1.6))
    angle = rng.uniform(0, np.pi)
    cos, sin = np.cos(angle) / cell, np.sin(angle) / cell
    half = size / 2
    lattice = rng.standard_normal((size, size), dtype=np.float32)
    a, b, c, d = cos / stretch, sin / stretch, -sin, cos
    coefficients = (a, b, half - (a + b) * half, c, d, half - (c + d) * half)
    resized = Image.fromarray(lattice).transform(
        (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    # Fine grain on the coarse pattern, as in fur, sand or foliage.
    noise = np.asarray(resized) * np.float32(1.3) + lattice * np.float32(rng.uniform(0, 0.8))
    look = rng.random()
    if look < 0.2:
        y, x = np.ogrid[:size, :size]
        phase = (x * (2.5 * c) + y * (2.5 * d)).astype(np.float32)
        return np.float32(1.4) * np.sin(phase + np.float32(0.4) * noise)
    if look < 0.45:
        return np.tanh(np.float32(2) * (noise - np.float32(0.5)))
    return noise


def _plane(
    size: int,
    rng: np.random.Generator,
    palette: Floats,
    textures: Floats,
    smallest: float,
    coverage: float,
    backdrop: bool,
) -> tuple[Floats, Floats]:
    """One plane of shapes: colour times opacity ``(size, size, 3)``, opacity ``(size, size, 1)``.

    ``smallest`` is the smallest radius in pixels, ``coverage`` the total area of the shapes as a
    multiple of the picture. With ``backdrop``, a shaded ground behind all shapes fills the picture;
    without it, the plane is transparent between them.
    """
    largest = size / 2
    mean_area = 2 * np.pi * np.log(largest / smallest) / (smallest**-2 - largest**-2)
    count = int(np.clip(coverage * size**2 / mean_area, 3, _MAX_SHAPES))
    radius = (smallest**-2 - rng.random(count) * (smallest**-2 - largest**-2)) ** -0.5

    # Shapes gather in clusters of like colour, as leaves or stones do; flat areas stay between.
    clusters = 5
    cluster = rng.integers(clusters, size=count)
    spread = rng.uniform(0.06, 0.5, clusters)[cluster, None]
    centre = rng.random((clusters, 2))[cluster] + spread * rng.standard_normal((count, 2))
    centre = centre % 1.0 * size
    outlines, corners = _outlines(radius, centre, rng)

    fine = _labels(size, outlines, corners)

    # Row 0 of every table is the backdrop.
    count += 1
    radius = np.concatenate([[0.7 * size], radius])
    centre = np.concatenate([[[size / 2, size / 2]], centre])
    own = rng.integers(len(palette), size=clusters)[cluster]
    other = rng.integers(len(palette), size=count)
    chosen = np.where(rng.random(count) < 0.12, other, np.concatenate([[other[0]], own]))
    base = palette[chosen] + rng.normal(0, 0.1, (count, 1)) + rng.normal(0, 0.025, (count, 3))
    direction = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.7, count)
    steepness = rng.exponential(0.25, count) / radius
    slope_x, slope_y = steepness * np.cos(direction), steepness * np.sin(direction)
    offset = 1 - slope_x * centre[:, 0] - slope_y * centre[:, 1]
    textured = rng.random(count) < rng.uniform(0.3, 1.0)
    tint = np.abs(base) * rng.exponential(0.3, (count, 1)) + rng.normal(0, 0.02, (count, 3))
    tint *= textured[:, None]
    which = rng.integers(len(textures), size=count)
    opaque = np.ones((count, 1))
    opaque[0] = backdrop
    shading = np.stack([offset, slope_x, slope_y]).astype(np.float32)
    if not backdrop:
        shading[:, 0] = (1, 0, 0)

    flat = _averaged(np.concatenate([base, np.ones((count, 1))], axis=1) * opaque, fine)
    tints = _averaged(np.concatenate([tint, opaque], axis=1) * opaque, fine)
    shade = _shades(shading, fine)
    # The grain itself is irregular, so one sample a pixel is enough to switch between textures.
    coarse = which[fine[::_SUPERSAMPLING, ::_SUPERSAMPLING]]
    grain = np.take_along_axis(textures, coarse[None], axis=0)[0]
    colour = (flat[..., :3] + tints[..., :3] * grain[..., None]) * shade[..., None]
    return colour, flat[..., 3:]


def _labels(
    size: int, outlines: NDArray[np.float64], corners: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Which shape covers each supersampled pixel, counted from 1, or 0 for none."""
    labels = Image.new("I", (size * _SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(labels)
    points = (outlines * _SUPERSAMPLING).reshape(len(outlines), -1).tolist()
    for label, (outline, vertices) in enumerate(zip(points, corners.tolist(), strict=True), 1):
        draw.polygon(outline[: 2 * vertices], fill=label)
    return np.asarray(labels)


def _shades(shading: Floats, labels: NDArray[np.int32]) -> Floats:
    """Brightness of each pixel: a ramp across each shape, by ``shading`` (offset, x, y)."""
    ramp = (np.arange(len(labels), dtype=np.float32) + np.float32(0.5)) / _SUPERSAMPLING
    shade = shading[0][labels] + shading[1][labels] * ramp + shading[2][labels] * ramp[:, None]
    return np.asarray(Image.fromarray(np.clip(shade, 0.3, 1.7)).reduce(_SUPERSAMPLING))


def _averaged(table: NDArray[np.float64], labels: NDArray[np.int32]) -> Floats:
    """Rows of ``table`` (N, 4) in [0, 1], looked up by label and averaged over each pixel."""
    rows = (np.clip(table, 0, 1) * 255).astype(np.uint8).view(np.uint32)[:, 0]
    # In mode RGBA, reduce() would undo the multiplication by opacity.
    image = Image.frombytes("RGBX", labels.shape, rows[labels].tobytes())
    return np.asarray(image.reduce(_SUPERSAMPLING), dtype=np.float32) / np.float32(255)


def _outlines(
    radius: NDArray[np.float64], centre: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices ``(N, _MAX_VERTICES, 2)`` in pixels, and how many each shape uses, ``(N,)``."""
    count = len(radius)
    weights = rng.dirichlet(np.ones(5))  # a picture has shapes of its own
    kind = rng.choice(5, size=count, p=weights)
    rectangle, polygon, blob, strip = kind == 1, kind == 2, kind == 3, kind == 4

    corners = np.full(count, _MAX_VERTICES)
    corners[rectangle] = 4
    corners[polygon] = rng.integers(3, 8, count)[polygon]
    aspect = np.exp(np.abs(rng.normal(0, 0.5, count)))
    aspect[strip] *= np.exp(rng.uniform(1.5, 3.5, count))[strip]
    angle = rng.uniform(0, np.pi) * (rng.random() < 0.5) + np.pi / 2 * rng.integers(2, size=count)
    angle = angle + rng.normal(0, np.exp(rng.uniform(-4, 1)), count)

    turn = 2 * np.pi * (np.arange(_MAX_VERTICES) + 0.5) / corners[:, None]
    lobes, phase = rng.integers(2, 6, (2, count, 1)), rng.uniform(0, 2 * np.pi, (2, count, 1))
    reach = 1 + 0.2 * blob[:, None] * np.cos(lobes * turn + phase).sum(0)
    reach += polygon[:, None] * rng.uniform(-0.4, 0.4, (count, _MAX_VERTICES))
    x = reach * np.cos(turn)
    bend = rng.normal(0, 0.3, count) * ~rectangle
    length, width = (radius * np.sqrt(aspect))[:, None], (radius / np.sqrt(aspect))[:, None]
    y = width * reach * np.sin(turn) + length * bend[:, None] * x**2
    x = length * x
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=2) + centre[:, None], corners


def _blur(picture: Floats, sigma: float) -> Floats:
    """Gaussian blur of an RGB picture in [0, 1]."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(float(sigma)))
    return np.asarray(blurred, dtype=np.float32) / np.float32(255)


def _photograph(picture: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add uneven light, blur, exposure, contrast, white balance and noise, as a camera does."""
    size = len(picture)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    gain = rng.normal(0, 0.15, 2).astype(np.float32)
    light = np.exp(gain[0] * ramp) * np.exp(gain[1] * ramp)[:, None]
    picture = _blur(picture * light[..., None], 0.1 + rng.exponential(0.15))

    contrast = np.exp(rng.normal(-0.15, 0.22))
    exposure = np.exp(rng.normal(0.0, 0.25)) * np.exp(rng.normal(0, 0.04, 3))
    pivot = rng.uniform(0.35, 0.6)
    picture = (picture * exposure.astype(np.float32) - np.float32(pivot)) * np.float32(contrast)
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    picture += np.float32(pivot) + np.float32(rng.exponential(0.012)) * noise
    return (np.clip(picture, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
