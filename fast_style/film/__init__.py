"""Films in, stylized films out: read, stylize and write frame by frame, and resume after a stop."""

from fast_style.film.animation import moves, read_gif_mark
from fast_style.film.formats import ANIMATIONS, FILM_SUFFIXES, FORMATS, is_film, target_suffix
from fast_style.film.progress import FilmOptions, FilmProgress, FilmResult
from fast_style.film.sequence import is_sequence
from fast_style.film.stylize import film_suffix, frame_size, read_film_mark, stylize_film

__all__ = [
    "ANIMATIONS",
    "FILM_SUFFIXES",
    "FORMATS",
    "FilmOptions",
    "FilmProgress",
    "FilmResult",
    "film_suffix",
    "frame_size",
    "is_film",
    "is_sequence",
    "moves",
    "read_film_mark",
    "read_gif_mark",
    "stylize_film",
    "target_suffix",
]
