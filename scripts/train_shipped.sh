#!/usr/bin/env bash
# Train the networks in checkpoints/ again, the base first: the others start from it.
#
# usage: scripts/train_shipped.sh PHOTOS PAINTINGS OUT
#
# PHOTOS is a folder of photos; PAINTINGS holds starry-night.jpg, the-scream.jpg, wave.jpg and
# composition-vii.jpg, the paintings that do not come with the package.
set -euo pipefail
photos=$1 paintings=$2 out=$3

# The first layers of each block, at one scale.
first=("loss.style_layers=[relu1_1,relu2_1,relu3_1,relu4_1]" "loss.style_scales=[1]")

# The first strokes come sooner without a loss that keeps them steady.
uv run fast-style train experiment=cpu style=poppy-field "${first[@]}" style.size=640 \
    data.dir="$photos" init=null loss.stability_weight=0 trainer.max_steps=1200 \
    output_dir="$out/base"

train() {
    style=$1
    name=$(basename "$style" .jpg)
    shift
    uv run fast-style train experiment=cpu style="$style" data.dir="$photos" \
        init="$out/base/poppy-field.safetensors" output_dir="$out/$name" trainer.max_steps=1000 "$@"
}

train "$paintings/composition-vii.jpg" style.size=560 loss.style_weight=9
train "$paintings/starry-night.jpg" style.size=400 loss.style_weight=8
train stained-glass style.size=640 loss.style_weight=12 "loss.style_scales=[1]"

# By the losses of those above, these bury what is in the photo.
train poppy-field "${first[@]}" style.size=640 loss.style_weight=12
train indigo-woodcut "${first[@]}" style.size=640 loss.style_weight=18 trainer.max_steps=1400
train peacock-mosaic "${first[@]}" style.size=768 loss.style_weight=18
train "$paintings/wave.jpg" "${first[@]}" style.size=320 loss.style_weight=10 loss.tv_weight=3 \
    trainer.max_steps=1800
train "$paintings/the-scream.jpg" "${first[@]}" style.size=512 loss.style_weight=6 loss.tv_weight=1 \
    callbacks.schedule.warmup=0.2 loss.stability_weight=1 trainer.max_steps=1300
