"""What the report's first page says of the workflow: all settings, and the software."""

import html
import platform
from importlib.metadata import PackageNotFoundError, version

import yaml
from snakemake.exceptions import WorkflowError

from ttsnap.settings.config import Config

NAMES = (
    "snakemake torch torchvision open_clip_torch diffusers transformers peft accelerate"
    " safetensors numpy scipy scikit-learn h5py pillow matplotlib"
).split()


def software() -> list[str]:
    """“name version” of what matters to the results and is installed where this runs."""
    found = [f"Python {platform.python_version()}"]
    for name in NAMES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            pass
    return found


class ReportFacts(dict):
    """`settings` and `software`: to be had only while no job would run, so that they are those of the results."""

    def __init__(self, config: Config, workflow):
        settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        super().__init__(settings=html.escape(settings).replace("\n", "&#10;"), software=software())
        self._workflow = workflow

    def __getitem__(self, key):
        stale = {job.rule.name for job in self._workflow.dag.needrun_jobs()} - {"all", "sft"}
        if stale:
            raise WorkflowError(
                "The report would show results of other settings or code beside these:"
                f" {', '.join(sorted(stale))} would run again. Run snakemake first, or give the config they were"
                " made with."
            )
        return super().__getitem__(key)
