# Noise-aware finetuning: levels from clean to noisy, each from the weights of the one before


rule finetune:
    input:
        start=previous_level,
        train_images=lambda w: of_shards("results/images/{split}/{shard}.h5", "train"),
        train_labels=lambda w: of_shards(
            "results/labels/{split}/{shard}/{reward}.h5", "train", reward=w.reward
        ),
        validation_images=lambda w: of_shards(
            "results/images/{split}/{shard}.h5", "validation"
        ),
        # The base scores' last step is the label; validation shards are scored anyway.
        validation_labels=lambda w: of_shards(
            "results/scores/{split}/{shard}/{reward}.base.h5",
            "validation",
            reward=w.reward,
        ),
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
        gpu=GPU,
        mem_mb=memory(8000 + pictures_mb(LEVEL_IMAGES)),
        runtime=minutes(240),
    params:
        launch=lambda w, resources: launcher(resources),
        start=lambda w, input: with_flag("--start", input.start),
        reward=lambda w: reward_arguments(w.reward),
        settings=finetune_arguments,
        weights=lambda w: reward_weights(w.reward),
        seed=CONFIG.seed,
        # Outside the outputs: Snakemake deletes those of a job that died.
        state="results/state/finetune",
        code=lambda w: code("ttsnap.commands.finetune", reward_code(w.reward)),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} {params.launch} ttsnap finetune --level {wildcards.level} {params.start} {params.reward}"
        " --train-images {input.train_images} --train-labels {input.train_labels}"
        " --validation-images {input.validation_images}"
        " --validation-labels {input.validation_labels}"
        " {params.settings} --seed {params.seed}"
        " --state {params.state}/{wildcards.reward}.{wildcards.level}.pt"
        " --out {output.checkpoint} --json {output.figures}"
        " --threads {threads} > {log} 2>&1"
