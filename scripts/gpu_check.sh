#!/usr/bin/env bash
# Measure the goals of this project on one GPU, in at most eight minutes: speed and memory of training
# and stylizing, the loss that training reaches, and correct results from files, sizes, bands, resumed
# runs and CUDA graphs. OUT/table.md has each goal, the measured figure, and whether the goal is met. The
# exit code is 1 if a goal is missed or a part failed.
#
#   uv run scripts/gpu_check.sh OUT [PHOTOS]
#
# PHOTOS is a folder to train on, by default the bundled photos over and over. `--device cpu` runs
# everything very small, to see that it runs. `--only PART` (may be repeated) runs one part.
#
# Nothing is downloaded. A machine with PyTorch, Lightning, TensorBoard and pytest but no network needs
# the clone, PHOTOS and three wheels, which `pip wheel --no-deps -w wheels hydra-core omegaconf
# antlr4-python3-runtime==4.9.*` builds. It does not need OpenVINO. Run there:
#
#   python3 -m pip install -q --no-index --no-deps --target /tmp/site wheels/*.whl &&
#       PYTHONPATH=/tmp/site scripts/gpu_check.sh OUT PHOTOS
set -euo pipefail
export PYTHONPATH="$(dirname "$(realpath "$0")")${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" -m gpu_check "$@"
