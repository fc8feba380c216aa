# ttsnap: prompts → shards → Tweedie images → one reward checkpoint per level → reward tensor
#         → simulation → real search → report. `snakemake` runs it all; config.yaml says on what.
import copy

from snakemake.utils import min_version

min_version("9.10")


# What --configfile and --config give, before config.yaml fills in what they leave out.
GIVEN = copy.deepcopy(config)


configfile: "config.yaml"


include: "workflow/rules/common.smk"


report: "workflow/report/workflow.rst"


rule all:
    input:
        lambda w: report_files(),


include: "workflow/rules/generate.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/train_shapes.smk"
include: "workflow/rules/sft.smk"
include: "workflow/rules/sft_report.smk"


onstart:
    cancel_orphans(workflow.dag.needrun_jobs(), os.getcwd())
    forget(workflow.dag.needrun_jobs(), workflow.dag_settings)


onerror:
    explain_failure(BEGAN)
