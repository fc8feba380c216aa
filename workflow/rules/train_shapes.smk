# `snakemake train_shapes`: the embedded models of the shapes world, trained again into results/shapes.
# Not part of `all`; copy the three folders to ttsnap/models/ to ship them.

SHAPES = "results/shapes"


rule train_shapes:
    input:
        expand("results/shapes/{part}.json", part=["vae", "generator", "reward"]),


rule train_shapes_part:
    input:
        lambda w: {
            "vae": [],
            "generator": [f"{SHAPES}/vae.json"],
            "reward": [f"{SHAPES}/generator.json"],
        }[w.part],
    output:
        "results/shapes/{part}.json",
    params:
        out=SHAPES,
        code=code("ttsnap.commands.train_shapes"),
    wildcard_constraints:
        part="vae|generator|reward",
    log:
        "results/logs/train_shapes/{part}.log",
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=180,
    conda:
        "../../envs/diffusion.yaml"
    shell:
        "python -m ttsnap train-shapes {wildcards.part} --out {params.out}"
        " --threads {threads} > {log} 2>&1"
