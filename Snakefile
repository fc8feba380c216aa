# ttsnap: prompts → shards → Tweedie images → one reward checkpoint per level → reward tensor
#         → simulation → real search → report. `snakemake` runs it all; config.yaml says on what.
from snakemake.utils import min_version

min_version("9.10")


# The model that --configfile or --config names, before config.yaml fills in what they leave out.
MODEL_GIVEN = dict(config["model"]) if isinstance(config.get("model"), dict) else {}


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/cluster.smk"


report: "workflow/report/workflow.rst"


rule all:
    input:
        lambda w: report_files,


include: "workflow/rules/generate.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/report_inputs.smk"
include: "workflow/rules/search_inputs.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/train_shapes.smk"
include: "workflow/rules/sft_inputs.smk"
include: "workflow/rules/assign.smk"
include: "workflow/rules/sft.smk"
include: "workflow/rules/compare.smk"


onerror:
    print(
        f"\nA job failed. Its own words are in the file named under «log:» above, below {LOGS}/;"
        " Slurm's, if it ran there, below .snakemake/slurm_logs/"
    )
    print(*said_by_slurm(BEGAN), sep="\n")
    if os.path.exists("results") and shutil.disk_usage("results").free < 100 << 20:
        print("The disk is full: make room, then run the same command again.")
