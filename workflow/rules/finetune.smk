# Noise-aware finetuning: levels from clean to noisy, each from the weights of the one before; then what they read


rule finetune:
    input:
        start=level_before,
        train_images=lambda w: level_images(w, "train"),
        train_labels=shards_of(rules.label.output, "train"),
        validation_images=lambda w: level_images(w, "validation"),
        # The base scores' last step is the label; validation shards are scored anyway.
        validation_labels=shards_of(rules.score_base.output, "validation"),
    output:
        checkpoint="results/levels/{reward}/{level}.safetensors",
        figures="results/levels/{reward}/{level}.json",
    log:
        "results/logs/finetune/{reward}/{level}.log",
    benchmark:
        "results/benchmarks/finetune/{reward}/{level}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000 + PLAN.level_mb(), 240),
    params:
        launch=launcher,
        files=named_inputs,
        reward=PLAN.reward,
        settings=PLAN.level_settings,
        start=PLAN.level_start_digest,
        weights=PLAN.reward_made_from,
        seed=CONFIG.seed,
        # Outside the outputs: Snakemake deletes those of a job that died.
        state=STATES["finetune"],
        code=PLAN.reward_code("finetune"),
    message:
        "{wildcards.reward}: level {wildcards.level}"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " {params.launch} ttsnap finetune --level {wildcards.level}"
        " {params.reward} {params.files} {params.settings} --seed {params.seed} --state {params.state}"
        " --out {output.checkpoint} --json {output.figures} --threads {threads} > {log} 2>&1"


use rule score_base as score_noise_aware with:
    input:
        images=rules.generate.output,
        checkpoints=expand(rules.finetune.output.checkpoint, level=STEPS, allow_missing=True),
    output:
        "results/scores/{split}/{shard}/{reward}.noise_aware.h5",
    log:
        "results/logs/score/{split}/{shard}/{reward}.noise_aware.log",
    benchmark:
        "results/benchmarks/score/{split}/{shard}/{reward}.noise_aware.tsv"
    params:
        checkpoints=lambda w, input: [f"--checkpoint {path}" for path in input.checkpoints],
    message:
        f"{{wildcards.split}} {{wildcards.shard}}: noise-aware {{wildcards.reward}} of levels {LEVELS}"


use rule score_noise_aware as score_noise_aware_drafts with:
    input:
        images=rules.draft.output,
        checkpoints=expand(rules.finetune.output.checkpoint, level=DRAFTS, allow_missing=True),
    output:
        "results/scores/{split}/{shard}/{reward}.noise_aware.drafts.h5",
    log:
        "results/logs/score/{split}/{shard}/{reward}.noise_aware.drafts.log",
    benchmark:
        "results/benchmarks/score/{split}/{shard}/{reward}.noise_aware.drafts.tsv"
    message:
        "{wildcards.split} {wildcards.shard}: noise-aware {wildcards.reward} of the drafts"
