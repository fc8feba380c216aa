# fitted schedules, level checkpoints → real searches of the test prompts → what they came to, beside what was foretold


wildcard_constraints:
    search_method="best_of_n|ttsp|ttsnap",
    budget="|".join(re.escape(f"{budget:g}") for budget in CONFIG.search.budgets),


rule search:
    input:
        prompts="results/shards/test/{shard}.jsonl",
        schedule=search_schedule,
        levels=search_levels,
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
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=minutes(240),
    params:
        folder=subpath(output.summary, parent=True),
        model=lambda w: model_arguments(steps="model-steps"),
        weights=lambda w: [WEIGHTS, reward_weights(w.reward)],
        reward=lambda w: reward_arguments(w.reward),
        levels=lambda w, input: " ".join(f"--checkpoint {p}" for p in input.levels),
        schedule=search_arguments,
        own=lambda w: (
            own_schedule() if not FITTED and w.search_method != "best_of_n" else ""
        ),
        unit=CONFIG.search.unit,
        first=CONFIG.prompts.test.candidates if CONFIG.search.fresh else 0,
        limit=search_limit,
        checker=f"--checker {CONFIG.checker}" if CONFIG.checker else "",
        seed=CONFIG.seed,
        code=search_code,
    shell:
        "python -m ttsnap.workflow.devices {resources.gpu} python -m ttsnap search {input.prompts} --out {params.folder} {params.model}"
        " {params.reward} {params.levels} --method {wildcards.search_method} {params.schedule}"
        " --budget {wildcards.budget} --budget-unit {params.unit}"
        " --first-candidate {params.first} --limit {params.limit} {params.checker}"
        " --seed {params.seed} --replace --threads {threads} > {log} 2>&1"


rule compare_search:
    input:
        searches=searches_of,
        seconds=lambda w: [
            p.replace("summary.json", "seconds.json") for p in searches_of(w)
        ],
        tensor="results/tensors/test.{reward}.h5",
    output:
        "results/searches/{reward}.json",
    log:
        "results/logs/compare_search/{reward}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(20),
    params:
        folders=lambda w, input: [p.rsplit("/", 1)[0] for p in input.searches],
        draws=CONFIG.simulate.draws,
        seed=CONFIG.seed,
        code=code("ttsnap.commands.compare_search"),
    shell:
        "python -m ttsnap compare-search {params.folders} --tensor {input.tensor}"
        " --draws {params.draws} --seed {params.seed} --json {output} > {log} 2>&1"


rule report_search:
    input:
        "results/searches/{reward}.json",
    output:
        report(
            "results/report/search.{reward}.html",
            caption="../report/search.rst",
            category="6 Real search",
            labels={"reward": "{reward}", "shows": "realised and foretold"},
        ),
    log:
        "results/logs/report/search.{reward}.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        code=report_code(),
    shell:
        "python -m ttsnap report --part search --comparison {input} --out {output} > {log} 2>&1"
