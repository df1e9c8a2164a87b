"""The command line, with stand-ins for SLURM's programs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launch import journal, plan, submit


def scripts(scheduler: Path) -> list[str]:
    """What sbatch was given, in order."""
    return [path.read_text() for path in sorted(scheduler.glob("sbatch-*"))]


def send(*words: object) -> int:
    return submit.main([str(word) for word in words])


def arguments(run: Path) -> list[str]:
    owner = journal.submission(journal.read(run))
    assert owner is not None
    return owner["arguments"]


def test_a_training_asks_for_what_the_config_says(scheduler: Path, recipe: Path, tmp_path: Path, capsys):
    assert send("train", recipe, "slurm.gpus_per_node=2", "--run", tmp_path / "run") == 0
    (script,) = scripts(scheduler)
    for line in (
        "--partition=gpu",
        "--mem=32G",
        "--time=240",
        "--gpus-per-node=2",
        "--ntasks-per-node=2",
        "--cpus-per-task=4",
        "--signal=USR2@120",
        "--requeue",
        "--open-mode=append",
    ):
        assert f"#SBATCH {line}\n" in script
    assert "module load cuda\n" in script
    assert "--kill-on-bad-exit=1 --cpus-per-task=4" in script
    assert "--array" not in script
    out = capsys.readouterr().out
    assert "job 701: " in out
    assert "launch/701_0_log.err" in out
    assert "python -m launch.status" in out
    assert "scancel 701\n" in out


def test_the_job_reads_the_config_as_it_was_when_it_was_sent(scheduler: Path, recipe: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert send("train", recipe, "train.lr=0.5", "--run", run) == 0
    assert arguments(run) == ["train", str(run / "launch.yaml"), "--run", str(run)]
    kept = yaml.safe_load((run / "launch.yaml").read_text())
    assert (kept["train"]["lr"], kept["train"]["steps"], kept["method"]["propagation"]["top_k"]) == (
        0.5,
        5,
        7,
    )


def test_a_sweep_is_one_array(scheduler: Path, recipe: Path, tmp_path: Path):
    words = ("train.lr=1e-3,1e-4", "train.seed=0,1", "slurm.array_parallelism=2", "--run", tmp_path / "s")
    assert send("train", recipe, *words) == 0
    (script,) = scripts(scheduler)
    assert "#SBATCH --array=0-3%2\n" in script
    runs = sorted(path.parent.name for path in (tmp_path / "s").rglob(journal.NAME))
    assert runs == ["lr=1e-3,seed=0", "lr=1e-3,seed=1", "lr=1e-4,seed=0", "lr=1e-4,seed=1"]
    owner = journal.submission(journal.read(tmp_path / "s" / runs[3]))
    assert owner is not None
    assert owner["jobs"] == ["701_3"]


@pytest.mark.parametrize("local", [False, True])
def test_a_sweep_of_thousands_is_refused_before_a_config_is_read(
    scheduler: Path, recipe: Path, tmp_path: Path, capsys, monkeypatch, local: bool
):
    monkeypatch.setattr(plan, "_load", None)
    seeds = ",".join(map(str, range(1000)))
    words = ["train", recipe, f"train.seed={seeds}", "train.lr=1,2,3", "--run", tmp_path / "s"]
    assert send(*words, *(["--local"] if local else [])) == 2
    assert "this sweep has 3,000 points" in capsys.readouterr().err
    assert not (tmp_path / "s").exists() and not scripts(scheduler)


def test_the_largest_array_is_the_cluster_s(scheduler: Path, recipe: Path, tmp_path: Path, capsys):
    program = scheduler.parent / "programs" / "scontrol"
    program.write_text("#!/bin/sh\necho 'MaxArraySize            = 2'\n")
    program.chmod(0o755)
    assert send("train", recipe, "train.seed=1,2,3", "--run", tmp_path / "s", "--dry-run") == 2
    assert "takes 2 at most" in capsys.readouterr().err
    assert send("train", recipe, "train.seed=1,2", "--run", tmp_path / "s", "--dry-run") == 0


def test_a_sweep_may_have_more_runs_than_files_may_be_open(
    scheduler: Path, recipe: Path, tmp_path: Path, monkeypatch
):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    submit._allow_open_files(10)
    submit._allow_open_files(9000)
    assert asked == [(266, 4096), (4096, 4096)]


def test_a_sweep_is_a_group_of_wandb_unless_another_is_named(scheduler: Path, recipe: Path, tmp_path: Path):
    sweep = tmp_path / "rates"
    assert send("train", recipe, "train.seed=0,1", "--run", sweep) == 0
    assert send("train", recipe, "train.seed=2,3", "tracking.group=mine", "--run", tmp_path / "other") == 0
    assert send("train", recipe, "--run", tmp_path / "one") == 0
    found = [
        yaml.safe_load((tmp_path / run / "launch.yaml").read_text())["tracking"]["group"]
        for run in ("rates/seed=0", "rates/seed=1", "other/seed=2", "one")
    ]
    assert found == ["rates", "rates", "mine", None]


def test_an_evaluation_is_shared_and_a_job_behind_it_scores(scheduler: Path, recipe: Path, tmp_path: Path):
    run = tmp_path / "run"
    words = (
        "davis2017",
        "/davis",
        "--split",
        "val",
        "--weights",
        "w.safetensors",
        "slurm.array=3",
        "--run",
        run,
    )
    assert send("evaluate", recipe, *words) == 0
    helpers, last = scripts(scheduler)
    assert "#SBATCH --array=0-2%3\n" in helpers
    assert "#SBATCH --dependency=afterany:701\n" in last
    assert arguments(run) == [
        "evaluate", "davis2017", "/davis", "--split", "val", "--weights", "w.safetensors", "--out", str(run),
        "method.propagation.top_k=7",
    ]  # fmt: skip


def test_packing_and_scoring_use_the_processors_they_were_given(
    scheduler: Path, recipe: Path, tmp_path: Path
):
    pack, score = tmp_path / "pack", tmp_path / "score"
    assert send("pack", recipe, "/videos", "--size", "128", "--run", pack) == 0
    assert arguments(pack) == [
        "data",
        "pack",
        "/videos",
        "--size",
        "128",
        str(pack / "packed"),
        "--processes",
        "4",
    ]
    assert send("score", recipe, "/truth", "/masks", "--protocol", "davis2017", "--run", score) == 0
    assert arguments(score)[:5] == ["score", "/truth", "/masks", "--protocol", "davis2017"]
    assert str(score / "scores.json") in arguments(score)
    assert send("score", recipe, "/truth", "/masks", "slurm.nodes=2", "--run", tmp_path / "more") == 2


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["train.lrr=1"], "train.lrr is not a key; did you mean train.lr"),
        (["train.lr=1e-3,fast"], "train.lr"),
        (["slurm.time=120"], "slurm.time"),
        (["slurm.time=1h,2h"], "the jobs of a sweep ask for the same"),
        (["slurm.array=2"], "slurm.array=2 does not go with train"),
        (["data.root=[]"], "data.root is empty"),
    ],
)
def test_a_mistake_is_told_before_anything_is_sent(
    scheduler: Path, recipe: Path, tmp_path: Path, capsys, words, wrong
):
    assert send("train", recipe, *words, "--run", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert error.startswith("launch: ")
    assert wrong in error
    assert not scripts(scheduler)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(
    scheduler: Path, recipe: Path, tmp_path: Path, capsys
):
    assert send("train", recipe, "train.seed=0,1", "--run", tmp_path / "run", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "#SBATCH --partition=gpu" in out
    assert "#SBATCH --array=0-1%2" in out
    assert "seed=1: mamp train" in out
    assert not scripts(scheduler)
    assert not (tmp_path / "run").exists()


def test_a_sweep_over_presets_and_layers_of_the_probe_is_an_evaluation_each(
    scheduler: Path, repository: Path, tmp_path: Path, capsys
):
    recipe, changes = (
        repository / "configs" / "probe.yaml",
        ["method.preset=dino,crw", "method.network.layer=-1,-2"],
    )
    words = [
        "evaluate",
        recipe,
        "davis2017",
        "/data",
        "--run",
        tmp_path / "run",
        "method.encoder=timm:test_vit",
    ]
    assert send(*words, *changes, "--dry-run") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if ": mamp evaluate" in line]
    assert [line.split(":")[0].split("/")[-1] for line in told] == [
        "preset=dino,layer=-1", "preset=dino,layer=-2", "preset=crw,layer=-1", "preset=crw,layer=-2",
    ]  # fmt: skip
    assert all("method.encoder=timm:test_vit" in line and "method.name=probe" in line for line in told)
    assert not scripts(scheduler)


def test_a_dry_run_of_shared_work_shows_the_job_behind_it(scheduler: Path, recipe: Path, capsys):
    assert send("evaluate", recipe, "davis2017", "/davis", "slurm.array=3", "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.index("#SBATCH --array=0-2%3") < out.index("#SBATCH --dependency=afterany:JOB")


def test_a_run_in_the_queue_is_left_alone(scheduler: Path, recipe: Path, tmp_path: Path, capsys):
    assert send("train", recipe, "--run", tmp_path / "run") == 0
    (scheduler / "queue").write_text("701|PENDING|(Priority)\n")
    assert send("train", recipe, "--run", tmp_path / "run") == 2
    assert "belongs to job 701 (pending)" in capsys.readouterr().err
    assert len(scripts(scheduler)) == 1


def test_a_finished_run_is_sent_again_only_for_more_steps(
    scheduler: Path, recipe: Path, tmp_path: Path, capsys
):
    run = tmp_path / "run"
    assert send("train", recipe, "--run", run) == 0
    owner = journal.submission(journal.read(run))
    assert owner is not None
    journal.add(run, "finished", token=owner["token"], job="701", rank=0)
    (run / "weights.safetensors").touch()
    assert send("train", recipe, "--run", run) == 0
    assert "is finished; nothing is submitted" in capsys.readouterr().out
    assert len(scripts(scheduler)) == 1
    assert send("train", recipe, "train.steps=6", "--run", run) == 0
    assert len(scripts(scheduler)) == 2


def test_a_sites_settings_lie_below_the_config(scheduler: Path, recipe: Path, tmp_path: Path):
    site = tmp_path / "site.yaml"
    site.write_text("slurm: {account: vision, partition: slow, extra: {reservation: cvpr}}\n")
    assert send("train", recipe, "--site", site, "--run", tmp_path / "run") == 0
    (script,) = scripts(scheduler)
    assert "#SBATCH --account=vision\n" in script
    assert "#SBATCH --partition=gpu\n" in script
    assert "#SBATCH --reservation=cvpr\n" in script


def test_a_machine_without_slurm_says_so(recipe: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert send("train", recipe, "--run", tmp_path / "run") == 2
    assert "pass --local" in capsys.readouterr().err


def test_local_runs_the_same_job_here(recipe: Path, tmp_path: Path, stand_in, capsys):
    stand_in("")
    run = tmp_path / "run"
    assert send("train", recipe, "slurm.setup=[]", "--local", "--run", run) == 0
    assert (run / "weights.safetensors").exists()
    assert send("train", recipe, "slurm.setup=[]", "--local", "--run", run) == 0
    assert "is finished" in capsys.readouterr().out


def test_a_local_job_that_fails_gives_its_reason(recipe: Path, tmp_path: Path, stand_in, capsys):
    stand_in("a mistake")
    assert send("train", recipe, "slurm.setup=[]", "--local", "--run", tmp_path / "run") == 1
    assert "that is wrong; correct it" in capsys.readouterr().err


def test_submitting_imports_no_torch(recipe: Path, tmp_path: Path, scheduler: Path, repository: Path):
    code = (
        "import sys; from launch import submit, status; "
        f"submit.main(['train', {str(recipe)!r}, '--run', {str(tmp_path / 'run')!r}]); "
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=repository,
        env=os.environ,
    )
    assert ran.stdout.endswith("[]\n"), ran.stdout
