"""Before the rules: the config from all its files, and its faults as Snakemake shows them."""

from snakemake.exceptions import WorkflowError

from ttsnap.errors import BadInput
from ttsnap.settings.config import Config, parse_config
from ttsnap.settings.files import Part, at_fault, read_parts
from ttsnap.workflow.plan import Plan


def config_parts(workflow) -> list[Part]:
    """What every config file and --config hold, the weakest first; Snakemake merges them into one."""
    settings = workflow.config_settings
    default = [path for path in workflow.configfiles if path not in settings.configfiles]
    files = [*([] if settings.replace_workflow_config else default), *settings.configfiles]
    try:
        return read_parts(files, settings.config)
    except BadInput as error:
        raise WorkflowError(str(error)) from None


def of_given_model(given: dict, merged: dict) -> dict:
    """The keys of the config that change where --configfile or --config names a model, with their values.

    A preset is a whole model, and config.yaml's drafts, decoder of looks and reference are of its own model: none of
    them is left, nor a level of such a draft. given: what those files hold; merged: the config with config.yaml below
    them.
    """
    model = given.get("model")
    if not isinstance(model, dict) or not {"preset", "path"} & set(model):
        return {}
    changed = {"drafts": given.get("drafts") or {}, "looks": given.get("looks") or {}}
    changed["reference"] = given.get("reference")
    changed |= {"model": model} if "preset" in model else {}
    levels = merged.get("levels")
    if "levels" not in given and isinstance(levels, list):
        changed["levels"] = [level for level in levels if not isinstance(level, str) or level in changed["drafts"]]
    return changed


def refusal(error: object, parts: list[Part]) -> WorkflowError:
    """A fault of the config, to be raised: with the file at fault."""
    return WorkflowError(f"{at_fault(str(error), parts)}: {error}")


def read_plan(values: dict, parts: list[Part]) -> tuple[Config, Plan]:
    """The config that Snakemake merged, validated, and the jobs it asks for. Raises Snakemake's own error."""
    try:
        config = parse_config(values, "")
        return config, Plan(config)
    except BadInput as error:
        raise refusal(error, parts) from None
