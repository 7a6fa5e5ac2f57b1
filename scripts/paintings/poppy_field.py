"""Draw the bundled painting poppy-field, an impasto in oils, from a seed and nothing else.

Painted as a painter would: an underpainting in broad strokes, then ever finer ones that follow the
forms, then poplars, grasses and poppies from the far to the near. Every stroke is a brush dragged
along a path: its bristles leave streaks of colour and ridges of paint, and run dry towards the end.
At last light falls on the relief.
"""

import numpy as np
from canvas import (
    HEIGHT,
    SUPERSAMPLING,
    WIDTH,
    Array,
    Float,
    command,
    flow_along,
    ramp,
    shrink,
    smooth_noise,
    soften,
    trace,
)
from PIL import Image

HORIZON = 318.0
SUN = (664.0, 206.0)


class Easel:
    """A canvas of wet paint: `color` (H, W, 3) in 0 to 255, `relief` (H, W) in pixels."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Prepare a canvas and the brushes' bristles."""
        shape = (HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)
        self.rng = rng
        self.color = np.full((*shape, 3), (150, 84, 48), np.float32)
        self.relief = np.zeros(shape, np.float32)
        # Rows run along the stroke, columns across it: long, narrow hills.
        self.bristles = smooth_noise(rng, (1200, 1200), 70, 2.2)
        self.bristles += 0.7 * smooth_noise(rng, (1200, 1200), 160, 7)
        self.bristles += 0.3 * smooth_noise(rng, (1200, 1200), 3)
        self.bristles /= self.bristles.std()

    def brush(
        self, paths: Array, width: Array, color: Array, thick: float = 1.0, dry: float = 0.6
    ) -> None:
        """Lay strokes over one another in the order given.

        `paths` is (strokes, points, 2), `width` (strokes,), `color` (strokes, 3). `thick` scales
        the relief; `dry` is how much of the paint is gone at the end of a stroke.
        """
        lengths = np.hypot(*np.diff(paths, axis=1).transpose(2, 0, 1)).sum(1)
        along = int(lengths.max() * SUPERSAMPLING / 0.9) + 2
        across = int(width.max() * SUPERSAMPLING / 0.9) + 3
        together = max(1, 400_000 // (along * across))
        for first in range(0, len(paths), together):
            part = slice(first, first + together)
            self._lay(paths[part], width[part], color[part], thick, dry, along, across)

    def _lay(
        self, paths: Array, width: Array, color: Array,
        thick: float, dry: float, along: int, across: int,
    ) -> None:  # fmt: skip
        count, points, _ = paths.shape
        u = np.linspace(0, 1, along, dtype=np.float32)
        v = np.linspace(-1, 1, across, dtype=np.float32)
        position = u * (points - 1)
        low = position.astype(int).clip(max=points - 2)
        rest = (position - low)[:, None]
        center = paths[:, low] * (1 - rest) + paths[:, low + 1] * rest
        tangent = np.gradient(center, axis=1)
        tangent /= np.hypot(tangent[..., 0], tangent[..., 1])[..., None] + 1e-6
        tip = np.sqrt(1 - (1 - u / 0.12).clip(0) ** 2) * (1 - ((u - 0.7) / 0.3).clip(0) ** 2 * 0.6)
        half = width[:, None] / 2 * tip
        offset = half[..., None] * v
        x = center[..., 0, None] - tangent[..., 1, None] * offset
        y = center[..., 1, None] + tangent[..., 0, None] * offset
        column = (x * SUPERSAMPLING).astype(np.int32)
        row = (y * SUPERSAMPLING).astype(np.int32)

        # Each stroke takes its own piece of the bristles, at the pace of its own width.
        scale = width * SUPERSAMPLING / across
        first_v, first_u = self.rng.integers(0, 1200, (2, count, 1))
        hair_v = first_v + np.arange(across) * scale[:, None]
        hair_u = first_u + np.arange(along)
        hair = self.bristles[hair_u[:, :, None] % 1200, hair_v[:, None, :].astype(np.int32) % 1200]
        left = 1.9 - dry * 1.9 * u[:, None] ** 1.5 - 0.9 * np.abs(v) ** 4
        wet = left + 0.8 * hair > 0
        inside = (row >= 0) & (row < self.relief.shape[0]) & (column >= 0)
        keep = wet & inside & (column < self.relief.shape[1])
        row, column, hair = row[keep], column[keep], hair[keep]

        edge = np.broadcast_to(np.abs(v) ** 3, keep.shape)[keep]
        start = np.broadcast_to(u[:, None], keep.shape)[keep]
        number = np.broadcast_to(np.arange(count)[:, None, None], keep.shape)[keep]
        # A loaded brush pushes paint to its sides, and picks up what lies beneath.
        picked = (0.06 + 0.22 * start + 0.07 * hair).clip(0, 0.5)[:, None]
        tone = (1 + 0.085 * hair - 0.05 * edge)[:, None]
        warmth = hair[:, None] * np.array([5, 0, -6], np.float32)
        fresh = color[number] * tone + warmth
        self.color[row, column] = fresh * (1 - picked) + self.color[row, column] * picked
        body = np.minimum(np.sqrt(width), 4.6)[number] * thick
        ridge = body * (0.55 + 0.3 * hair + 0.4 * edge - 0.25 * start)
        self.relief[row, column] = 0.4 * self.relief[row, column] + ridge

    def finish(self) -> Image.Image:
        """Let light from the upper left fall on the paint."""
        down, right = np.gradient(soften(self.relief))
        slope = (0.6 * right + 0.8 * down).clip(-1.6, 1.6)
        shade = np.tanh(slope * 0.9)[..., None]
        lit = self.color.clip(0, 255) * (1 + 0.30 * np.minimum(shade, 0) + 0.15 * shade.clip(0))
        lit += 54 * shade.clip(0) ** 2 * (0.35 + lit / 400)
        return shrink(lit)


def path_middle(y: Array) -> Array:
    """Middle of the footpath (x) at height `y`."""
    depth = ((y - HORIZON) / (HEIGHT - HORIZON)).clip(0, 1.1)
    middle: Array = 610 - 330 * depth + 120 * np.sin(depth * 5.6) * depth**0.5 * (1.15 - depth)
    return middle


def scene(rng: np.random.Generator, drift: Array) -> tuple[Float, Float]:
    """Colours (H, W, 3) and directions (H, W) that the broad strokes aim at."""
    shape = (HEIGHT, WIDTH)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    sun = np.hypot(x - SUN[0], (y - SUN[1]) * 1.1)

    # Sky: rings round the sun that loosen into rolling clouds.
    rolls = smooth_noise(rng, shape, 130, 240)
    level = sun + 46 * rolls * (sun / 300).clip(0, 1)
    angle = flow_along(level)
    cloud = np.sin(level / 30 + 1.6 * smooth_noise(rng, shape, 90, 190))
    color = ramp(
        sun + 10 * rolls,
        (0, (255, 250, 214)), (36, (255, 242, 172)), (70, (255, 214, 104)), (130, (252, 176, 82)),
        (210, (240, 146, 104)), (320, (196, 130, 142)), (450, (110, 122, 176)),
        (640, (46, 92, 160)),
    )  # fmt: skip
    far_sky = (sun / 380).clip(0, 1)[..., None]
    light = ramp(sun, (0, (255, 250, 220)), (200, (255, 222, 140)), (420, (252, 190, 150)),
                 (700, (150, 200, 214)))  # fmt: skip
    shadow = ramp(sun, (0, (255, 220, 120)), (200, (226, 116, 84)), (420, (110, 86, 150)),
                  (700, (24, 56, 120)))  # fmt: skip
    amount = (np.abs(cloud) ** 1.5 * (0.35 + 0.4 * (sun / 300).clip(0, 1)))[..., None]
    color += amount * np.where(cloud[..., None] > 0, light - color, shadow - color)
    color += far_sky * smooth_noise(rng, shape, 60)[..., None] * np.array([8, 5, 3], np.float32)

    # Hills: two ridges, the nearer with sunlit slopes.
    for base, tall, wide, phase, stops in (
        (282, 26, 410, 2.2, ((0, (172, 128, 168)), (30, (120, 104, 164)), (60, (96, 96, 160)))),
        (302, 17, 300, 4.4, ((0, (222, 158, 96)), (14, (70, 118, 130)), (50, (36, 82, 104)))),
    ):
        edge = base - tall * np.sin(x * 2 * np.pi / wide + phase) - 8 * np.sin(x / 37 + phase)
        hill = y > edge
        color[hill] = ramp(y - edge, *stops)[hill]
        # The sky's strokes just above lie along the ridge too.
        wave = 2 * np.pi / wide
        ridge = np.arctan(-tall * wave * np.cos(x * wave + phase)) + 0.08 * rolls
        angle[y > edge - 18] = ridge[y > edge - 18]

    # Field: stripes lying on the ground far away, rolling turf nearby.
    depth = ((y - HORIZON) / (HEIGHT - HORIZON)).clip(0, 1)
    ground = y > HORIZON + 3 * np.sin(x / 50)
    stripe = smooth_noise(rng, shape, 9, 170) * (1 - depth) + smooth_noise(rng, shape, 44, 120)
    field = ramp(
        depth * 100 + 9 * stripe,
        (-10, (255, 214, 120)), (4, (232, 178, 74)), (14, (170, 168, 66)), (30, (92, 134, 62)),
        (55, (36, 94, 70)), (80, (16, 62, 66)), (105, (10, 36, 58)),
    )  # fmt: skip
    haze = (0.6 * drift - 0.1).clip(0, 0.4) * (1 - depth)
    field += haze[..., None] * (np.array([214, 52, 34], np.float32) - field)
    lean = smooth_noise(rng, shape, 90, 220)
    color[ground] = field[ground]
    angle[ground] = (0.16 * lean + 0.35 * depth * np.sin(x / 160 + 2 * depth))[ground]

    # Footpath.
    half = 3 + 62 * depth**1.25
    level = (x - path_middle(y)) / half + 0.18 * smooth_noise(rng, shape, 26)
    trod = ground & (np.abs(level) < 1)
    tread = ramp(
        level + 0.35 * smooth_noise(rng, shape, 12, 30),
        (-1, (110, 84, 130)), (-0.4, (206, 160, 160)), (0.2, (252, 222, 176)),
        (0.7, (236, 178, 132)), (1, (130, 92, 110)),
    )  # fmt: skip
    color[trod] = tread[trod]
    angle[trod] = (np.pi / 2 - np.arctan(np.gradient(path_middle(y[:, 0]))[:, None]) + 0.2 * lean)[
        trod
    ]
    return color, angle


def poppies_at(rng: np.random.Generator, shape: tuple[int, int]) -> Float:
    """How thickly poppies grow, (H, W): drifts of them, near 0 to 1."""
    drifts = smooth_noise(rng, shape, 60, 150) + 0.6 * smooth_noise(rng, shape, 22, 60)
    thick: Float = (0.5 + 0.4 * drifts).clip(0, 1)
    return thick


def jitter(rng: np.random.Generator, color: Array, amount: float) -> Float:
    """The same colours as a hand mixes them: lightness and hue vary from stroke to stroke."""
    light = rng.normal(0, amount, (len(color), 1))
    hue = rng.normal(0, amount * 0.55, (len(color), 3))
    mixed: Float = (color * (1 + light + hue)).astype(np.float32)
    return mixed


def cover(
    easel: Easel, color: Array, angle: Array, spacing: float, width: float, length: float,
    part: float = 1.0,
) -> None:  # fmt: skip
    """Lay one coat of strokes over the whole canvas, `spacing` pixels apart."""
    rng = easel.rng
    y, x = np.mgrid[-10 : HEIGHT + 10 : spacing, -10 : WIDTH + 10 : spacing]
    starts = np.stack([x.ravel(), y.ravel()], -1)
    starts = starts + rng.uniform(-spacing, spacing, starts.shape) * 0.7
    starts = rng.permutation(starts)[: int(part * len(starts))].astype(np.float32)
    lengths = (length * rng.uniform(0.7, 1.15, len(starts))).astype(np.float32)
    back = rng.random(len(starts)) < 0.5
    tilt = rng.normal(0, 0.08)
    paths = trace(angle + tilt, starts, np.where(back, -lengths, lengths), 9)
    # The colour is taken at the middle of the stroke, so that strokes keep to their shapes.
    middle = paths[:, 4]
    row = middle[:, 1].astype(int).clip(0, HEIGHT - 1)
    column = middle[:, 0].astype(int).clip(0, WIDTH - 1)
    widths = (width * rng.uniform(0.75, 1.15, len(starts))).astype(np.float32)
    mixed = jitter(rng, color[row, column], 0.075)
    # Broken colour: now and then a stroke leans to the complement.
    odd = rng.random(len(mixed)) < 0.12
    swap = np.array([[70, 130, 190], [250, 190, 90], [176, 96, 150]], np.float32)
    mixed[odd] = 0.7 * mixed[odd] + 0.3 * swap[rng.integers(0, 3, odd.sum())]
    easel.brush(paths, widths, mixed)


def curve(
    x: Array, y: Array, length: Array, heading: Array, bend: Array, squash: float = 1.0
) -> Float:
    """Arcs (strokes, 7, 2) from (x, y), turning by `bend` radians on their way."""
    at = np.linspace(0, 1, 7, dtype=np.float32)
    angle = heading[:, None] + bend[:, None] * (at - 0.2)
    step = length[:, None] / 6
    right = np.cumsum(np.cos(angle) * step, 1) - np.cos(angle) * step
    down = np.cumsum(np.sin(angle) * step, 1) - np.sin(angle) * step
    return np.stack([x[:, None] + right, y[:, None] + down * squash], -1).astype(np.float32)


def tree(easel: Easel, x: float, foot: float, top: float, half: float) -> None:
    """Paint a poplar: upward flames of leaves, dark to the left, sunlit to the right."""
    rng = easel.rng
    count = int((foot - top) * half / 6)
    height = np.sort(rng.random(count))
    side = rng.uniform(-1, 1, count)
    spread = half * np.minimum(1.15 * (1 - height) ** 0.55, 0.45 + height * 2.2)
    px = x + side * spread + 4 * np.sin(height * 9)
    py = foot - height * (foot - top)
    light = 0.5 + 0.42 * side + rng.normal(0, 0.22, count)
    color = ramp(
        light, (-0.2, (8, 24, 44)), (0.25, (16, 54, 56)), (0.55, (38, 92, 52)),
        (0.85, (148, 152, 48)), (1.15, (250, 202, 92)),
    )  # fmt: skip
    heading = -np.pi / 2 + side * 0.35 + rng.normal(0, 0.15, count)
    length = rng.uniform(14, 30, count)
    order = rng.permutation(count)
    paths = curve(px, py, length, heading, rng.normal(0, 0.5, count))[order]
    width = (rng.uniform(3.5, 7, count) * (half / 26) ** 0.5).astype(np.float32)
    easel.brush(paths, width[order], jitter(rng, color, 0.08)[order], 1.2)


def hedge(easel: Easel) -> None:
    """Paint the bushes along the horizon."""
    rng = easel.rng
    for cx, cy, r in ((262, 306, 26), (310, 314, 18), (352, 318, 12), (430, 318, 9), (778, 316, 12),
                      (812, 310, 20), (858, 304, 27), (908, 310, 19), (948, 302, 30),
                      (996, 304, 26)):  # fmt: skip
        count = int(r * 7)
        a = rng.uniform(0, 2 * np.pi, count)
        d = r * np.sqrt(rng.random(count))
        px, py = cx + d * np.cos(a) * 1.25, cy + d * np.sin(a) * 0.8
        toward = np.sign(SUN[0] - cx)
        light = 0.45 + 0.3 * toward * np.cos(a) * d / r - 0.35 * np.sin(a) * d / r
        light += rng.normal(0, 0.17, count)
        color = ramp(
            light, (-0.1, (12, 28, 56)), (0.3, (22, 66, 70)), (0.6, (64, 104, 56)),
            (0.9, (190, 160, 60)), (1.2, (252, 204, 104)),
        )  # fmt: skip
        paths = curve(px, py, rng.uniform(6, 14, count), a + np.pi / 2, rng.normal(0.6, 0.4, count))
        easel.brush(
            paths, rng.uniform(3, 6, count).astype(np.float32), jitter(rng, color, 0.08), 1.1
        )


def poppy(easel: Easel, x: float, y: float, r: float) -> None:
    """Paint one poppy of radius `r`, a cup of petals tilted towards us."""
    rng = easel.rng
    glow = rng.uniform(0.85, 1.12)
    turn = rng.uniform(0, 2 * np.pi)
    tilt = rng.uniform(0.55, 0.85)
    many = 3 if r < 5 else 5 if r < 11 else 7
    for ring, (count, reach, wide, shades) in enumerate((
        (many, 1.0, 0.8, ((84, 4, 28), (128, 8, 30), (176, 20, 28))),
        (many, 0.8, 0.5, ((204, 24, 24), (236, 54, 26), (250, 88, 38))),
        (max(2, many - 3), 0.9, 0.22, ((255, 150, 92), (255, 186, 128), (252, 120, 70))),
    )):  # fmt: skip
        heading = turn + np.arange(count) * 2 * np.pi / count + rng.normal(0, 0.2, count)
        if ring == 2:  # lights, on the side of the sun
            if r < 6:
                continue
            heading = np.arctan2(SUN[1] - y, SUN[0] - x) + rng.normal(0, 0.8, count)
        far = r * reach * rng.uniform(0.85, 1.1, count)
        # Petals curl: each stroke begins near the heart and sweeps along the rim.
        sx = x + 0.25 * far * np.cos(heading - 0.6)
        sy = y + 0.25 * far * np.sin(heading - 0.6) * tilt
        paths = curve(sx, sy, far * 1.15, heading - 0.75, np.full(count, 1.7), tilt)
        shade = np.array(shades)[rng.integers(0, 3, count)]
        shade = shade * (glow - 0.14 * np.sin(heading)[:, None])
        width = (r * wide * rng.uniform(0.85, 1.15, count)).clip(2).astype(np.float32)
        easel.brush(paths, width, jitter(rng, shade, 0.05), 1.25, 0.35)
    if r > 5:
        count = 3 if r < 11 else 6
        a = rng.uniform(0, 2 * np.pi, count)
        paths = curve(x + 0.12 * r * np.cos(a), y + 0.1 * r * np.sin(a), np.full(count, 0.3 * r), a,
                      np.full(count, 1.0), tilt)  # fmt: skip
        dark = np.tile(np.array([[26, 10, 34]], np.float32), (count, 1))
        easel.brush(paths, np.full(count, max(1.6, 0.17 * r), np.float32), dark, 1.0, 0.2)
    if r > 14:
        one = np.array([0.0])
        paths = curve(one + x - 0.1 * r, one + y, one + 0.22 * r, one, one)
        easel.brush(paths, one + 0.16 * r, np.array([[150.0, 160, 84]]), 1.2, 0.1)


def grow(easel: Easel, drift: Array) -> None:
    """Paint grasses, small flowers and poppies, from the far to the near."""
    rng = easel.rng
    bands = 30
    for band in range(bands):
        depth = (band + 0.5) / bands
        near, far = (HORIZON + 10 + 500 * ((band + k) / bands) ** 1.35 for k in (1, 0))
        size = 0.12 + 0.88 * depth**1.2

        # Grasses bow to the wind; their tips catch the sun.
        count = int(60 + 130 * depth)
        px, py = rng.uniform(-20, WIDTH + 20, count), rng.uniform(far, near, count)
        off_path = np.abs(px - path_middle(py)) > 6 + 66 * depth**1.25 * rng.uniform(0.7, 1.1)
        px, py = px[off_path], py[off_path]
        count = len(px)
        gust = 0.4 * np.sin(px / 120 + 3 * depth) + rng.normal(0, 0.28, count)
        light = rng.random(count) ** 1.4
        blades = ramp(
            light, (0, (10, 44, 52)), (0.3, (24, 84, 58)), (0.6, (84, 136, 50)),
            (0.8, (176, 182, 66)), (1, (248, 220, 118)),
        )  # fmt: skip
        paths = curve(
            px, py, rng.uniform(26, 88, count) * size, -np.pi / 2 + 0.3 * gust, gust * 1.4
        )
        width = (rng.uniform(2.2, 6, count) * (0.4 + 0.75 * size)).astype(np.float32)
        easel.brush(paths, width, jitter(rng, blades, 0.08), 1.1, 0.5)

        # Daisies and cornflowers.
        count = int(16 + 10 * (1 - depth))
        px, py = rng.uniform(0, WIDTH, count), rng.uniform(far, near, count)
        kinds = np.array([[250, 240, 214], [92, 120, 214], [252, 206, 92], [206, 150, 206]])
        dabs = kinds[rng.integers(0, 4, count)].astype(np.float32)
        r = 2.5 + 9 * size * rng.uniform(0.6, 1.1, count)
        for turn in range(1 if depth < 0.3 else 4):
            a = turn * 1.6 + rng.uniform(0, 1.2, count)
            paths = curve(px, py - 20 * size, r, a, np.full(count, 0.9), 0.8)
            easel.brush(paths, (r * 0.6).astype(np.float32), jitter(rng, dabs, 0.05), 1.3, 0.3)

        # Poppies, where the drifts are.
        wanted = int(74 * (1 - depth) ** 1.5 + 7)
        reach = 2.6 + 33 * depth**1.25
        placed: list[complex] = []
        for _ in range(wanted * 6):
            x, y = rng.uniform(-10, WIDTH + 10), rng.uniform(far, near)
            if len(placed) == wanted or any(abs(x + 1j * y - p) < 1.7 * reach for p in placed):
                continue
            row, column = int(np.clip(y, 0, HEIGHT - 1)), int(np.clip(x, 0, WIDTH - 1))
            if abs(x - path_middle(np.array(y))) < 4 + 74 * depth**1.25:
                continue
            if rng.random() > drift[row, column] ** 2:
                continue
            placed.append(x + 1j * y)
            poppy(easel, x, y - 30 * size, reach * rng.uniform(0.65, 1.15))


def paint(seed: int) -> Image.Image:
    """Draw the painting of `seed`: an RGB image of WIDTH x HEIGHT pixels."""
    rng = np.random.default_rng(seed)
    drift = poppies_at(rng, (HEIGHT, WIDTH))
    color, angle = scene(rng, drift)
    easel = Easel(rng)
    cover(easel, color, angle, 24, 36, 130)
    cover(easel, color, angle, 11, 18, 84)
    cover(easel, color, angle, 9, 13, 62)
    cover(easel, color, angle, 9, 8.5, 40, 0.6)
    ends = np.linspace(0, 2 * np.pi, 7)[:-1]
    heart = np.stack([SUN[0] + 4 * np.cos(ends), SUN[1] + 4 * np.sin(ends)], -1)
    easel.brush(
        trace(angle, heart.astype(np.float32), np.full(6, 26.0, np.float32), 9),
        np.full(6, 13, np.float32), jitter(rng, np.tile([255.0, 250.0, 222.0], (6, 1)), 0.01),
    )  # fmt: skip
    hedge(easel)
    for x, foot, top, half in ((34, 330, 62, 30), (150, 326, 150, 21), (92, 336, 20, 34),
                               (206, 326, 196, 16)):  # fmt: skip
        tree(easel, x, foot, top, half)
    grow(easel, drift)
    return easel.finish()


if __name__ == "__main__":
    command(paint, "poppy-field", "a field of poppies in oils", seed=7)
