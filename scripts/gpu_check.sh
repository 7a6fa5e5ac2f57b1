#!/usr/bin/env bash
# Measures on one GPU, in at most eight minutes, what this project aims at: speed and memory of
# training and stylizing, what training reaches, and that files, sizes, bands, resumed runs and CUDA
# graphs give what they should. OUT/table.md says of each goal what was measured, and whether that
# meets it. The exit code is 1 if a goal is missed or a part failed.
#
#   uv run scripts/gpu_check.sh OUT [PHOTOS]
#
# PHOTOS, a folder to train on, is by default the bundled photos over and over. `--device cpu` runs
# everything very small, to see that the script runs; `--only PART` (may be repeated) runs a part.
#
# Nothing is downloaded. On a machine with PyTorch, Lightning, TensorBoard and pytest but without a
# network, the clone, PHOTOS and three wheels have to travel: `pip wheel --no-deps -w wheels
# hydra-core omegaconf antlr4-python3-runtime==4.9.*` makes them. Then this one command runs there
# (OpenVINO is not needed):
#
#   python3 -m pip install -q --no-index --no-deps --target /tmp/site wheels/*.whl &&
#       PYTHONPATH=/tmp/site scripts/gpu_check.sh OUT PHOTOS
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_check.py" "$@"
