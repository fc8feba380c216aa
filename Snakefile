# ttsnap: prompts → shards → Tweedie images → one reward checkpoint per level → reward tensor
#         → simulation → report. `snakemake` runs it all; config.yaml says on what.
from snakemake.utils import min_version

min_version("9.10")


configfile: "config.yaml"


include: "workflow/rules/common.smk"


#report: "workflow/report/workflow.rst"


rule all:
    input:
        expand("results/simulations/{r}.json", r=[*CONFIG.rewards,"all"]), expand("results/alignment/test.{r}.json", r=CONFIG.rewards),
        #report_files,


include: "workflow/rules/generate.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/simulate.smk"
#include report
include: "workflow/rules/train_shapes.smk"


onerror:
    print(f"\nA job failed. Its own words are in the file named under «log:» above, below {LOGS}/")
