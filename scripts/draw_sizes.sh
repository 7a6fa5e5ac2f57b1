#!/usr/bin/env bash
# Draw checkpoints/pictures/sizes.jpg, which shows the effect of style.size: three networks of one
# painting at three sizes, each trained from the shipped one in about two minutes on two cores.
#
# usage: scripts/draw_sizes.sh PHOTOS OUT
set -euo pipefail
photos=$1 out=$2
styles=()
for size in 250 500 1000; do
    uv run fast-style train experiment=cpu style=stained-glass style.name="size-$size" \
        style.size="$size" init=stained-glass data.dir="$photos" trainer.max_steps=150 \
        "loss.style_scales=[1]" output_dir="$out/size-$size"
    styles+=(--style "$out/size-$size/size-$size.safetensors")
done
uv run fast-style sheet fast_style/assets/photos/chelsea.jpg "${styles[@]}" \
    -o checkpoints/pictures/sizes.jpg
