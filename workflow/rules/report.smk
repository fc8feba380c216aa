# alignment, simulations, levels, images, searches → figures, tables, gallery, first page
from ttsnap.workflow.report import ReportFacts

# For the report's first page alone (workflow/report/workflow.rst), which sees nothing else of the workflow.
config["of_report"] = ReportFacts(CONFIG, workflow)


rule report_levels:
    input:
        alignment=expand(rules.align.output, split="test", allow_missing=True),
        level=expand(rules.finetune.output.figures, level=CONFIG.levels, allow_missing=True),
    output:
        page(
            "levels.{reward}.html",
            "levels",
            "3 Noise-aware rewards",
            reward="{reward}",
            shows="table of levels",
        ),
    log:
        "results/logs/report/levels.{reward}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        **needs(2000, 10, gpu=False),
    params:
        part="levels",
        files=named_inputs,
        out=lambda w, output: output[0],
        code=report_code(),
    message:
        "report: the levels of {wildcards.reward}"
    shell:
        "python -m ttsnap report --part {params.part} {params.files} --out {params.out} > {log} 2>&1"


use rule report_levels as report_budget with:
    input:
        simulation=rules.simulate.output.json,
    output:
        page(
            "budget.{pruned_by}.png",
            "budget",
            "2 Reward and budget",
            **{"pruned by": "{pruned_by}", "shows": "reward against budget"},
        ),
    log:
        "results/logs/report/budget.{pruned_by}.log",
    params:
        part="budget",
        draws=CONFIG.simulate.draws,
    message:
        "report: reward against budget, pruned by {wildcards.pruned_by}"


use rule report_levels as report_gain with:
    input:
        simulation=rules.simulate.output.json,
        # None for all rewards together, and none where the config has a schedule of its own.
        schedule=lambda w: (
            expand(
                rules.fit_schedule.output,
                reward=w.pruned_by,
                method=PLAN.fitted_methods(),
            )
            if PLAN.fits and w.pruned_by != "all"
            else []
        ),
    output:
        page(
            "gain.{pruned_by}.html",
            "gain",
            "2 Reward and budget",
            **{"pruned by": "{pruned_by}", "shows": "gain and schedules"},
        ),
    log:
        "results/logs/report/gain.{pruned_by}.log",
    params:
        part="gain",
        schedules=lambda w, input: input.schedule,
    message:
        "report: gains and schedules, pruned by {wildcards.pruned_by}"


use rule report_levels as report_cost with:
    input:
        simulation=rules.simulate.output.json,
        tensor=lambda w: tensors_of(FIGURES, PLAN.tensors_of(w)),
    output:
        page(
            "cost.{pruned_by}.html",
            "cost",
            "4 Cost",
            **{"pruned by": "{pruned_by}", "shows": "compute"},
        ),
    log:
        "results/logs/report/cost.{pruned_by}.log",
    params:
        part="cost",
        accounting=CONFIG.simulate.accounting,
    message:
        "report: where the compute goes, pruned by {wildcards.pruned_by}"


use rule report_levels as report_tau with:
    input:
        alignment=expand(rules.align.output, split=FIGURES, allow_missing=True),
        simulation=expand(rules.simulate.output.json, pruned_by="{reward}"),
    output:
        page(
            "tau.{reward}.png",
            "tau",
            "3 Noise-aware rewards",
            reward="{reward}",
            shows="Kendall τ of each step",
        ),
    log:
        "results/logs/report/tau.{reward}.log",
    params:
        part="tau",
        levels=STEPS,
    message:
        "report: Kendall's τ of each step, {wildcards.reward}"


use rule report_levels as report_looks with:
    input:
        alignment=expand(rules.align.output, split=FIGURES, allow_missing=True),
        simulation=expand(rules.simulate.output.json, pruned_by="{reward}"),
    output:
        page(
            "looks.{reward}.html",
            "looks",
            "3 Noise-aware rewards",
            reward="{reward}",
            shows="what a look costs and is worth",
        ),
    log:
        "results/logs/report/looks.{reward}.log",
    params:
        part="looks",
    message:
        "report: what a look costs and is worth, {wildcards.reward}"


use rule report_levels as report_gallery with:
    input:
        tensor=expand(rules.tensor.output, split="test", allow_missing=True),
        simulation=expand(
            (rules.simulate_own if PLAN.reference else rules.simulate).output.json,
            pruned_by="{reward}",
        ),
        images=expand(
            [
                rule.output[0]
                for rule in ([rules.generate, rules.draft] if CONFIG.drafts else [rules.generate])
            ],
            split="test",
            shard=PLAN.gallery_shards(),
        ),
    output:
        page(
            "gallery.{reward}.html",
            "gallery",
            "5 Gallery",
            reward="{reward}",
            shows="who was dropped where",
        ),
    log:
        "results/logs/report/gallery.{reward}.log",
    resources:
        **needs(2000, 20, gpu=False),
    params:
        part=f"gallery --prompts {CONFIG.report.gallery} --candidates {CONFIG.report.gallery_candidates}",
        prompts=CONFIG.report.gallery,
        candidates=CONFIG.report.gallery_candidates,
    message:
        "report: who was dropped where, {wildcards.reward}"


use rule report_levels as report_search with:
    input:
        comparison=rules.compare_search.output,
    output:
        page(
            "search.{reward}.html",
            "search",
            "6 Real search",
            reward="{reward}",
            shows="measured and predicted",
        ),
    log:
        "results/logs/report/search.{reward}.log",
    params:
        part="search",
    message:
        "report: real searches, {wildcards.reward}"


use rule report_levels as report_summary with:
    input:
        tensor=tensors_of(FIGURES, CONFIG.rewards),
        own=tensors_of("test", CONFIG.rewards) if PLAN.reference else [],
        simulation=expand(rules.simulate.output.json, pruned_by=PLAN.pruned_by),
        alignment=expand(rules.align.output, split=FIGURES, reward=CONFIG.rewards),
        figure=expand(rules.report_budget.output, pruned_by=PLAN.pruned_by[0]),
    output:
        page(
            "overview.html",
            "overview",
            "1 Overview",
            shows="what was run and what came out",
        ),
        summary="results/report/summary.json",
        headline="results/report/headline.txt",
    log:
        "results/logs/report/summary.log",
    params:
        part="summary",
        out=lambda w, output: os.path.dirname(output.summary),
    message:
        "report: the first page"
