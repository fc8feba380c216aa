# The second method: targets → noise of each target (E-step) → finetuned generator (M-step), each cycle from the one
# before; beside it the same finetuning on random noise. The GAN is trained first where no model is named.
from typing import get_args

from ttsnap.settings.sft import Way
from ttsnap.workflow.sft_plan import RUN, SftPlan, as_options

SFT = CONFIG.sft
SFT_PLAN = SftPlan(SFT, lambda message: refusal(message, PARTS))


wildcard_constraints:
    seed=r"\d+",
    cycle=r"\d+",
    way="|".join(get_args(Way)),
    part="train|test",


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
        **needs(8000, 240),
    params:
        data=SFT_PLAN.data,
        digest=lambda w: SFT_PLAN.data_digest("train"),
        settings=as_options(SFT.gan),
        out=subpath(output.weights, parent=True),
        code=code("ttsnap.commands.train_gan"),
    message:
        "seed {wildcards.seed}: the GAN"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap train-gan {params.data} {params.settings} --seed {wildcards.seed} --out"
        " {params.out} --replace"
        " --json {output.figures} --threads {threads} > {log} 2>&1"


rule assign:
    input:
        model=lambda w: SFT_PLAN.model_file(w.seed, "assigned", int(w.cycle) - 1),
        # The first cycle starts from the targets' base noise.
        start=lambda w: (
            expand(rules.assign.output, seed=w.seed, cycle=int(w.cycle) - 1, shard=w.shard)
            if int(w.cycle) > 1
            else []
        ),
    output:
        # Blocks of finished targets lie beside it, where a job that died leaves them.
        f"{RUN}/noise/{{cycle}}/{{shard}}/manifest.jsonl",
    log:
        "results/logs/sft/assign/{seed}.{cycle}.{shard}.log",
    benchmark:
        "results/benchmarks/sft/assign/{seed}.{cycle}.{shard}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000, 240),
    params:
        targets=lambda w: SFT_PLAN.targets("train", int(w.shard)),
        digest=lambda w: SFT_PLAN.digest("train", int(w.shard)),
        model=lambda w: SFT_PLAN.model(w.seed, "assigned", int(w.cycle) - 1),
        weights=SFT_PLAN.weights,
        size=SFT_PLAN.size(),
        start=lambda w, input: f"--from {input.start}" if input.get("start") else "",
        settings=as_options(SFT.assign),
        out=subpath(output[0], parent=True),
        code=code("ttsnap.commands.assign"),
    message:
        "seed {wildcards.seed}, cycle {wildcards.cycle}: noise for shard {wildcards.shard} of the targets"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap assign {params.targets} --model {params.model:q} {params.size} {params.start}"
        " {params.settings}"
        " --mirror --seed {wildcards.seed} --out {params.out} --threads {threads} > {log} 2>&1"


use rule assign as probe with:
    input:
        model=lambda w: SFT_PLAN.model_file(w.seed, w.way, w.cycle),
    output:
        f"{RUN}/probe/{{way}}.{{cycle}}/{{part}}/manifest.jsonl",
    log:
        "results/logs/sft/probe/{seed}.{way}.{cycle}.{part}.log",
    benchmark:
        "results/benchmarks/sft/probe/{seed}.{way}.{cycle}.{part}.tsv"
    params:
        targets=lambda w: SFT_PLAN.targets(w.part),
        digest=lambda w: SFT_PLAN.digest(w.part),
        model=lambda w: SFT_PLAN.model(w.seed, w.way, w.cycle),
        start="",
    # Noise for the targets of a comparison, from their base noise, for any model alike
    message:
        "seed {wildcards.seed}, {wildcards.way} after cycle {wildcards.cycle}: noise for {wildcards.part}"
        " targets"


rule sft_train:
    input:
        start=lambda w: SFT_PLAN.model_file(w.seed, w.way, int(w.cycle) - 1),
        teacher=lambda w: SFT_PLAN.model_file(w.seed, "base", 0),
        # Else it reads just the targets and what they were made from, the same in every cycle.
        manifests=lambda w: expand(
            rules.assign.output,
            seed=w.seed,
            cycle=w.cycle if w.way == "assigned" else 1,
            shard=SFT_PLAN.shards(),
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
        **needs(16000, 480),
    params:
        launch=launcher,
        model=lambda w: SFT_PLAN.model(w.seed, w.way, int(w.cycle) - 1),
        teacher=lambda w: SFT_PLAN.model(w.seed, "base", 0),
        weights=SFT_PLAN.weights,
        size=SFT_PLAN.size(),
        settings=as_options(SFT.train),
        number=lambda w: 1000 * int(w.seed) + int(w.cycle),
        out=subpath(output.summary, parent=True),
        # Outside the outputs: Snakemake deletes those of a job that died.
        state=STATES["sft_train"],
        code=code("ttsnap.commands.sft"),
    message:
        "seed {wildcards.seed}, cycle {wildcards.cycle}: finetuning on {wildcards.way} noise"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " {params.launch} ttsnap sft --manifest {input.manifests}"
        " --model {params.model:q} --teacher {params.teacher:q} {params.size} --noise {wildcards.way}"
        " {params.settings}"
        " --every-epoch --seed {params.number} --out {params.out} --replace --state {params.state}"
        " --threads {threads} > {log} 2>&1"


rule sft_classifier:
    output:
        weights="results/sft/classifier.safetensors",
        figures="results/sft/classifier.json",
    log:
        "results/logs/sft/classifier.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000, 60),
    params:
        data=SFT_PLAN.data,
        digest=lambda w: SFT_PLAN.data_digest("train", "test"),
        code=code("ttsnap.commands.train_classifier"),
    message:
        "the judge of generated images: a classifier"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap train-classifier {params.data} --out {output.weights} --json {output.figures}"
        " --threads {threads} > {log} 2>&1"


rule sft_compare:
    input:
        model=lambda w: SFT_PLAN.model_file(w.seed, w.way, w.cycle),
        base=lambda w: SFT_PLAN.model_file(w.seed, "base", 0),
        train=expand(rules.probe.output, part="train", allow_missing=True),
        test=expand(rules.probe.output, part="test", allow_missing=True),
        judge=[] if SFT.features else rules.sft_classifier.output.weights,
    output:
        figures=f"{RUN}/compare/{{way}}.{{cycle}}.json",
        images=f"{RUN}/compare/{{way}}.{{cycle}}.safetensors",
    log:
        "results/logs/sft/compare/{seed}.{way}.{cycle}.log",
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000, 60),
    params:
        model=lambda w: SFT_PLAN.model(w.seed, w.way, w.cycle),
        base=lambda w: SFT_PLAN.model(w.seed, "base", 0),
        weights=SFT_PLAN.weights,
        size=SFT_PLAN.size(),
        judge=lambda w, input: SFT_PLAN.judge(input.judge),
        checker=f"--checker {SFT.checker}" if SFT.checker else "",
        data=SFT_PLAN.data,
        digest=lambda w: SFT_PLAN.data_digest("train"),
        fresh=SFT.fresh,
        code=SFT_PLAN.compare_code(),
    message:
        "seed {wildcards.seed}, {wildcards.way} after cycle {wildcards.cycle}: compared with the original"
        " model"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap compare-sft --model {params.model:q} --base {params.base:q} {params.size}"
        " {params.judge}"
        " --train-manifest {input.train} --test-manifest {input.test} {params.checker} {params.data}"
        " --fresh {params.fresh} --way {wildcards.way} --cycle {wildcards.cycle} --seed {wildcards.seed}"
        " --json {output.figures} --images {output.images} --threads {threads} > {log} 2>&1"
