# `snakemake train_shapes`: the embedded models of the shapes world, trained again into results/shapes.
# Not part of `all`; copy the folders to ttsnap/models/ to ship them.


rule train_shapes:
    input:
        expand(
            "results/shapes/{part}.json",
            part=["vae", "teacher", "generator", "reward", "onestep", "look_decoder"],
        ),


rule train_shapes_part:
    input:
        lambda w: {
            "vae": [],
            "teacher": ["results/shapes/vae.json"],
            "generator": ["results/shapes/teacher.json"],
            "reward": ["results/shapes/generator.json"],
            "onestep": ["results/shapes/reward.json"],
            "look_decoder": ["results/shapes/reward.json"],
        }[w.part],
    output:
        "results/shapes/{part}.json",
    log:
        "results/logs/train_shapes/{part}.log",
    wildcard_constraints:
        part="vae|teacher|generator|reward|onestep|look_decoder",
    conda:
        "../../envs/diffusion.yaml"
    threads: workflow.cores
    resources:
        **needs(16000, 180),
    params:
        out=subpath(output[0], parent=True),
        code=code("recipe.train_shapes"),
    message:
        "the embedded models again: {wildcards.part}"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m recipe train-shapes {wildcards.part} --out {params.out}"
        " --threads {threads} > {log} 2>&1"
