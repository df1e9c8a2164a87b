# Sourced by the scripts beside it. Makes .venv in the repository root where there is none, installs into it what is
# missing, and is done in no time when nothing is.
#
#   prepare [EXTRA ...]    .venv holds mamp and these extras of setup.cfg
#   run COMMAND [ARG ...]  print a command of .venv and become it
#
# MAMP_PYTHON=python3.12 names the Python that .venv is made with (python3; 3.10 or later).
# MAMP_TORCH_INDEX=URL names a package index to take torch and torchvision from, as a pair: pytorch.org/get-started
# has one of CPU-only builds, 0.3 GB instead of 5.6 GB. It matters only while .venv has no torch yet.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

prepare() {
    make_venv
    local checksum extra missing=()
    checksum=$(cat "$root/setup.cfg" "$root/pyproject.toml" <(echo "$root") | cksum)
    for extra in base "$@"; do
        [ "$(cat "$venv/.installed-$extra" 2>/dev/null)" = "$checksum" ] || missing+=("$extra")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    install_torch
    extra=$(IFS=,; echo "$*")
    pip --editable "$root${extra:+[$extra]}"
    "$venv/bin/python" -c 'import torchvision' ||
        fail "torchvision does not load with this torch: they are not a pair; remove $venv and run again"
    for extra in "${missing[@]}"; do echo "$checksum" >"$venv/.installed-$extra"; done
}

run() {
    local command=$1
    shift
    echo "+ $command$([ $# -eq 0 ] || printf ' %q' "$@")" >&2
    exec "$venv/bin/python" -m "$command" "$@"
}

make_venv() {
    ! "$venv/bin/python" -c '' 2>/dev/null || return 0
    local python=${MAMP_PYTHON:-python3}
    command -v "$python" >/dev/null || fail "there is no $python; install Python 3.10 or later, or name one with MAMP_PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "$("$python" --version) is too old; install Python 3.10 or later and name it, as in MAMP_PYTHON=python3.12"
    rm -rf "$venv" # none, or one whose Python is gone
    echo "making $venv with $("$python" --version)" >&2
    if ! "$python" -m venv "$venv" >&2; then
        rm -rf "$venv"
        fail "$python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
    fi
}

install_torch() {
    ! "$venv/bin/python" -c 'import importlib.metadata as m; m.version("torch"), m.version("torchvision")' 2>/dev/null || return 0
    if [ -n "${MAMP_TORCH_INDEX:-}" ]; then
        echo "installing torch and torchvision from $MAMP_TORCH_INDEX, then the rest" >&2
        pip --index-url "$MAMP_TORCH_INDEX" torch torchvision
    else
        echo "installing; torch and torchvision come with CUDA, 5.6 GB in a few minutes. A CPU-only pair is smaller:" >&2
        echo "MAMP_TORCH_INDEX=URL takes both from that index. Change neither alone: torchvision fits one build of torch." >&2
    fi
}

pip() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 2
}
