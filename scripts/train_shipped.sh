#!/usr/bin/env bash
# Train the networks in checkpoints/ again, the base first: the others start from it.
#
# usage: scripts/train_shipped.sh PHOTOS PAINTINGS OUT
#
# PHOTOS is a folder of photos; PAINTINGS holds starry-night.jpg, the-scream.jpg, wave.jpg and
# composition-vii.jpg, the paintings that do not come with the package.
set -euo pipefail
photos=$1 paintings=$2 out=$3

uv run fast-style train loss=vgg16 style=poppy-field style.size=640 data.dir="$photos" \
    data.size=160 trainer.max_steps=650 output_dir="$out/poppy-field"

train() {
    style=$1 into=$2
    shift 2
    uv run fast-style train experiment=shipped style="$style" data.dir="$photos" \
        init="$out/poppy-field/poppy-field.safetensors" output_dir="$out/$into" "$@"
}

train "$paintings/composition-vii.jpg" composition-vii
for name in starry-night wave; do
    train "$paintings/$name.jpg" "$name-1"
    # Less style: the fine texture that came first recedes, and things come out.
    train "$paintings/$name.jpg" "$name" loss.style_weight=10 loss.tv_weight=3 \
        trainer.max_steps=160 init="$out/$name-1/$name.safetensors"
done
train peacock-mosaic peacock-mosaic style.size=768
for name in indigo-woodcut stained-glass; do
    train "$name" "$name" style.size=640
done
# A dark painting: with the weight of style of the others, faces drown in it.
train "$paintings/the-scream.jpg" the-scream-1 style.size=512 loss.style_weight=20 \
    loss.tv_weight=2 callbacks.schedule.warmup=0.2
train "$paintings/the-scream.jpg" the-scream style.size=512 loss.style_weight=8 loss.tv_weight=1 \
    trainer.max_steps=160 init="$out/the-scream-1/the-scream.safetensors"
