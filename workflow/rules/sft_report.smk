# The second method's comparison over seeds: table, curves, image grids


def compared(files, seeds):
    """The comparison files of every model, for some seeds."""
    return [
        path
        for way, cycle in SFT_PLAN.compared()
        for path in expand(files, seed=seeds, way=way, cycle=cycle)
    ]


def sft_page(name, caption, shows):
    """A result with its place in the report."""
    where = dict(
        caption=f"../report/{caption}.rst",
        category="7 Latent-matched SFT",
        labels={"shows": shows},
    )
    return report(f"results/sft/report/{name}", **where)


rule sft_report_table:
    input:
        comparison=compared(rules.sft_compare.output.figures, SFT.seeds),
    output:
        page=sft_page("comparison.html", "sft_comparison", "comparison over seeds"),
        summary="results/sft/report/summary.json",
    log:
        "results/logs/sft/report/table.log",
    conda:
        "../../envs/report.yaml"
    resources:
        **needs(2000, 10, gpu=False),
    params:
        part="table",
        files=named_inputs,
        more=lambda w, output: f"--json {output.summary}"
        + ("" if SFT.model else " --own-models"),
        models=SFT.model,
        code=report_code("report_sft"),
    message:
        "report: comparison over seeds"
    shell:
        "python -m ttsnap report-sft --part {params.part} {params.files} {params.more} --out {output[0]} > {log} 2>&1"


use rule sft_report_table as sft_report_curves with:
    input:
        training=expand(
            rules.sft_train.output.summary,
            seed=SFT.seeds,
            way=WAYS,
            cycle=range(1, SFT.cycles + 1),
        ),
    output:
        sft_page("curves.png", "sft_curves", "loss curves"),
    log:
        "results/logs/sft/report/curves.log",
    params:
        part="curves",
        files=named_inputs,
        more="",
        code=report_code("report_sft"),
    message:
        "report: loss curves"


use rule sft_report_table as sft_report_images with:
    input:
        images=lambda w: compared(rules.sft_compare.output.images, [w.seed]),
    output:
        sft_page("images.{seed}.png", "sft_images", "images, seed {seed}"),
    log:
        "results/logs/sft/report/images.{seed}.log",
    params:
        part="grid",
        files=named_inputs,
        more="",
        code=report_code("report_sft"),
    message:
        "report: images of seed {wildcards.seed}"


rule sft:
    input:
        rules.sft_report_table.output.page,
        rules.sft_report_curves.output,
        expand(rules.sft_report_images.output, seed=SFT.seeds),
