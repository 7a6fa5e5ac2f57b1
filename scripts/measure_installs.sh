#!/usr/bin/env bash
# Print a table of what installs take: the sizes of the wheel, of the downloaded packages and of the
# environment, and the seconds from a cold cache. Each install is of the wheel of this clone into an
# empty environment, with nothing cached; what it downloads depends on the platform.
#
#   scripts/measure_installs.sh [EXTRA...]
#
# Without EXTRA, it measures the plain install and the one with the extra train.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

megabytes() { du -sm --apparent-size "$1" | cut -f 1; }

uv build --quiet --wheel --out-dir "$work"
wheel=$(echo "$work"/*.whl)
echo "wheel: $(megabytes "$wheel") MB"
echo
echo "| install | packages | seconds | size in MB |"
echo "| --- | --- | --- | --- |"
for extra in "" "${@:-train}"; do
    export UV_CACHE_DIR="$work/cache"
    rm -rf "$UV_CACHE_DIR" "$work/environment"
    uv venv --quiet "$work/environment"
    wanted="$wheel${extra:+[$extra]}"
    started=$(date +%s.%N)
    uv pip install --quiet --python "$work/environment" "$wanted"
    seconds=$(printf '%s %s' "$started" "$(date +%s.%N)" | awk '{printf "%.0f", $2 - $1}')
    packages=$(uv pip list --quiet --python "$work/environment" | tail -n +3 | wc -l)
    name="fast-style${extra:+[$extra]}"
    echo "| \`$name\` | $packages | $seconds | $(megabytes "$work/environment") |"
done
