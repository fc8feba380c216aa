# fitted schedules, level checkpoints → real searches of the test prompts → what they came to, beside the prediction


wildcard_constraints:
    budget="|".join(re.escape(budget) for budget in PLAN.searches()["budget"]),


rule search:
    input:
        prompts=expand(rules.shard.output, split="test", allow_missing=True),
        schedule=schedule_of_search,
        # The search opens those that its schedule looks at.
        levels=lambda w: (
            expand(rules.finetune.output.checkpoint, reward=w.reward, level=CONFIG.levels)
            if w.search_method == "ttsnap"
            else []
        ),
    output:
        # Beside these, in the same folder: pictures, strips, traces. They outlive a job that dies.
        summary="results/searches/{reward}/{search_method}/{budget}/{shard}/summary.json",
        seconds="results/searches/{reward}/{search_method}/{budget}/{shard}/seconds.json",
    log:
        "results/logs/search/{reward}/{search_method}/{budget}/{shard}.log",
    benchmark:
        "results/benchmarks/search/{reward}/{search_method}/{budget}/{shard}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        **needs(8000, 240),
    params:
        folder=subpath(output.summary, parent=True),
        model=PLAN.model,
        weights=lambda w: [PLAN.weights, PLAN.reward_made_from(w)],
        reward=PLAN.reward,
        levels=lambda w, input: [f"--checkpoint {path}" for path in input.levels],
        fitted=lambda w, input: f"--schedule {input.schedule}" if input.schedule else "",
        fixed=lambda w: ("" if w.search_method == "best_of_n" else PLAN.fixed_schedule()),
        unit=CONFIG.search.unit,
        first=CONFIG.prompts.test.candidates if CONFIG.search.fresh else 0,
        limit=PLAN.search_limit,
        drafts=lambda w: "" if w.search_method == "best_of_n" else PLAN.draft_words(CONFIG.drafts),
        draft_weights=lambda w: ([] if w.search_method == "best_of_n" else PLAN.draft_weights),
        checker=f"--checker {CONFIG.checker}" if CONFIG.checker else "",
        seed=CONFIG.seed,
        code=PLAN.search_code,
    message:
        "{wildcards.reward}, {wildcards.search_method}, budget {wildcards.budget}: search of shard"
        " {wildcards.shard}"
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu}"
        " python -m ttsnap search {input.prompts} --out {params.folder} {params.model} {params.reward}"
        " {params.levels} {params.drafts}"
        " --method {wildcards.search_method} {params.fitted} {params.fixed}"
        " --budget {wildcards.budget} --budget-unit {params.unit} --first-candidate {params.first}"
        " --limit {params.limit} {params.checker} --seed {params.seed} --replace --threads {threads} >"
        " {log} 2>&1"


rule compare_search:
    input:
        searches=expand(rules.search.output.summary, **PLAN.searches(), allow_missing=True),
        seconds=expand(rules.search.output.seconds, **PLAN.searches(), allow_missing=True),
        tensor=expand(rules.tensor.output, split="test", allow_missing=True),
    output:
        "results/searches/{reward}.json",
    log:
        "results/logs/compare_search/{reward}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        **needs(4000, 20, gpu=False),
    params:
        folders=lambda w, input: [os.path.dirname(path) for path in input.searches],
        draws=CONFIG.simulate.draws,
        seed=CONFIG.seed,
        code=code("ttsnap.commands.compare_search"),
    message:
        "{wildcards.reward}: real searches beside their prediction"
    shell:
        "python -m ttsnap compare-search {params.folders} --tensor {input.tensor}"
        " --draws {params.draws} --seed {params.seed} --json {output} > {log} 2>&1"
