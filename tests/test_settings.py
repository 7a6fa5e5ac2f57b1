"""The table of settings: each key at its limits, beyond them, and with values of a wrong type."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, run
from omegaconf import DictConfig, OmegaConf
from training_runs import Train

from fast_style.config.setting_types import (
    AnyOf,
    Boolean,
    Choice,
    Classes,
    Exactly,
    ListOf,
    Number,
    Setting,
)
from fast_style.config.settings import TABLE, check, nearest
from fast_style.errors import UserError
from fast_style.optimize.files import load_loss

Compose = Callable[..., DictConfig]

ROWS = [
    (part, target, key, setting)
    for part, classes in TABLE.items()
    for target, table in classes.items()
    for key, setting in table.items()
]
NAMES = [f"{part}.{key}" if part else key for part, _, key, _ in ROWS]


@pytest.fixture(scope="module")
def base(compose: Compose) -> DictConfig:
    """A complete configuration without interpolations."""
    cfg = compose("data.dir=photos", "trainer.accelerator=cpu", "callbacks.schedule.minutes=1")
    plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(plain, DictConfig)
    return plain


def with_value(base: DictConfig, row: tuple[Any, ...], value: Any) -> DictConfig:
    part, target, key, _ = row
    cfg = base.copy()
    node = OmegaConf.select(cfg, part) if part else cfg
    if target is not None and node._target_ != target:  # as with optimizer=adam
        node.clear()
        node._target_ = target
    node[key] = value
    return cfg


def ends(setting: Setting) -> Iterator[Any]:
    """Allowed values at the limits of a setting."""
    if isinstance(setting, Number):
        kind = int if setting.whole else float
        if not setting.above_minimum:
            yield kind(setting.minimum)
        if not setting.below_maximum:
            yield kind(setting.maximum)
    elif isinstance(setting, Choice):
        yield from setting.options
    elif isinstance(setting, ListOf):
        for value in ends(setting.each):
            yield [value] * (setting.count or 1)
    elif isinstance(setting, AnyOf):
        for option in setting.options:
            yield from [None] if option is None else ends(option)
    elif isinstance(setting, Exactly):
        yield setting.value
    elif isinstance(setting, Boolean):
        yield from (True, False)
    elif isinstance(setting, Classes):
        yield from ({}, {"a": {"_target_": "b.C"}})
    else:
        yield "a name: ${{}}, 'it\"s' 1e5".replace("${{}}", "Ünï")


def beyond(setting: Setting) -> Iterator[Any]:
    """Values just beyond the limits of a setting, which are not allowed."""
    if isinstance(setting, Number):
        step = 1 if setting.whole else 1e-9
        yield setting.minimum if setting.above_minimum else setting.minimum - step
        yield setting.maximum if setting.below_maximum else setting.maximum * (1 + 1e-9) + step
        if setting.whole:
            yield setting.minimum + 0.5
    elif isinstance(setting, ListOf):
        for value in beyond(setting.each):
            yield [value] * (setting.count or 1)
        good = next(ends(setting.each))
        yield []
        if setting.count is not None:
            yield [good] * (setting.count + 1)
    elif isinstance(setting, Choice):
        yield setting.options[0] + "x"
    elif isinstance(setting, AnyOf):
        for option in setting.options:
            yield from () if option is None else beyond(option)


WRONG_TYPES = [math.nan, math.inf, -math.inf, "", {"a": 1}, [None], [[1]], [math.nan], ["", ""]]


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_each_key_at_its_limits(base: DictConfig, row: tuple[Any, ...]) -> None:
    values = list(ends(row[-1]))
    assert values
    for value in values:
        cfg = with_value(base, row, value)
        check(cfg, [row[0]])


@pytest.mark.parametrize(("row", "name"), list(zip(ROWS, NAMES, strict=True)), ids=NAMES)
def test_each_key_beyond_its_limits(base: DictConfig, row: tuple[Any, ...], name: str) -> None:
    *_, setting = row
    values = [*WRONG_TYPES, *beyond(setting)]
    if not setting.accepts(True):
        values += [True]
    if not setting.accepts(None):
        values += [None]
    if not setting.accepts("many"):
        values += ["many"]
    for value in values:
        if isinstance(setting, AnyOf) and setting.accepts(value):
            continue  # beyond one option, allowed by another
        with pytest.raises(UserError) as caught:
            check(with_value(base, row, value), [row[0]])
        told = str(caught.value)
        assert told.startswith(f"{name}="), (value, told)
        assert told.endswith(f"give {setting.allowed}"), (value, told)


@pytest.mark.parametrize(("row", "name"), list(zip(ROWS, NAMES, strict=True)), ids=NAMES)
def test_each_key_missing(base: DictConfig, row: tuple[Any, ...], name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no value"):
        check(with_value(base, row, "???"), [row[0]])


def test_the_table_knows_every_key_of_the_configuration(compose: Compose) -> None:
    """Only the names of classes and Lightning's own strategy go unchecked."""
    free = {"_target_", "_partial_", "strategy", "name", "version"}
    for choices in ([], ["optimizer=adam", "logger=csv", "data=dead_leaves"], ["trainer=ddp"]):
        cfg = compose("data.dir=photos", *choices)
        for part, node in [("", cfg), *((part, OmegaConf.select(cfg, part)) for part in TABLE)]:
            if node is None or not part:
                continue
            known = TABLE[part].get(node.get("_target_"))
            assert known is not None, part
            assert {str(key) for key in node} <= set(known) | free, part


def test_whole_numbers_become_integers(base: DictConfig) -> None:
    cfg = base.copy()
    cfg.trainer.max_steps = 1e3
    check(cfg)
    assert isinstance(cfg.trainer.max_steps, int)


def test_a_users_own_class_checks_its_own_arguments(base: DictConfig) -> None:
    cfg = base.copy()
    cfg.model._target_ = "mine.Network"
    cfg.model.widths = "wide"
    check(cfg)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("trainer.max_step", "trainer.max_steps"),
        ("max_steps", "trainer.max_steps"),
        ("style.sise", "style.size"),
        ("lr", "optimizer.lr"),
        ("batch", "data.batch_size"),
        ("minutes", "callbacks.schedule.minutes"),
        ("los", "loss"),
        ("optimiser", "optimizer"),
    ],
)
def test_nearest_key(given: str, meant: str) -> None:
    assert nearest(given) == meant


def test_nothing_is_near() -> None:
    assert nearest("xyzzy") is None


# --- on the command line ---


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("model.widths=[0,1,2]", "model.widths=[0,1,2]"),
        ("data.size=100000", "data.size=100000"),
        ("data.workers=-3", "data.workers=-3"),
        ("data.workers=many", "data.workers=many"),
        ("seed=-1", "seed=-1"),
        ("seed=abc", "seed=abc"),
        ("optimizer.lr=abc", "optimizer.lr=abc"),
        ("callbacks.schedule.minutes=abc", "callbacks.schedule.minutes=abc"),
        ("model.widths=[-4,8,16]", "model.widths=[-4,8,16]"),
        ("model.widths=[a,b,c]", "model.widths=[a,b,c]"),
        ("model.widths=32", "model.widths=32"),
        ("model.residual_blocks=1.5", "model.residual_blocks=1.5"),
        ("trainer.precision=foo", "trainer.precision=foo"),
        ("trainer.precision=16-true", "trainer.precision=16-true"),
        ("trainer.devices=0", "trainer.devices=0"),
        ("trainer.max_steps=", "trainer.max_steps="),
        ("loss.weights=a.png", "loss.weights=a.png holds no weights"),
        ("model.residual_blocks=-1", "model.residual_blocks=-1"),
        ("data.val_count=0", "data.val_count=0"),
        ("callbacks.schedule.minutes=-1", "callbacks.schedule.minutes=-1"),
        ("callbacks.schedule.warmup=7", "callbacks.schedule.warmup=7"),
        ("style.strength=-1", "style.strength=-1"),
        ("loss.tv_weight=-5", "loss.tv_weight=-5"),
        ("loss.style_weight=-1", "loss.style_weight=-1"),
        ("optimizer.lr=-1", "optimizer.lr=-1"),
        ("trainer.val_check_interval=0", "trainer.val_check_interval=0"),
        ("trainer.log_every_n_steps=-1", "trainer.log_every_n_steps=-1"),
        ("trainer.max_epochs=2", "trainer.max_epochs=2"),
        ("trainer.max_steps=-1", "callbacks.schedule.minutes"),
        ("trainer.max_step=3", "did you mean trainer.max_steps?"),
        ("foo=3", "foo is not a key"),
        ("foo", "'foo' is not KEY=VALUE"),
        ("max_steps", "did you mean trainer.max_steps=VALUE?"),
        ("a.png", "did you mean style=a.png?"),
        ("--batch-size=3", "data.batch_size=VALUE"),
        ("~seed", "seed is missing"),
        ("~callbacks.schedule", "callbacks.schedule is missing"),
        ("style.name=a/b", "style.name=a/b"),
        ("data.dir=", "data.dir="),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(
    train: Train, tmp_path: Path, given: str, told: str
) -> None:
    refused(train("experiment=quickstart", given), told)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}  # nothing was started


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("+model.foo=3", "model.foo is not a key"),
        ("+data.batchsize=3", "did you mean data.batch_size?"),
        ("loss._target_=nowhere.Loss", "loss._target_=nowhere.Loss"),
        ("trainer.precision=16-mixed", "needs a GPU"),
    ],
)
def test_mistakes_that_only_the_classes_know(train: Train, given: str, told: str) -> None:
    refused(train("experiment=quickstart", "trainer.accelerator=cpu", given), told)


@pytest.mark.parametrize(
    "given", ["loss.style_weight=-1", "loss.tv_weight=nan", "loss.style_layers=relu1_1"]
)
def test_optimize_checks_the_same(given: str) -> None:
    with pytest.raises(UserError, match=given.partition("=")[0]):
        load_loss([given])


def test_demo_checks_the_same(tmp_path: Path) -> None:
    result = run("demo", "--minutes", "nan", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "minutes" in result.stderr
