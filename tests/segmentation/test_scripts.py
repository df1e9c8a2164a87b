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


METHOD_COMMANDS = {
    "train_ssm.sh": (
        ["youtube", "davis root", "train.batch=8"],
        [
            "train",
            "configs/ssm_youtube.yaml",
            "data.root=youtube",
            "validation.dataset=davis2017",
            "validation.root=davis root",
            "train.batch=8",
        ],
    ),
    "test_ssm.sh": (
        ["root", "out", "--weights", "a b"],
        [
            "evaluate",
            "davis2017",
            "root",
            "--split",
            "val",
            "--out",
            "out",
            "method.name=ssm",
            "method.preset=published",
            "--weights",
            "a b",
        ],
    ),
    "demo_ssm.sh": (
        ["video", "mask.png", "out", "--weights", "w", "method.propagation.merge=hard"],
        [
            "segment",
            "video",
            "--mask",
            "mask.png",
            "--out",
            "out",
            "--overlay",
            "out/overlay.mp4",
            "method.name=ssm",
            "method.preset=published",
            "--weights",
            "w",
            "method.propagation.merge=hard",
        ],
    ),
    "train_stm.sh": (
        ["davis root", "youtube", "train.batch=8"],
        [
            "train",
            "configs/stm_cycle_hybrid.yaml",
            "data.root=davis root",
            "data.root=youtube",
            "validation.dataset=davis2017",
            "validation.root=davis root",
            "train.batch=8",
        ],
    ),
    "test_stm.sh": (
        ["root", "out", "--weights", "a b"],
        [
            "evaluate",
            "davis2017",
            "root",
            "--split",
            "val",
            "--out",
            "out",
            "method.name=stm",
            "method.preset=published",
            "--weights",
            "a b",
        ],
    ),
    "probe.sh": (
        ["root", "out", "timm:a", "method.preset=crw", "--processes", "2"],
        [
            "evaluate",
            "davis2017",
            "root",
            "--split",
            "val",
            "--out",
            "out",
            "method.name=probe",
            "method.encoder=timm:a",
            "method.preset=crw",
            "--processes",
            "2",
        ],
    ),
    "demo_stm.sh": (
        ["video", "mask.png", "out", "--weights", "w", "--overlay-style", "erf"],
        [
            "segment",
            "video",
            "--mask",
            "mask.png",
            "--out",
            "out",
            "--overlay",
            "out/overlay.mp4",
            "method.name=stm",
            "method.preset=published",
            "method.propagation.correction_written=true",
            "--weights",
            "w",
            "--overlay-style",
            "erf",
        ],
    ),
    "train_afb_urr.sh": (
        ["davis root", "train.init=w"],
        [
            "train",
            "configs/afb_urr_davis.yaml",
            "data.root=davis root",
            "validation.dataset=davis2017",
            "validation.root=davis root",
            "train.init=w",
        ],
    ),
    "test_afb_urr.sh": (
        ["root", "out", "--weights", "a b"],
        [
            "evaluate",
            "davis2017",
            "root",
            "--split",
            "val",
            "--out",
            "out",
            "method.name=afb_urr",
            "method.preset=published",
            "--weights",
            "a b",
        ],
    ),
    "demo_afb_urr.sh": (
        ["video", "mask.png", "out", "--weights", "w"],
        [
            "segment",
            "video",
            "--mask",
            "mask.png",
            "--out",
            "out",
            "--overlay",
            "out/overlay.mp4",
            "--overlay-style",
            "rim",
            "method.name=afb_urr",
            "--weights",
            "w",
        ],
    ),
}


@pytest.mark.parametrize("name", METHOD_COMMANDS)
def test_a_script_of_a_method_is_one_command(name, tmp_path, repository):
    (tmp_path / "_env.sh").write_text(STUB)
    script = shutil.copy(repository / "scripts" / name, tmp_path / name)
    arguments, expected = METHOD_COMMANDS[name]
    done = subprocess.run(
        ["bash", script, *arguments], capture_output=True, text=True, check=True, env={"root": "."}
    )
    assert [word.removeprefix("./") for word in done.stdout.splitlines()] == ["mamp", *expected]
    short = subprocess.run(["bash", script], capture_output=True, text=True)
    assert short.returncode == 2
    assert f"scripts/{name}" in short.stderr


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
