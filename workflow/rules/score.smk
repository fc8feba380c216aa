# Tweedie images → base rewards of every step, labels of training images, verdicts of the checker


rule score_base:
    input:
        images=rules.generate.output,
    output:
        "results/scores/{split}/{shard}/{reward}.base.h5",
    log:
        "results/logs/score/{split}/{shard}/{reward}.base.log",
    benchmark:
        "results/benchmarks/score/{split}/{shard}/{reward}.base.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000, 120),
    params:
        reward=PLAN.reward,
        checkpoints="",
        weights=PLAN.reward_made_from,
        code=PLAN.reward_code("score"),
    message:
        "{wildcards.split} {wildcards.shard}: base {wildcards.reward} of every step"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap score {input.images} --out {output} {params.reward} {params.checkpoints}"
        " --threads {threads} > {log} 2>&1"


use rule score_base as score_base_drafts with:
    input:
        images=rules.draft.output,
    output:
        "results/scores/{split}/{shard}/{reward}.base.drafts.h5",
    log:
        "results/logs/score/{split}/{shard}/{reward}.base.drafts.log",
    benchmark:
        "results/benchmarks/score/{split}/{shard}/{reward}.base.drafts.tsv"
    message:
        "{wildcards.split} {wildcards.shard}: base {wildcards.reward} of the drafts"


rule label:
    input:
        rules.generate.output,
    output:
        "results/labels/{split}/{shard}/{reward}.h5",
    log:
        "results/logs/label/{split}/{shard}/{reward}.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000, 60),
    params:
        reward=PLAN.reward,
        weights=PLAN.reward_made_from,
        code=PLAN.reward_code("label"),
    message:
        "{wildcards.split} {wildcards.shard}: {wildcards.reward} of the final images, to learn from"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap label {input} --out {output} {params.reward} --threads {threads} > {log} 2>&1"


rule check:
    input:
        rules.generate.output,
    output:
        "results/checks/{split}/{shard}.h5",
    log:
        "results/logs/check/{split}/{shard}.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(4000, 60, gpu=False),
    params:
        checker=CONFIG.checker,
        code=PLAN.checker_code(),
    message:
        "{wildcards.split} {wildcards.shard}: verdict of the checker on every image"
    shell:
        "python -m ttsnap check {input} --checker {params.checker} --out {output} > {log} 2>&1"
