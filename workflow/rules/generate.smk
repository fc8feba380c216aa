# prompts → shards → Tweedie images


rule shard:
    input:
        prompts=lambda w: ancient(prompt_settings(w).file),
    output:
        "results/shards/{split}/{shard}.jsonl",
    log:
        "results/logs/shard/{split}/{shard}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=memory(500),
        runtime=minutes(5),
    params:
        size=lambda w: prompt_settings(w).shard_size,
        end=shard_end,
        digest=shard_digest,
    shell:
        "python -m ttsnap shard {input.prompts:q} --size {params.size} --limit {params.end}"
        " --shard $((10#{wildcards.shard})) --out {output} > {log} 2>&1"


rule generate:
    input:
        "results/shards/{split}/{shard}.jsonl",
    output:
        "results/images/{split}/{shard}.h5",
    log:
        "results/logs/generate/{split}/{shard}.log",
    benchmark:
        "results/benchmarks/generate/{split}/{shard}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000 + pictures_mb(PROMPT_IMAGES)),
        runtime=minutes(240),
    params:
        model=lambda w: model_arguments(),  # a function: braces in a string are wildcards
        weights=lambda w: WEIGHTS,
        candidates=lambda w: prompt_settings(w).candidates,
        steps=lambda w: ",".join(
            map(
                str,
                (
                    [*reversed(CONFIG.levels), LAST]
                    if w.split == "train"
                    else range(LAST + 1)
                ),
            )
        ),
        seed=CONFIG.seed,
        code=code("ttsnap.commands.generate"),
        # Outside the outputs: Snakemake deletes those before a rerun.
        state="results/state/images",
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap generate {input} --out {output} {params.model}"
        " --candidates {params.candidates} --keep-steps {params.steps} --seed {params.seed}"
        " --state {params.state}/{wildcards.split}.{wildcards.shard}"
        " --threads {threads} > {log} 2>&1"
