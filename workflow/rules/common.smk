# The validated config, and what every rule takes of it; the functions behind are in ttsnap/workflow
import os
import time

from ttsnap.workflow.cluster import (
    asks,
    cancel_orphans,
    check_deployment,
    explain_failure,
    launcher,
    share_gpus,
)
from ttsnap.workflow.forced import STATES, forget
from ttsnap.workflow.plan import code, named_inputs, report_code
from ttsnap.workflow.start import config_parts, read_plan, refusal

BEGAN = time.time()
if "preset" in MODEL_GIVEN:
    # A preset is a whole model: what config.yaml says of another one is no part of it.
    config["model"] = MODEL_GIVEN
PARTS = config_parts(workflow)
CONFIG, PLAN = read_plan(config, PARTS)
share_gpus(workflow)
check_deployment(workflow.deployment_settings.deployment_method)

# A command on GPUs of its own, and how it ends
TTSNAP = "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap"
END = " --threads {threads} > {log} 2>&1"
LEVELS = ", ".join(map(str, CONFIG.levels))


def needs(mem_mb, minutes, gpu=True):
    """A rule's resources."""
    return asks(CONFIG.limits, mem_mb, minutes, gpu)


wildcard_constraints:
    split="train|validation|test",
    shard=r"\d{4}",
    reward="|".join(CONFIG.rewards),
    level=r"\d+",
    method="ttsp|ttsnap",
    search_method="best_of_n|ttsp|ttsnap",
    pruned_by="|".join(PLAN.pruned_by),
