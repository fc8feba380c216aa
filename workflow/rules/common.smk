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
from ttsnap.workflow.start import config_parts, of_given_model, read_plan, refusal

BEGAN = time.time()
SCHEDULE_OPTIONS = ["--schedule", "--ttsp-schedule", "--steps-schedule"]  # of PLAN.fitted_methods()
config.update(of_given_model(GIVEN, config))
PARTS = config_parts(workflow)
CONFIG, PLAN = read_plan(config, PARTS)
share_gpus(workflow)
check_deployment(workflow.deployment_settings.deployment_method)

# The sets that schedules are fitted on and figures are made of: those of a reference run, where the config names one
FITTED_ON, FIGURES = ["reference_" * bool(PLAN.reference) + split for split in ("validation", "test")]
STEPS, DRAFTS = CONFIG.level_steps, CONFIG.level_drafts
LEVELS = ", ".join(map(str, STEPS))


def needs(mem_mb, minutes, gpu=True):
    """A rule's resources."""
    return asks(CONFIG.limits, mem_mb, minutes, gpu)


def level_before(w):
    """The checkpoint that a level starts from: the config's, or that of the level before; the cleanest has none."""
    if start := PLAN.level_start(w):
        return ancient(start)
    if (level := PLAN.level_before(w)) is None:
        return []
    return expand(rules.finetune.output.checkpoint, reward=w.reward, level=level)


def level_images(w, split):
    """The images that a level learns from: of the drafts, or of the steps."""
    rule_of = rules.draft if w.level in CONFIG.drafts else rules.generate
    return shards_of(rule_of.output, split)


def tensors_of(split, rewards):
    """The tensors of a split, which the run makes or, of a reference run, the config names."""
    if split.startswith("reference_"):
        return [ancient(PLAN.reference_path(split, reward)) for reward in rewards]
    return expand(rules.tensor.output, split=split, reward=rewards)


def scores_of(w, steps, drafts):
    """The score files of a split: those of the steps, and of the drafts."""
    files = [*(rules_of.output[0] for rules_of in steps), *(rules_of.output[0] for rules_of in drafts)]
    return shards_of(files, w.split)


def page(name, caption, category, **labels):
    """A result with its place in the report."""
    return report(
        f"results/report/{name}",
        caption=f"../report/{caption}.rst",
        category=category,
        labels=labels,
    )


def report_files():
    """All that the report consists of."""
    by_pruning = [rules.report_budget, rules.report_gain, rules.report_cost]
    by_reward = [rules.report_tau, rules.report_looks, rules.report_levels]
    by_reward += [rules.report_gallery] if CONFIG.report.gallery else []
    return [
        rules.report_summary.output[0],
        *expand([rule.output[0] for rule in by_pruning], pruned_by=PLAN.pruned_by),
        *expand([rule.output[0] for rule in by_reward], reward=CONFIG.rewards),
        *expand(rules.report_search.output, reward=CONFIG.search.rewards),
    ]


def schedule_of_search(w):
    """The schedule fitted for the method; best-of-N has none, and none is fitted where the config has one."""
    if not PLAN.fits or w.search_method == "best_of_n":
        return []
    return expand(rules.fit_schedule.output, reward=w.reward, method=w.search_method)


def compared(files, seeds):
    """The comparison files of every model, for some seeds."""
    return [
        path for way, cycle in SFT_PLAN.compared() for path in expand(files, seed=seeds, way=way, cycle=cycle)
    ]


def sft_page(name, caption, shows):
    """A result with its place in the report."""
    where = dict(
        caption=f"../report/{caption}.rst",
        category="7 Assigned noise",
        labels={"shows": shows},
    )
    return report(f"results/sft/report/{name}", **where)


def shards_of(files, split):
    """The files of every shard of a split."""
    return expand(files, split=split, shard=PLAN.numbers(split), allow_missing=True)


wildcard_constraints:
    split="train|validation|test|reference_test",
    shard=r"\d{4}",
    reward="|".join(CONFIG.rewards),
    level="|".join([r"\d+", *CONFIG.drafts]),
    method="ttsp|ttsnap|ttsnap_steps",
    search_method="best_of_n|ttsp|ttsnap",
    pruned_by="|".join(PLAN.pruned_by),
