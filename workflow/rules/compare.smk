# Base, direct and latent-matched SFT after each cycle, over seeds: figures of each, table, curves, image grids


rule sft_classifier:
    output:
        weights="results/sft/classifier.safetensors",
        figures="results/sft/classifier.json",
    log:
        "results/logs/sft/classifier.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        data=lambda w: f"--data {SFT.data.kind} {folder_argument()}",
        digest=lambda w: labelled_digest("train", "test"),
        code=code("ttsnap.commands.train_classifier"),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap train-classifier {params.data} --out {output.weights}"
        " --json {output.figures} --threads {threads} > {log} 2>&1"


rule sft_compare:
    input:
        model=lambda w: model_file(w.seed, w.way, w.cycle),
        base=lambda w: model_file(w.seed, "base", 0),
        train=f"{RUN}/probe/{{way}}.{{cycle}}/train/manifest.jsonl",
        test=f"{RUN}/probe/{{way}}.{{cycle}}/test/manifest.jsonl",
        judge=judge,
    output:
        figures=f"{RUN}/compare/{{way}}.{{cycle}}.json",
        images=f"{RUN}/compare/{{way}}.{{cycle}}.safetensors",
    log:
        "results/logs/sft/compare/{seed}.{way}.{cycle}.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        model=lambda w: model_path(w.seed, w.way, w.cycle),
        base=lambda w: model_path(w.seed, "base", 0),
        weights=lambda w: sft_weights(),
        size=size_argument(),
        judge=lambda w, input: (
            f"--features {shlex.quote(SFT.features)}"
            if SFT.features
            else f"--classifier {input.judge}"
        ),
        checker=f"--checker {SFT.checker}" if SFT.checker else "",
        data=lambda w: (
            ""
            if SFT.data.kind == "pairs"
            else f"--data {SFT.data.kind} {folder_argument()}"
        ),
        digest=lambda w: labelled_digest("train"),
        fresh=SFT.fresh,
        code=code("ttsnap.commands.compare_sft"),
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap compare-sft --model {params.model:q} --base {params.base:q} {params.size}"
        " --train-manifest {input.train} --test-manifest {input.test} {params.judge}"
        " {params.checker} {params.data} --fresh {params.fresh} --way {wildcards.way}"
        " --cycle {wildcards.cycle} --seed {wildcards.seed} --json {output.figures}"
        " --images {output.images} --threads {threads} > {log} 2>&1"


rule sft_report_table:
    input:
        lambda w: compared("json", SFT.seeds),
    output:
        page=report(
            "results/sft/report/comparison.html",
            caption="../report/sft_comparison.rst",
            category="7 Latent-matched SFT",
            labels={"shows": "comparison over seeds"},
        ),
        summary="results/sft/report/summary.json",
    log:
        "results/logs/sft/report/table.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        own="" if SFT.model else "--own-models",
        code=report_code() + code("ttsnap.commands.report_sft"),
    shell:
        "python -m ttsnap report-sft --part table --comparison {input} {params.own}"
        " --out {output.page} --json {output.summary} > {log} 2>&1"


rule sft_report_curves:
    input:
        expand(
            f"{RUN}/{{way}}/{{cycle}}/train_summary.json",
            seed=SFT.seeds,
            way=WAYS,
            cycle=range(1, SFT.cycles + 1),
        ),
    output:
        report(
            "results/sft/report/curves.png",
            caption="../report/sft_curves.rst",
            category="7 Latent-matched SFT",
            labels={"shows": "loss curves"},
        ),
    log:
        "results/logs/sft/report/curves.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        code=code("ttsnap.commands.report_sft"),
    shell:
        "python -m ttsnap report-sft --part curves --training {input} --out {output} > {log} 2>&1"


rule sft_report_images:
    input:
        lambda w: compared("safetensors", [w.seed]),
    output:
        report(
            "results/sft/report/images.{seed}.png",
            caption="../report/sft_images.rst",
            category="7 Latent-matched SFT",
            labels={"shows": "images, seed {seed}"},
        ),
    log:
        "results/logs/sft/report/images.{seed}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        code=code("ttsnap.commands.report_sft"),
    shell:
        "python -m ttsnap report-sft --part grid --images {input} --out {output} > {log} 2>&1"
