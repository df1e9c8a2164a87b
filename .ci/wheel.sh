#!/usr/bin/env bash
# A wheel and an sdist, each installed into a fresh environment, where `mamp segment` must work with the weights inside.
# torch and the rest are taken from .venv: only mamp itself is what the fresh environments install.
#   bash .ci/wheel.sh [PYTHON]        PYTHON: of the environment that has what mamp needs, and `build` (.venv/bin/python)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(cd "$(dirname "${1:-.venv/bin/python}")" && pwd)/$(basename "${1:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# from a copy of what is in git: neither a build folder nor a file beside it can get in
mkdir "$work/source"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from - --create --ignore-failed-read |
    tar --extract --directory "$work/source"
"$python" -m build --no-isolation --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 ||
    { tail -n 30 "$work/build.log" >&2; exit 1; }

others=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for file in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
    fresh=$work/fresh-${file##*.}
    "$python" -m venv --without-pip "$fresh"
    # what mamp needs, behind what is installed here; the links to a checkout that .venv has are not followed
    echo "$others" >"$("$fresh/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/others.pth"
    "$python" -m pip --python "$fresh/bin/python" install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --ignore-installed "$file"
    cd "$work" # away from the checkout
    PYTHONPATH='' "$fresh/bin/python" "$work/source/.ci/first_masks.py" "$fresh" "$work/clip-${file##*.}"
    cd - >/dev/null
    [ -e "$fresh"/lib/python*/site-packages/mamp/configs/mamp_cpu.yaml ] || { echo "no recipes in $file" >&2; exit 1; }
    echo "$(basename "$file"): installed, and segments a video"
done
