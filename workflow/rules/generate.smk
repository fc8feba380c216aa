# prompts → shards → Tweedie images, drafts


rule shard:
    input:
        lambda w: ancient(PLAN.prompts(w).file),
    output:
        "results/shards/{split}/{shard}.jsonl",
    log:
        "results/logs/shard/{split}/{shard}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        **needs(500, 5, gpu=False),
    params:
        size=lambda w: PLAN.prompts(w).shard_size,
        end=PLAN.shard_end,
        digest=PLAN.shard_digest,
    message:
        "{wildcards.split}: shard {wildcards.shard} of the prompts"
    shell:
        "python -m ttsnap shard {input:q} --size {params.size} --limit {params.end}"
        " --shard $((10#{wildcards.shard})) --out {output} > {log} 2>&1"


rule generate:
    input:
        rules.shard.output,
    output:
        "results/images/{split}/{shard}.h5",
    log:
        "results/logs/generate/{split}/{shard}.log",
    benchmark:
        "results/benchmarks/generate/{split}/{shard}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000 + PLAN.prompt_mb(), 240),
    params:
        model=PLAN.model,
        weights=lambda w: PLAN.weights,
        candidates=lambda w: PLAN.prompts(w).candidates,
        kept=PLAN.kept_steps,
        seed=CONFIG.seed,
        code=code("ttsnap.commands.generate"),
        # Outside the outputs: Snakemake deletes those before a rerun.
        state=STATES["generate"],
    message:
        "{wildcards.split} {wildcards.shard}: {params.candidates} candidates of each prompt"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap generate {input} --out {output} {params.model}"
        " --candidates {params.candidates} {params.kept} --seed {params.seed}"
        " --state {params.state} --threads {threads} > {log} 2>&1"


use rule generate as draft with:
    output:
        "results/drafts/{split}/{shard}.h5",
    log:
        "results/logs/draft/{split}/{shard}.log",
    benchmark:
        "results/benchmarks/draft/{split}/{shard}.tsv"
    params:
        kept=lambda w: PLAN.draft_words(PLAN.drafts_of(w.split)),
        drafts=lambda w: [PLAN.draft_weights[name] for name in PLAN.drafts_of(w.split)],
        state=STATES["draft"],
    message:
        "{wildcards.split} {wildcards.shard}: drafts of each candidate"
