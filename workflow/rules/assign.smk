# The E-step: targets → shards → noise of each target, each cycle from the assignment of the one before


rule assign:
    input:
        model=lambda w: model_file(w.seed, "matched", int(w.cycle) - 1),
        start=previous_assignment,
    output:
        # Blocks of finished targets lie beside it, where a job that died leaves them.
        manifest=f"{RUN}/assigned/{{cycle}}/{{shard}}/manifest.jsonl",
    log:
        "results/logs/sft/assign/{seed}.{cycle}.{shard}.log",
    benchmark:
        "results/benchmarks/sft/assign/{seed}.{cycle}.{shard}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(240),
    params:
        targets=lambda w: target_arguments("train", int(w.shard)),
        digest=lambda w: targets_digest("train", int(w.shard)),
        model=lambda w: model_path(w.seed, "matched", int(w.cycle) - 1),
        weights=lambda w: sft_weights(),
        size=size_argument(),
        start=lambda w, input: with_flag("--from", input.start),
        settings=words(SFT.assign.model_dump()),
        out=subpath(output.manifest, parent=True),
        code=code("ttsnap.commands.assign"),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap assign {params.targets} --model {params.model:q} {params.size}"
        " {params.start} {params.settings} --mirror --seed {wildcards.seed} --out {params.out}"
        " --threads {threads} > {log} 2>&1"


rule probe:
    # Noise for the targets of a comparison, from their base noise, for any model alike
    input:
        model=lambda w: model_file(w.seed, w.way, w.cycle),
    output:
        manifest=f"{RUN}/probe/{{way}}.{{cycle}}/{{part}}/manifest.jsonl",
    log:
        "results/logs/sft/probe/{seed}.{way}.{cycle}.{part}.log",
    benchmark:
        "results/benchmarks/sft/probe/{seed}.{way}.{cycle}.{part}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(240),
    params:
        targets=lambda w: target_arguments(w.part),
        digest=lambda w: targets_digest(w.part),
        model=lambda w: model_path(w.seed, w.way, w.cycle),
        weights=lambda w: sft_weights(),
        size=size_argument(),
        settings=words(SFT.assign.model_dump()),
        out=subpath(output.manifest, parent=True),
        code=code("ttsnap.commands.assign"),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap assign {params.targets} --model {params.model:q} {params.size}"
        " {params.settings} --mirror --seed {wildcards.seed} --out {params.out}"
        " --threads {threads} > {log} 2>&1"
