# The M-step: latent-matched SFT and, with as many updates, direct SFT; before them the GAN where no model is named


rule sft:
    input:
        "results/sft/report/comparison.html",
        "results/sft/report/curves.png",
        expand("results/sft/report/images.{seed}.png", seed=SFT.seeds),


rule sft_gan:
    output:
        weights="results/sft/gan/{seed}/generator.safetensors",
        config="results/sft/gan/{seed}/config.json",
        figures="results/sft/gan/{seed}/figures.json",
    log:
        "results/logs/sft/gan/{seed}.log",
    benchmark:
        "results/benchmarks/sft/gan/{seed}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(240),
    params:
        data=lambda w: f"--data {SFT.data.kind} {folder_argument()}",
        digest=lambda w: labelled_digest("train"),
        settings=words(SFT.gan.model_dump()),
        out=subpath(output.weights, parent=True),
        code=code("ttsnap.commands.train_gan"),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap train-gan {params.data} {params.settings} --seed {wildcards.seed}"
        " --out {params.out} --replace --json {output.figures} --threads {threads} > {log} 2>&1"


rule sft_train:
    input:
        start=lambda w: model_file(w.seed, w.way, int(w.cycle) - 1),
        teacher=lambda w: model_file(w.seed, "base", 0),
        # Direct SFT reads just the targets, which are the same in every cycle.
        manifests=lambda w: expand(
            f"{RUN}/assigned/{{cycle}}/{{shard:04d}}/manifest.jsonl",
            seed=w.seed,
            cycle=w.cycle if w.way == "matched" else 1,
            shard=sft_shards(),
        ),
    output:
        summary=f"{RUN}/{{way}}/{{cycle}}/train_summary.json",
    log:
        "results/logs/sft/train/{seed}.{way}.{cycle}.log",
    benchmark:
        "results/benchmarks/sft/train/{seed}.{way}.{cycle}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(16000),
        runtime=minutes(480),
    params:
        launch=lambda w, resources: launcher(resources),
        model=lambda w: model_path(w.seed, w.way, int(w.cycle) - 1),
        teacher=lambda w: model_path(w.seed, "base", 0),
        weights=lambda w: sft_weights(),
        size=size_argument(),
        noise=lambda w: "assigned" if w.way == "matched" else "random",
        settings=words(SFT.train.model_dump()),
        number=lambda w: 1000 * int(w.seed) + int(w.cycle),
        out=subpath(output.summary, parent=True),
        # Outside the outputs: Snakemake deletes those of a job that died.
        state="results/state/sft",
        code=code("ttsnap.commands.sft"),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} {params.launch} ttsnap sft --manifest {input.manifests} --model {params.model:q}"
        " --teacher {params.teacher:q} {params.size} --noise {params.noise} {params.settings}"
        " --every-epoch --seed {params.number} --out {params.out} --replace"
        " --state {params.state}/{wildcards.seed}.{wildcards.way}.{wildcards.cycle}.pt"
        " --threads {threads} > {log} 2>&1"
