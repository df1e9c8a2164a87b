import shutil
import subprocess

import pytest

STUB = """
prepare() { :; }
run() { printf '%s\\n' "$@"; }
fail() { echo "$1" >&2; exit 2; }
"""
COMMANDS = {
    "test_davis.sh": ["evaluate", "davis2017", "my root", "--split", "val", "--out", "out"],
    "test_ytb.sh": ["evaluate", "youtubevos", "my root", "--split", "valid", "--out", "out"],
    "test_demo.sh": ["evaluate", "folder", "my root", "--out", "out"],
}


@pytest.fixture(params=COMMANDS)
def script(request, tmp_path, repository):
    """A script beside a stand-in for what prepares the environment."""
    (tmp_path / "_env.sh").write_text(STUB)
    return shutil.copy(repository / "scripts" / request.param, tmp_path / request.param)


def test_a_script_is_one_command_with_the_rest_of_the_arguments_behind(script):
    words = ["bash", script, "my root", "out", "--weights", "a b.safetensors", "evaluate.amp=bf16"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    expected = ["mamp", *COMMANDS[script.name], "--weights", "a b.safetensors", "evaluate.amp=bf16"]
    assert done.stdout.splitlines() == expected


def test_a_script_without_its_arguments_says_what_it_wants(script):
    done = subprocess.run(["bash", script, "root"], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"give ROOT and OUT: bash scripts/{script.name} ROOT OUT" in done.stderr
