#!/usr/bin/env bash
# Make the networks in checkpoints/small/ again, on a CPU: each is shrunk from the shipped network of
# its style.
#
# usage: scripts/train_small.sh PHOTOS OUT
set -euo pipefail
photos=$1 out=$2

for style in indigo-woodcut stained-glass starry-night wave; do
    uv run python scripts/shrink.py "$style" "$photos" "$out/$style.safetensors"
done
