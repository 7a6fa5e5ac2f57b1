"""Types of settings: what one key of the configuration may hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol


class Setting(Protocol):
    """What one key may hold."""

    @property
    def allowed(self) -> str:
        """The values that the key accepts, in words that follow "give"."""

    def accepts(self, value: Any) -> bool:
        """Whether the key may hold this value."""


@dataclass(frozen=True)
class Number:
    """A finite number within a range.

    Args:
        minimum: smallest value.
        maximum: largest value.
        whole: accept whole numbers only. ``1e3`` is one.
        above_minimum: refuse the minimum itself.
        below_maximum: refuse the maximum itself.

    >>> Number(0, 1, above_minimum=True).allowed
    'a number above 0 to 1'
    >>> Number(0, 1).accepts(float("nan"))
    False
    """

    minimum: float
    maximum: float
    whole: bool = False
    above_minimum: bool = False
    below_maximum: bool = False

    @property
    def allowed(self) -> str:
        start = f"{'above' if self.above_minimum else 'from'} {self.minimum:.12g}"
        end = f"{'below' if self.below_maximum else 'to'} {self.maximum:.12g}"
        return f"a {'whole ' if self.whole else ''}number {start} {end}"

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        return (
            self.minimum <= value <= self.maximum
            and not (self.above_minimum and value == self.minimum)
            and not (self.below_maximum and value == self.maximum)
        )


@dataclass(frozen=True)
class Choice:
    """One of several words. YAML reads some of them as numbers, such as ``32``."""

    options: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return _joined_by_or(self.options)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str | int) and str(value) in self.options


@dataclass(frozen=True)
class Boolean:
    """``true`` or ``false``."""

    allowed = "true or false"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Text:
    """Any text except the empty one."""

    allowed: str = "a text"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value != ""


@dataclass(frozen=True)
class FileName:
    """A text that a file's name can begin with."""

    allowed = "a file name, without /"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value not in ("", ".", "..") and "/" not in value


@dataclass(frozen=True)
class ListOf:
    """A list.

    Args:
        each: what every entry may be.
        count: number of entries; None for one or more.
    """

    each: Setting
    count: int | None = None

    @property
    def allowed(self) -> str:
        count = "one or more" if self.count is None else str(self.count)
        return f"a list of {count} values, each {self.each.allowed}"

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, list | tuple) or not value:
            return False
        return self.count in (None, len(value)) and all(map(self.each.accepts, value))


@dataclass(frozen=True)
class AnyOf:
    """A value that at least one of several settings accepts.

    Args:
        options: the settings; None stands for null.
    """

    options: tuple[Setting | None, ...]

    @property
    def allowed(self) -> str:
        return _joined_by_or(
            ["null" if option is None else option.allowed for option in self.options]
        )

    def accepts(self, value: Any) -> bool:
        return any(
            value is None if option is None else option.accepts(value) for option in self.options
        )


@dataclass(frozen=True)
class Classes:
    """Classes by name, each a mapping of ``_target_`` and arguments. Arguments are not checked."""

    allowed = "classes by name, as {mine: {_target_: my_module.MyLoss, weight: 1}}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(part, dict) and isinstance(part.get("_target_"), str)
            for part in value.values()
        )


@dataclass(frozen=True)
class Exactly:
    """A single value.

    Args:
        value: the value, of the same type.
        allowed: the value in words, with the reason why there is no other.
    """

    value: Any
    allowed: str

    def accepts(self, value: Any) -> bool:
        return value == self.value and type(value) is type(self.value)


def whole_number(minimum: int, maximum: int) -> Number:
    """A whole number within a range that includes both ends."""
    return Number(minimum, maximum, whole=True)


def or_null(setting: Setting) -> AnyOf:
    """What a setting accepts, or null."""
    return AnyOf((setting, None))


def is_whole(setting: Setting | None) -> bool:
    """Whether a number that the setting accepts is meant as an integer."""
    if isinstance(setting, AnyOf):
        return any(map(is_whole, setting.options))
    return isinstance(setting, Number) and setting.whole


def _joined_by_or(options: Iterable[str]) -> str:
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last
