"""Draw the bundled painting, a stained-glass night landscape, from a seed and nothing else.

The window is built the way a glazier would. Regions (sun, moon, swirls, stars, hills, river, sky)
are laid one over another; each is cut into bands along its flow lines, each band into pieces of
glass. Every piece gets a colour and streaks along the flow, then lead is poured over the joints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from canvas import (
    HEIGHT,
    SUPERSAMPLING,
    WIDTH,
    Float,
    Int,
    Mask,
    command,
    distance_to_joint,
    flow_along,
    shrink,
    smooth_noise,
)
from PIL import Image, ImageFilter

# sRGB of the shadow, the body and the light of each glass.
GLASS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "midnight": ((4, 8, 58), (14, 30, 124), (46, 82, 206)),
    "cobalt": ((6, 22, 112), (18, 64, 200), (92, 156, 250)),
    "cerulean": ((2, 62, 128), (8, 128, 204), (120, 214, 246)),
    "teal": ((0, 60, 84), (0, 128, 146), (96, 220, 206)),
    "violet": ((40, 8, 92), (90, 34, 172), (168, 112, 240)),
    "crimson": ((84, 0, 26), (188, 10, 44), (250, 84, 82)),
    "vermilion": ((140, 18, 6), (232, 72, 18), (255, 158, 66)),
    "amber": ((172, 74, 0), (244, 150, 12), (255, 216, 104)),
    "gold": ((226, 158, 44), (252, 212, 104), (255, 246, 204)),
    "emerald": ((0, 54, 40), (2, 128, 78), (92, 218, 134)),
    "forest": ((0, 36, 34), (4, 84, 62), (54, 164, 96)),
    "lime": ((44, 96, 8), (122, 178, 28), (222, 236, 122)),
}
GLASS_NAMES = list(GLASS)

# Centre x, centre y and radius of everything round.
ORBS: dict[str, tuple[float, float, float]] = {
    "sun": (694, 226, 150),
    "moon": (206, 166, 100),
    "swirl a": (420, 366, 88),
    "swirl b": (916, 440, 66),
    "star a": (436, 104, 40),
    "star b": (930, 92, 46),
    "star c": (246, 392, 34),
    "star d": (584, 476, 34),
    "star e": (30, 60, 34),
}
# Points (x, y) that the wind blows through, between the orbs.
WIND = ((-60, 300), (60, 330), (200, 312), (320, 262), (430, 236), (520, 282), (590, 372),
        (690, 424), (790, 396), (890, 330), (1060, 262))  # fmt: skip


@dataclass
class Window:
    """The design, one value per pixel (H, W), before any colour.

    `across` counts the bands (its whole part is the band's number), `tangent` is the flow's
    direction in radians, `along` the piece within the band, or -1 where it is still to be cut.
    """

    y: Float
    x: Float
    region: Int = field(init=False)
    across: Float = field(init=False)
    along: Int = field(init=False)
    tangent: Float = field(init=False)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start with an empty frame."""
        self.region = np.zeros(self.x.shape, np.int32)
        self.across = np.zeros(self.x.shape, np.float32)
        self.along = np.full(self.x.shape, -1, np.int32)
        self.tangent = np.zeros(self.x.shape, np.float32)

    def lay(
        self, name: str, mask: Mask, across: Float, tangent: Float, along: Float | None = None
    ) -> None:
        """Put a region over what is already there."""
        self.region[mask] = len(self.names)
        self.names.append(name)
        self.across[mask] = across[mask]
        self.tangent[mask] = tangent[mask]
        self.along[mask] = -1 if along is None else np.floor(along[mask]).astype(np.int32)


def skyline(x: Float, base: float, waves: Sequence[tuple[float, float, float]]) -> Float:
    """Sum (height, length, phase) waves to a hill's upper edge, in pixels from the top, (H, W)."""
    edge = np.full_like(x, base)
    for height, length, phase in waves:
        edge += height * np.sin(2 * np.pi * x / length + phase)
    return edge


def design(rng: np.random.Generator) -> Window:
    """Lay out the whole window."""
    rows, columns = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / SUPERSAMPLING
    # An unsteady hand: every edge below wavers by a few pixels.
    wobble = 100 * SUPERSAMPLING
    x = x + 3 * smooth_noise(rng, x.shape, wobble)
    y = y + 3 * smooth_noise(rng, x.shape, wobble)
    window = Window(y, x)

    far = skyline(x, 560, ((34, 760, 2.3), (14, 310, 0.4)))
    radius = {n: np.hypot(x - cx, y - cy) for n, (cx, cy, _) in ORBS.items()}
    angle = {n: np.arctan2(y - cy, x - cx) for n, (cx, cy, _) in ORBS.items()}

    # Wind: a stream of long pieces across the sky.
    xs = np.arange(-200, WIDTH + 200)
    path = np.interp(xs, *np.array(WIND, np.float32).T)
    for _ in range(2):
        path = np.convolve(np.pad(path, 30, "edge"), np.ones(61) / 61, "valid")
    slope = np.interp(x, xs, np.gradient(path)).astype(np.float32)
    gust = (y - np.interp(x, xs, path).astype(np.float32)) / np.hypot(1, slope)
    gust_half = 27 + 6 * np.sin(x / 90)

    # Cypress: a flame of leaves on the left.
    top = 318.0
    height = ((800 - y) / (800 - top)).clip(0, 1)
    stem = 112 + 18 * np.sin(height * 6.5) * height
    tree_half = 9 + 91 * (height + 0.1) ** 0.2 * (1 - height) ** 0.85
    tree_half += 6 * np.sin(height * 30) * (1 - height)
    beside = np.where(y < top, np.hypot(x - stem, y - top), np.abs(x - stem) - tree_half)

    # Sky: contour lines of a soft minimum of the distances, so that they ring each light, follow
    # the hills, and run together in between like raked sand.
    distances = [radius[n] - r for n, (_, _, r) in ORBS.items()]
    distances += [0.9 * (far - y), np.abs(gust) - gust_half, 0.9 * beside]
    softness = 9.0
    sky = -softness * np.log(sum(np.exp(-d.clip(-200) / softness) for d in distances))
    sky = sky.astype(np.float32).clip(0)
    everywhere = np.ones(x.shape, np.bool_)
    window.lay("sky", everywhere, sky / 24, flow_along(sky))
    window.lay("wind", np.abs(gust) < gust_half, (gust / gust_half + 1) * 1.5, np.arctan(slope))

    # Swirls: spiral arms, cut by rings.
    for name, arms, turn in (("swirl a", 5, 2.6), ("swirl b", 4, -2.2)):
        r, full = radius[name], ORBS[name][2]
        phase = angle[name] + turn * (r / full) ** 0.8 * 2
        tangent = angle[name] - np.arctan2(2.2 * turn * (r / full) ** 0.8, 1) + np.pi
        arm = np.floor((phase % (2 * np.pi)) * arms / (2 * np.pi))
        ring = np.floor(r / full * 3.4 + 0.33 * (arm % 3))
        window.lay(name, r < full, np.where(r < 13, -1, arm), tangent, np.where(r < 13, 0, ring))

    # Stars: a heart and a ring of petals.
    for name in ("star a", "star b", "star c", "star d", "star e"):
        r, full = radius[name], ORBS[name][2]
        petals = (angle[name] + r / full * 0.5) * 6 / (2 * np.pi) + 6
        heart = r < 0.42 * full
        window.lay(
            name, r < full, np.where(heart, 0.0, 1.0), angle[name] + np.pi / 2,
            np.where(heart, 0, petals % 6),
        )  # fmt: skip

    # Sun: heart, petals, ring, and flames that lean with the swirl.
    r, a = radius["sun"], angle["sun"]
    turn_of = a / (2 * np.pi) + 1
    flame = (turn_of * 16 + r / 95) % 1
    tongue = 96 + 54 * (1 - np.abs(2 * flame - 1)) ** 0.8
    bands = np.select([r < 24, r < 60, r < 92, r < tongue], [0.0, 1.0, 2.0, 3.0], 4.0)
    pieces = np.select(
        [r < 24, r < 60, r < 92, r < tongue],
        [0 * a, turn_of * 8 + r / 110, turn_of * 14 - r / 120, turn_of * 16 + r / 95],
        turn_of * 16 + r / 95 + 0.5,
    )
    turns = np.select([r < 24, r < 60, r < 92, r < tongue], [1, 8, 14, 16], 16)
    lean = np.where(bands == 1, 0.25, np.where(bands >= 3, 0.3, 1.57))
    window.lay("sun", r < 150, bands, a + lean, pieces % turns)

    # Moon: a crescent in a ring of night.
    r, a = radius["moon"], angle["moon"]
    turn_of = a / (2 * np.pi) + 1
    rim, spokes = r >= 72, np.where(r < 72, 5, 12)
    window.lay("moon night", r < 100, np.where(rim, 1.0, 0.0), a + np.pi / 2,
               (turn_of * spokes) % spokes)  # fmt: skip
    bite = np.hypot(y - 150, x - 238)
    window.lay("moon", (r < 72) & (bite > 56), np.zeros_like(r), a + np.pi / 2,
               (turn_of * 12 - r / 60) % 12)  # fmt: skip

    # Hills, from the far to the near; their bands follow their own skyline.
    hills = (
        ("far hills", far, 25),
        ("middle hills", skyline(x, 610, ((42, 900, 4.2), (12, 260, 1.0))), 27),
        ("near hills", skyline(x, 690, ((54, 1100, 0.9), (14, 340, 3.0))), 30),
    )
    for name, edge, band in hills:
        level = (y - edge) / (1 + 0.0005 * (x - 500))
        window.lay(name, y > edge, level / band, flow_along(level))

    # River: from the far hills to the lower edge, wider as it comes nearer.
    depth = ((y - 578) / 222).clip(0, 1)
    middle = 560 + 150 * np.sin(1.1 + 4.2 * depth) * (0.35 + 0.65 * depth)
    half = 20 + 92 * depth**1.3
    level = (x - middle) / half
    river = (np.abs(level) < 1) & (y > 578)
    window.lay("river", river, (level + 1) * 2, flow_along(level))

    # The tree stands before everything.
    level = (x - stem) / tree_half
    tree = (np.abs(level) < 1) & (y > top)
    leaning = np.pi / 2 + 0.5 * level
    window.lay("tree", tree, (level + 1) * 2.5 + 0.7 * np.sin(height * 17), leaning)
    return window


def cut(window: Window, rng: np.random.Generator) -> Int:
    """Cut the bands into pieces; the piece's number per pixel, (H, W), from 0 without gaps."""
    rows, columns = window.x.shape
    band = np.floor(window.across).astype(np.int64)
    key = (window.region.astype(np.int64) * 1000 + band + 500) * 1000
    pieces = (key + window.along).ravel()
    open_band = np.where(window.along < 0, key, -1).ravel()
    order = np.argsort(open_band, kind="stable")
    starts = np.flatnonzero(np.diff(open_band[order], prepend=-2))
    fraction = np.abs(window.across - band - 0.5).ravel()
    for first, last in zip(starts, [*starts[1:], order.size], strict=True):
        members = order[first:last]
        if open_band[members[0]] < 0:
            continue
        # Seeds a piece's length apart on the band's middle; each pixel joins the nearest.
        middle = members[fraction[members] < 0.2]
        if middle.size == 0:
            middle = members
        candidates = rng.choice(middle, min(middle.size, 700), replace=False)
        seeds: list[complex] = []
        for index in candidates:
            point = complex(index % columns, index // columns) / SUPERSAMPLING
            length = rng.uniform(40, 74)
            if all(abs(point - seed) > length for seed in seeds):
                seeds.append(point)
        px = (members % columns) / np.float32(SUPERSAMPLING)
        py = (members // columns) / np.float32(SUPERSAMPLING)
        best = np.full(members.size, np.inf, np.float32)
        for number, seed in enumerate(seeds):
            distance = (px - np.float32(seed.real)) ** 2 + (py - np.float32(seed.imag)) ** 2
            nearer = distance < best
            best[nearer] = distance[nearer]
            pieces[members[nearer]] = key.ravel()[members[0]] + number
    _, numbers = np.unique(pieces, return_inverse=True)
    piece: Int = numbers.reshape(rows, columns).astype(np.int32)
    return piece


def streaks(
    rng: np.random.Generator, tangent: Float, piece: Int, width: float, length: int
) -> Float:
    """Brush strokes along the flow, (H, W), standard deviation 1, unrelated from piece to piece.

    Line integral convolution (Cabral and Leedom, 1993) of smooth noise, `width` pixels wide.
    """
    rows, columns = tangent.shape
    noise = smooth_noise(rng, (rows, columns), width)
    shift_y = rng.integers(0, rows, piece.max() + 1)[piece]
    shift_x = rng.integers(0, columns, piece.max() + 1)[piece]
    step_y, step_x = np.sin(tangent), np.cos(tangent)
    start_y, start_x = np.mgrid[:rows, :columns].astype(np.float32)
    total = np.zeros_like(noise)
    for sign in (-1, 1):
        y, x = start_y.copy(), start_x.copy()
        for _ in range(length):
            row = np.rint(y).astype(np.int32).clip(0, rows - 1)
            column = np.rint(x).astype(np.int32).clip(0, columns - 1)
            total += noise[(row + shift_y) % rows, (column + shift_x) % columns]
            y += sign * 1.5 * step_y[row, column]
            x += sign * 1.5 * step_x[row, column]
    strokes: Float = ((total - total.mean()) / total.std()).astype(np.float32)
    return strokes


def choose_glass(window: Window, piece: Int, rng: np.random.Generator) -> Int:
    """Pick the glass of every piece: indices into GLASS_NAMES, (pieces,)."""
    count = int(piece.max()) + 1
    _, first, sizes = np.unique(piece, return_index=True, return_counts=True)
    flat = piece.ravel()
    center_y = np.bincount(flat, window.y.ravel(), count) / sizes
    center_x = np.bincount(flat, window.x.ravel(), count) / sizes
    region = window.region.ravel()[first]
    band = np.floor(window.across.ravel()[first]).astype(int)
    along = window.along.ravel()[first]

    def pick(*weighted: tuple[str, float]) -> str:
        names, weights = zip(*weighted, strict=True)
        chances = np.array(weights) / sum(weights)
        return str(rng.choice(names, p=chances))

    def sky(y: float, x: float, odd: bool) -> str:
        gaps = {n: np.hypot(x - cx, y - cy) - r for n, (cx, cy, r) in ORBS.items()}
        nearest = min(gaps, key=lambda name: gaps[name])
        ring = int(gaps[nearest] // 23)
        match nearest.split()[0], ring:
            case "sun", 0:
                return pick(("crimson", 6), ("vermilion", 3))
            case "sun", 1:
                return pick(("violet", 6), ("crimson", 2))
            case "moon", 0:
                return pick(("cerulean", 6), ("teal", 3), ("gold", 1.5))
            case "moon", 1:
                return pick(("cobalt", 6), ("cerulean", 2))
            case "star", 0:
                return pick(("cobalt", 5), ("violet", 2), ("cerulean", 2))
            case "swirl", 0:
                return pick(("midnight", 4), ("cobalt", 3), ("violet", 2))
        if odd:  # light and dark bands take turns, which draws the flow
            return pick(
                ("cobalt", 4), ("cerulean", 4), ("teal", 1.5), ("amber", 0.9), ("gold", 0.5)
            )
        return pick(("midnight", 5), ("cobalt", 4), ("violet", 2), ("crimson", 0.5))

    def glass_of(index: int) -> str:
        name, b, a = window.names[region[index]], band[index], along[index]
        match name:
            case "sky":
                return sky(center_y[index], center_x[index], b % 2 == 1)
            case "sun":
                odd = a % 2 == 1
                return (
                    ("gold", "amber" if odd else "gold", "vermilion" if odd else "amber")[b]
                    if b < 3
                    else ("amber" if odd else "vermilion") if b == 3
                    else pick(("crimson", 5), ("violet", 1))
                )  # fmt: skip
            case "wind":
                return pick((("cerulean", "gold", "teal")[b % 3], 6), ("cerulean", 2), ("amber", 1))
            case "moon":
                return pick(("gold", 4), ("amber", 1))
            case "tree":
                return pick(("forest", 4), ("emerald", 4), ("teal", 1.5), ("lime", 1.3))
            case "moon night":
                return pick(("midnight", 5), ("violet", 1)) if b == 0 else (
                    "cobalt" if a % 2 else "midnight")  # fmt: skip
            case "far hills":
                return pick(("violet", 5), ("crimson", 4), ("midnight", 1), ("vermilion", 1))
            case "middle hills":
                return pick(("emerald", 5), ("teal", 3), ("lime", 2), ("forest", 2), ("amber", 0.6))
            case "near hills":
                return pick((("amber", "vermilion", "gold")[b % 3], 5), ("amber", 3),
                            ("crimson", 2), ("lime", 1.4))  # fmt: skip
            case "river":
                return pick(
                    ("cobalt", 3), ("cerulean", 4), ("gold", 1.2), ("amber", 2), ("teal", 1)
                )
            case _ if name.startswith("star"):
                return "gold" if b == 0 else ("amber" if a % 2 else "vermilion")
        if b < 0:
            return "gold"
        arm = ("cerulean", "cobalt", "gold", "teal", "midnight")[b % 5]
        return arm if rng.random() < 0.85 else "amber"

    return np.array([GLASS_NAMES.index(glass_of(i)) for i in range(count)], np.int32)


def paint(seed: int) -> Image.Image:
    """Draw the painting of `seed`: an RGB image of WIDTH x HEIGHT pixels."""
    rng = np.random.default_rng(seed)
    window = design(rng)
    piece = cut(window, rng)
    count = int(piece.max()) + 1
    glass = choose_glass(window, piece, rng)
    shape = piece.shape

    # Streaks are drawn at the finished size: finer ones would be lost in shrinking anyway.
    small = (slice(None, None, SUPERSAMPLING),) * 2
    tilt = rng.normal(0, 0.16, count).astype(np.float32)[piece]
    flow, small_piece = (window.tangent + tilt)[small], piece[small]
    broad = streaks(rng, flow, small_piece, width=7, length=20)
    fine = streaks(rng, flow, small_piece, width=3, length=9)
    streak = Image.fromarray(0.75 * broad + 0.4 * fine)
    grain = np.asarray(streak.resize(shape[::-1], Image.Resampling.BICUBIC))

    # Where on its glass's ramp (shadow 0, body 1, light 2) each pixel lies.
    reach = 16 * SUPERSAMPLING
    to_edge = distance_to_joint(piece, reach) / SUPERSAMPLING
    ramp = 0.78 + rng.normal(0, 0.2, count).astype(np.float32)[piece]
    ramp += 0.5 * np.tanh(1.3 * grain) + 0.42 * np.minimum(to_edge / 12, 1)
    for center_x, center_y, spread in ((690, 232, 170), (196, 178, 120)):
        away = np.hypot(window.x - center_x, window.y - center_y)
        ramp += 0.35 * np.exp(-((away / spread) ** 2))
    ramp = ramp.clip(0, 2)
    table = np.array([GLASS[name] for name in GLASS_NAMES], np.float32)
    table = table[glass] * rng.normal(1, 0.05, (count, 1, 3)).astype(np.float32)
    below = (ramp >= 1).astype(np.int32)
    part = (ramp - below)[..., None]
    picture = table[piece, below] * (1 - part) + table[piece, below + 1] * part

    # Lead: bold around regions, thinner between bands and pieces, rounded where it meets.
    band = window.region * 1000 + np.floor(window.across).astype(np.int32)
    hand = 1 + 0.22 * smooth_noise(rng, shape, 45 * SUPERSAMPLING).clip(-2, 2)
    inside = np.zeros(shape, np.float32)
    for label, half_width in ((window.region, 3.1), (band, 2.0), (piece, 1.5)):
        gap = distance_to_joint(label, reach) / SUPERSAMPLING - half_width * hand
        inside += np.exp(-gap.clip(-8, 20) / 0.7)
    gap = -0.7 * np.log(inside)
    lead = (0.5 - gap / 0.8).clip(0, 1)[..., None]
    picture *= (0.62 + 0.38 * (gap / 3).clip(0, 1))[..., None]  # grime beside the lead
    sheen = (-gap / 3).clip(0, 1)[..., None]
    metal = np.array([9, 9, 20], np.float32) + sheen * np.array([26, 26, 40], np.float32)
    picture = picture * (1 - lead) + metal * lead

    image = shrink(picture)
    glow = np.asarray(image.filter(ImageFilter.GaussianBlur(14)), np.float32) / 255
    sharp = np.asarray(image, np.float32) / 255
    lit = 1 - (1 - sharp) * (1 - 0.22 * glow**1.6)
    return Image.fromarray((lit * 255).round().astype(np.uint8))


if __name__ == "__main__":
    command(paint, "stained-glass", "a stained-glass night landscape", seed=7)
