# Tweedie images → rewards of every step → one reward tensor per split and reward


rule label:
    input:
        "results/images/{split}/{shard}.h5",
    output:
        "results/labels/{split}/{shard}/{reward}.h5",
    log:
        "results/logs/label/{split}/{shard}/{reward}.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        reward=lambda w: reward_arguments(w.reward),
        weights=lambda w: reward_weights(w.reward),
        code=lambda w: code("ttsnap.commands.label", reward_code(w.reward)),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap label {input} --out {output} {params.reward}"
        " --threads {threads} > {log} 2>&1"


rule score_base:
    input:
        "results/images/{split}/{shard}.h5",
    output:
        "results/scores/{split}/{shard}/{reward}.base.h5",
    log:
        "results/logs/score/{split}/{shard}/{reward}.base.log",
    benchmark:
        "results/benchmarks/score/{split}/{shard}/{reward}.base.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(120),
    params:
        reward=lambda w: reward_arguments(w.reward),
        weights=lambda w: reward_weights(w.reward),
        code=lambda w: code("ttsnap.commands.score", reward_code(w.reward)),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap score {input} --out {output} {params.reward}"
        " --threads {threads} > {log} 2>&1"


rule score_noise_aware:
    input:
        images="results/images/{split}/{shard}.h5",
        checkpoints=expand(
            "results/levels/{{reward}}/{level}.safetensors", level=CONFIG.levels
        ),
    output:
        "results/scores/{split}/{shard}/{reward}.noise_aware.h5",
    log:
        "results/logs/score/{split}/{shard}/{reward}.noise_aware.log",
    benchmark:
        "results/benchmarks/score/{split}/{shard}/{reward}.noise_aware.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(120),
    params:
        reward=lambda w: reward_arguments(w.reward),
        checkpoints=lambda w, input: " ".join(
            f"--checkpoint {p}" for p in input.checkpoints
        ),
        weights=lambda w: reward_weights(w.reward),
        code=lambda w: code("ttsnap.commands.score", reward_code(w.reward)),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap score {input.images} --out {output} {params.reward}"
        " {params.checkpoints} --threads {threads} > {log} 2>&1"


rule check:
    input:
        "results/images/{split}/{shard}.h5",
    output:
        "results/checks/{split}/{shard}.h5",
    log:
        "results/logs/check/{split}/{shard}.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        checker=CONFIG.checker,
        code=(
            code("ttsnap.commands.check", CHECKERS[CONFIG.checker])
            if CONFIG.checker
            else ""
        ),
    shell:
        "python -m ttsnap check {input} --checker {params.checker} --out {output} > {log} 2>&1"


rule tensor:
    input:
        base=lambda w: of_shards(
            "results/scores/{split}/{shard}/{reward}.base.h5", w.split, reward=w.reward
        ),
        noise_aware=lambda w: (
            of_shards(
                "results/scores/{split}/{shard}/{reward}.noise_aware.h5",
                w.split,
                reward=w.reward,
            )
            if CONFIG.levels
            else []
        ),
        accepted=lambda w: (
            of_shards("results/checks/{split}/{shard}.h5", w.split)
            if CONFIG.checker
            else []
        ),
    output:
        "results/tensors/{split}.{reward}.h5",
    log:
        "results/logs/tensor/{split}.{reward}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        noise_aware=lambda w, input: with_flag("--noise-aware", input.noise_aware),
        accepted=lambda w, input: with_flag("--accepted", input.accepted),
        code=code("ttsnap.commands.tensor"),
    shell:
        "python -m ttsnap tensor --base {input.base} {params.noise_aware} {params.accepted}"
        " --out {output} > {log} 2>&1"
