# The second method's comparison over seeds: table, curves, image grids


rule sft_report_curves:
    input:
        training=expand(
            rules.sft_train.output.summary,
            seed=SFT.seeds,
            way=SFT.ways,
            cycle=range(1, SFT.cycles + 1),
        ),
    output:
        sft_page("curves.png", "sft_curves", "loss curves"),
    log:
        "results/logs/sft/report/curves.log",
    conda:
        "../../envs/report.yaml"
    resources:
        **needs(2000, 10, gpu=False),
    params:
        part="curves",
        files=named_inputs,
        out=lambda w, output: output[0],
        code=code("ttsnap.commands.report_sft"),
    message:
        "report: loss curves"
    shell:
        "python -m ttsnap report-sft --part {params.part} {params.files} --out {params.out} > {log} 2>&1"


use rule sft_report_curves as sft_report_images with:
    input:
        images=lambda w: compared(rules.sft_compare.output.images, [w.seed]),
    output:
        sft_page("images.{seed}.png", "sft_images", "images, seed {seed}"),
    log:
        "results/logs/sft/report/images.{seed}.log",
    params:
        part="grid",
    message:
        "report: images of seed {wildcards.seed}"


use rule sft_report_curves as sft_report_table with:
    input:
        comparison=compared(rules.sft_compare.output.figures, SFT.seeds),
    output:
        page=sft_page("comparison.html", "sft_comparison", "comparison over seeds"),
        summary="results/sft/report/summary.json",
    log:
        "results/logs/sft/report/table.log",
    params:
        part="table" + ("" if SFT.model else " --own-models"),
        out=lambda w, output: f"{output.page} --json {output.summary}",
        code=report_code("report_sft"),
    message:
        "report: comparison over seeds"


rule sft:
    input:
        rules.sft_report_table.output.page,
        rules.sft_report_curves.output,
        expand(rules.sft_report_images.output, seed=SFT.seeds),
