# reward tensors → alignment, fitted schedules, simulation


rule align:
    input:
        "results/tensors/{split}.{reward}.h5",
    output:
        "results/alignment/{split}.{reward}.json",
    log:
        "results/logs/align/{split}.{reward}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        seed=CONFIG.seed,
        code=code("ttsnap.commands.align"),
    shell:
        "python -m ttsnap align {input} --seed {params.seed} --json {output} > {log} 2>&1"


rule fit_schedule:
    input:
        tensor="results/tensors/validation.{reward}.h5",
        # TTSnap leaves TTSp's schedule, which needs no finetuning, only where it clearly gains by it.
        incumbent=lambda w: (
            f"results/schedules/{w.reward}.ttsp.json" if w.method == "ttsnap" else []
        ),
    output:
        "results/schedules/{reward}.{method}.json",
    log:
        "results/logs/fit_schedule/{reward}.{method}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        budgets=BUDGETS,
        # Whole survivors only: or the fit would choose fractions that round up to more than is paid for.
        accounting={"exact": "realised"}.get(
            CONFIG.simulate.accounting, CONFIG.simulate.accounting
        ),
        seed=CONFIG.seed,
        fit=f"0:{FIT_PROMPTS}",
        test=f"{min(FIT_PROMPTS, VALIDATION_PROMPTS - 1)}:{VALIDATION_PROMPTS}",
        incumbent=lambda w, input: (
            f"--incumbent {input.incumbent}" if input.incumbent else ""
        ),
        code=code("ttsnap.commands.fit_schedule"),
    shell:
        "python -m ttsnap fit-schedule {input.tensor} --method {wildcards.method}"
        " --budgets {params.budgets} --accounting {params.accounting} --seed {params.seed}"
        " --fit-prompts {params.fit} --test-prompts {params.test} {params.incumbent}"
        " --json {output} > {log} 2>&1"


rule simulate:
    input:
        tensors=lambda w: [
            f"results/tensors/test.{reward}.h5"
            for reward in (CONFIG.rewards if w.pruned_by == "all" else [w.pruned_by])
        ],
        ttsnap=schedule_of("ttsnap"),
        ttsp=schedule_of("ttsp"),
    output:
        json="results/simulations/{pruned_by}.json",
        csv="results/simulations/{pruned_by}.csv",
    log:
        "results/logs/simulate/{pruned_by}.log",
    benchmark:
        "results/benchmarks/simulate/{pruned_by}.tsv"
    wildcard_constraints:
        pruned_by="|".join([*CONFIG.rewards, "all"]),
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        schedules=schedule_arguments,
        # What a function of the input gives makes no job run again; this does.
        own=own_schedule() if not FITTED else "",
        budgets=BUDGETS,
        accounting=CONFIG.simulate.accounting,
        draws=CONFIG.simulate.draws,
        seed=CONFIG.seed,
        # It could draw as well; here the report does.
        code=code("ttsnap.commands.simulate", apart_from=("ttsnap.report",)),
    shell:
        "python -m ttsnap simulate {input.tensors} {params.schedules} --budgets {params.budgets}"
        " --accounting {params.accounting} --draws {params.draws} --seed {params.seed}"
        " --json {output.json} --csv {output.csv} > {log} 2>&1"
