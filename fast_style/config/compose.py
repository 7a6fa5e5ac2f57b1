"""Compose ``conf/train.yaml`` with overrides."""

from __future__ import annotations

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig, OmegaConf

from fast_style.bundled import ASSETS, CONF
from fast_style.config.messages import as_user_error
from fast_style.config.run_folder import fresh_folder
from fast_style.shell import program


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration of a training run, or of a part of one.

    Args:
        overrides: in Hydra's grammar, as ``["loss=vgg16", "seed=1"]``. For paths of any characters
            use `fast_style.config.paths.path_override`, `style_override` or `rewrite`.

    Raises:
        UserError: for an override that is wrong. Values are checked by
            `fast_style.config.settings.check`.

    >>> compose_config(["experiment=quickstart", "seed=1"]).data.seed
    1
    """
    register_resolvers()
    with as_user_error(), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", list(overrides))


def register_resolvers() -> None:
    """Register the functions that ``conf/`` calls:

    - ``${bundled:paintings/x.jpg}``: the path of a file in the package;
    - ``${precision:auto}``: the best precision of the device, see
      `fast_style.devices.best_precision`;
    - ``${fresh:runs,NAME,DATE}``: a new folder for a run, see
      `fast_style.config.run_folder.fresh_folder`;
    - ``${fast_style:}``: how the user calls fast-style, see `fast_style.shell.program`.
    """

    def precision(accelerator: str) -> str:
        from fast_style.devices import best_precision  # imports PyTorch

        return best_precision(accelerator)

    OmegaConf.register_new_resolver("bundled", lambda name: str(ASSETS / name), replace=True)
    OmegaConf.register_new_resolver("precision", precision, replace=True)
    OmegaConf.register_new_resolver("fresh", fresh_folder, replace=True)
    OmegaConf.register_new_resolver("fast_style", program, replace=True)
