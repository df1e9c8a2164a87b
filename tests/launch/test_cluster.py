"""What `launch.cluster` takes from inside submitit."""

import inspect

import submitit
from submitit.slurm import slurm


def test_submitit_has_the_private_names_by_which_a_dry_run_shows_its_script(tmp_path):
    has = {
        "AutoExecutor._executor": "_executor" in vars(submitit.AutoExecutor(tmp_path, cluster="debug")),
        "SlurmExecutor._make_submission_file_text": "_make_submission_file_text" in vars(slurm.SlurmExecutor),
        "SlurmExecutor._submitit_command_str": "_submitit_command_str" in vars(slurm.SlurmExecutor),
        "map_count": "map_count" in inspect.signature(slurm._make_sbatch_string).parameters,
    }
    gone = [name for name, there in has.items() if not there]
    assert not gone, (
        f"submitit {submitit.__version__} has no {', '.join(gone)}, which launch.cluster.script needs for"
        " --dry-run: find what it is called now, or lower submitit's upper bound in setup.cfg"
    )
