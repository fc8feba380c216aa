# Noise-aware finetuning: levels from clean to noisy, each from the weights of the one before


def previous_level(wildcards):
    """The checkpoint a level starts from; the cleanest level starts from the base weights."""
    place = CONFIG.levels.index(int(wildcards.level))
    return [f"results/levels/{wildcards.reward}/{CONFIG.levels[place - 1]}.safetensors"] if place else []


def finetune_arguments(wildcards):
    """The command-line options of a reward's finetuning settings."""
    settings = CONFIG.rewards[wildcards.reward].finetune.model_dump()
    lora = settings.pop("lora")
    words = [f"--{key.replace('_', '-')} {value}" for key, value in settings.items()]
    if lora:
        words.append(f"--lora-rank {lora['rank']} --lora-alpha {lora['alpha']}")
    return " ".join(words)


rule finetune:
    input:
        start=previous_level,
        train_images=lambda w: of_shards("results/images/{split}/{shard}.h5", "train"),
        train_labels=lambda w: of_shards(
            "results/labels/{split}/{shard}/" + f"{w.reward}.h5", "train"
        ),
        validation_images=lambda w: of_shards("results/images/{split}/{shard}.h5", "validation"),
        # The base scores' last step is the label; validation shards are scored anyway.
        validation_labels=lambda w: of_shards(
            "results/scores/{split}/{shard}/" + f"{w.reward}.base.h5", "validation"
        ),
    output:
        checkpoint="results/levels/{reward}/{level}.safetensors",
        figures="results/levels/{reward}/{level}.json",
    params:
        start=lambda w, input: with_flag("--start", input.start),
        reward=lambda w: reward_arguments(w.reward),
        settings=finetune_arguments,
        weights=lambda w: reward_weights(w.reward),
        seed=CONFIG.seed,
        # Outside the outputs: Snakemake deletes those of a job that died.
        state="results/state/finetune",
        code=lambda w: code("ttsnap.commands.finetune", reward_code(w.reward)),
    log:
        "results/logs/finetune/{reward}/{level}.log",
    benchmark:
        "results/benchmarks/finetune/{reward}/{level}.tsv"
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    conda:
        "../../envs/diffusion.yaml"
    shell:
        "python -m ttsnap finetune --level {wildcards.level} {params.start} {params.reward}"
        " --train-images {input.train_images} --train-labels {input.train_labels}"
        " --validation-images {input.validation_images}"
        " --validation-labels {input.validation_labels}"
        " {params.settings} --seed {params.seed}"
        " --state {params.state}/{wildcards.reward}.{wildcards.level}.pt"
        " --out {output.checkpoint} --json {output.figures}"
        " --threads {threads} > {log} 2>&1"
