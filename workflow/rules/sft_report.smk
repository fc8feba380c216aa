# The second method's comparison over seeds: table, curves, image grids


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
        part="table" + ("" if SFT.model else " --own-models"),
        files=named_inputs,
        out=lambda w, output: output[0],
        json=lambda w, output: f"--json {output.summary}",
        code=report_code("report_sft"),
    message:
        "report: comparison over seeds"
    shell:
        "python -m ttsnap report-sft --part {params.part} {params.files} {params.json} --out {params.out} >"
        " {log} 2>&1"


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
        json="",
        files=named_inputs,
        out=lambda w, output: output[0],
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
        json="",
        files=named_inputs,
        out=lambda w, output: output[0],
        code=report_code("report_sft"),
    message:
        "report: images of seed {wildcards.seed}"


rule sft:
    input:
        rules.sft_report_table.output.page,
        rules.sft_report_curves.output,
        expand(rules.sft_report_images.output, seed=SFT.seeds),
