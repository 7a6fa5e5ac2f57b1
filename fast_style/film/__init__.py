"""Films in, stylized films out: read, stylize and write frame by frame, and resume after a stop."""

from fast_style.film.formats import FILM_SUFFIXES, FORMATS, is_film, target_suffix
from fast_style.film.stylize import FilmOptions, FilmProgress, read_film_mark, stylize_film

__all__ = [
    "FILM_SUFFIXES",
    "FORMATS",
    "FilmOptions",
    "FilmProgress",
    "is_film",
    "read_film_mark",
    "stylize_film",
    "target_suffix",
]
