# alignment, simulations, levels, images → figures, tables, gallery, first page


wildcard_constraints:
    pruned_by="|".join(SEARCHES),


rule report_budget:
    input:
        "results/simulations/{pruned_by}.json",
    output:
        report(
            "results/report/budget.{pruned_by}.png",
            caption="../report/budget.rst",
            category="2 Reward and budget",
            labels={"pruned by": "{pruned_by}", "shows": "reward against budget"},
        ),
    log:
        "results/logs/report/budget.{pruned_by}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        draws=CONFIG.simulate.draws,
        code=report_code(),
    shell:
        "python -m ttsnap report --part budget --simulation {input} --out {output} > {log} 2>&1"


rule report_gain:
    input:
        simulation="results/simulations/{pruned_by}.json",
        schedules=fitted_schedules,
    output:
        report(
            "results/report/gain.{pruned_by}.html",
            caption="../report/gain.rst",
            category="2 Reward and budget",
            labels={"pruned by": "{pruned_by}", "shows": "gain and schedules"},
        ),
    log:
        "results/logs/report/gain.{pruned_by}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        schedules=lambda w, input: with_flag("--schedule", input.schedules),
        code=report_code(),
    shell:
        "python -m ttsnap report --part gain --simulation {input.simulation} {params.schedules}"
        " --out {output} > {log} 2>&1"


rule report_cost:
    input:
        simulation="results/simulations/{pruned_by}.json",
        tensors=tensors_of,
    output:
        report(
            "results/report/cost.{pruned_by}.html",
            caption="../report/cost.rst",
            category="4 Cost",
            labels={"pruned by": "{pruned_by}", "shows": "compute"},
        ),
    log:
        "results/logs/report/cost.{pruned_by}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        accounting=CONFIG.simulate.accounting,
        code=report_code(),
    shell:
        "python -m ttsnap report --part cost --simulation {input.simulation}"
        " --tensor {input.tensors} --out {output} > {log} 2>&1"


rule report_tau:
    input:
        alignment="results/alignment/test.{reward}.json",
        simulation="results/simulations/{reward}.json",
    output:
        report(
            "results/report/tau.{reward}.png",
            caption="../report/tau.rst",
            category="3 Noise-aware rewards",
            labels={"reward": "{reward}", "shows": "Kendall τ of each step"},
        ),
    log:
        "results/logs/report/tau.{reward}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        levels=CONFIG.levels,
        code=report_code(),
    shell:
        "python -m ttsnap report --part tau --alignment {input.alignment}"
        " --simulation {input.simulation} --out {output} > {log} 2>&1"


rule report_levels:
    input:
        alignment="results/alignment/test.{reward}.json",
        levels=expand("results/levels/{{reward}}/{level}.json", level=CONFIG.levels),
    output:
        report(
            "results/report/levels.{reward}.html",
            caption="../report/levels.rst",
            category="3 Noise-aware rewards",
            labels={"reward": "{reward}", "shows": "table of levels"},
        ),
    log:
        "results/logs/report/levels.{reward}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        levels=lambda w, input: with_flag("--level", input.levels),
        code=report_code(),
    shell:
        "python -m ttsnap report --part levels --alignment {input.alignment} {params.levels}"
        " --out {output} > {log} 2>&1"


rule report_gallery:
    input:
        tensor="results/tensors/test.{reward}.h5",
        simulation="results/simulations/{reward}.json",
        images=gallery_images,
    output:
        report(
            "results/report/gallery.{reward}.html",
            caption="../report/gallery.rst",
            category="5 Gallery",
            labels={"reward": "{reward}", "shows": "who was dropped where"},
        ),
    log:
        "results/logs/report/gallery.{reward}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        prompts=CONFIG.report.gallery,
        candidates=CONFIG.report.gallery_candidates,
        code=report_code(),
    shell:
        "python -m ttsnap report --part gallery --tensor {input.tensor}"
        " --simulation {input.simulation} --images {input.images} --prompts {params.prompts}"
        " --candidates {params.candidates} --out {output} > {log} 2>&1"


rule report_summary:
    input:
        tensors=expand("results/tensors/test.{reward}.h5", reward=CONFIG.rewards),
        simulations=expand("results/simulations/{pruned_by}.json", pruned_by=SEARCHES),
        alignments=expand("results/alignment/test.{reward}.json", reward=CONFIG.rewards),
        figure=f"results/report/budget.{SEARCHES[0]}.png",
    output:
        report(
            "results/report/overview.html",
            caption="../report/overview.rst",
            category="1 Overview",
            labels={"shows": "what was run and what came out"},
        ),
        summary="results/report/summary.json",
        headline="results/report/headline.txt",
    log:
        "results/logs/report/summary.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        folder=subpath(output.summary, parent=True),
        code=report_code(),
    shell:
        "python -m ttsnap report --part summary --tensor {input.tensors}"
        " --simulation {input.simulations} --alignment {input.alignments}"
        " --figure {input.figure} --out {params.folder} > {log} 2>&1"
