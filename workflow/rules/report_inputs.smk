# What the report consists of and what its rules read
import html
import platform
from importlib.metadata import PackageNotFoundError, version

import yaml

from ttsnap.storage.code_digest import PACKAGE

SEARCHES = [*CONFIG.rewards, *(["all"] if len(CONFIG.rewards) > 1 else [])]

report_files = [
    "results/report/overview.html",
    *expand("results/report/budget.{pruned_by}.png", pruned_by=SEARCHES),
    *expand(
        "results/report/{table}.{pruned_by}.html",
        table=["gain", "cost"],
        pruned_by=SEARCHES,
    ),
    *expand("results/report/tau.{reward}.png", reward=CONFIG.rewards),
    *expand("results/report/levels.{reward}.html", reward=CONFIG.rewards),
]
report_files += expand(
    "results/report/search.{reward}.html", reward=CONFIG.search.rewards
)
if CONFIG.report.gallery:
    report_files += expand(
        "results/report/gallery.{reward}.html", reward=CONFIG.rewards
    )


def software():
    """«name version» of what matters to the results and is installed where this runs."""
    found = [f"Python {platform.python_version()}"]
    for name in (
        "snakemake torch torchvision open_clip_torch diffusers transformers peft accelerate"
        " safetensors numpy scipy scikit-learn h5py pillow matplotlib"
    ).split():
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            pass
    return found


class OfReport(dict):
    """What the report says of this config: to be had only while nothing would run, so that it is of the results."""

    def __getitem__(self, key):
        stale = {job.rule.name for job in workflow.dag.needrun_jobs()} - {"all", "sft"}
        if stale:
            raise WorkflowError(
                "The report would show results of other settings or code beside these:"
                f" {', '.join(sorted(stale))} would run again. Run snakemake first, or give the config they were made with."
            )
        return super().__getitem__(key)


# For the report's first page alone (workflow/report/workflow.rst), which sees nothing else of the workflow.
config["of_report"] = OfReport(
    settings=html.escape(
        yaml.safe_dump(CONFIG.model_dump(mode="json"), sort_keys=False)
    ).replace("\n", "&#10;"),
    software=software(),
)


def report_code():
    """A digest of the code and the templates behind the report."""
    templates = sorted(PACKAGE.glob("report/*.html"))
    pages = b"".join(path.read_bytes() for path in templates)
    return code("ttsnap.commands.report") + hashlib.sha256(pages).hexdigest()[:16]


def tensors_of(wildcards):
    """The test tensors a search goes by."""
    rewards = CONFIG.rewards if wildcards.pruned_by == "all" else [wildcards.pruned_by]
    return [f"results/tensors/test.{reward}.h5" for reward in rewards]


def fitted_schedules(wildcards):
    """The schedules fitted for a reward; none for all together, and none where the config has one."""
    if wildcards.pruned_by == "all" or CONFIG.simulate.schedule != "fit":
        return []
    return expand(
        "results/schedules/{reward}.{method}.json",
        reward=wildcards.pruned_by,
        method=["ttsp", "ttsnap"],
    )


def gallery_images(wildcards):
    """The image shards that the first prompts of the test set are in."""
    shards = -(-CONFIG.report.gallery // CONFIG.prompts.test.shard_size)
    return of_shards("results/images/{split}/{shard}.h5", "test")[:shards]
