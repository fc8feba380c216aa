# reward tensors → alignment, fitted schedules, simulation

FITTED = CONFIG.simulate.schedule == "fit"
BUDGETS = "{b.first}:{b.last}:{b.step} --budgets-in {b.unit}".format(b=CONFIG.simulate.budgets)
# Schedules are fitted on three quarters of the validation prompts; the rest says how well they carry over.
VALIDATION_PROMPTS = sum(map(len, SHARDS["validation"]))
FIT_PROMPTS = max(1, VALIDATION_PROMPTS * 3 // 4)


rule align:
    input:
        "results/tensors/{split}.{reward}.h5",
    output:
        "results/alignment/{split}.{reward}.json",
    params:
        seed=CONFIG.seed,
        code=code("ttsnap.commands.align"),
    log:
        "results/logs/align/{split}.{reward}.log",
    resources:
        mem_mb=4000,
        runtime=30,
    conda:
        "../../envs/simulate.yaml"
    shell:
        "python -m ttsnap align {input} --seed {params.seed} --json {output} > {log} 2>&1"


rule fit_schedule:
    input:
        "results/tensors/validation.{reward}.h5",
    output:
        "results/schedules/{reward}.{method}.json",
    params:
        budgets=BUDGETS,
        accounting=CONFIG.simulate.accounting,
        seed=CONFIG.seed,
        fit=f"0:{FIT_PROMPTS}",
        test=f"{min(FIT_PROMPTS, VALIDATION_PROMPTS - 1)}:{VALIDATION_PROMPTS}",
        code=code("ttsnap.commands.fit_schedule"),
    log:
        "results/logs/fit_schedule/{reward}.{method}.log",
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/simulate.yaml"
    shell:
        "python -m ttsnap fit-schedule {input} --method {wildcards.method}"
        " --budgets {params.budgets} --accounting {params.accounting} --seed {params.seed}"
        " --fit-prompts {params.fit} --test-prompts {params.test} --json {output} > {log} 2>&1"


def schedule_arguments(wildcards, input):
    """The schedules of a simulation: fitted on the validation prompts, or the config's for both methods."""
    if FITTED:
        return f"--schedule {input.ttsnap} --ttsp-schedule {input.ttsp}"
    schedule = CONFIG.simulate.schedule
    steps, keep = (",".join(map(str, values)) for values in (schedule.steps, schedule.keep))
    return f"--steps {steps} --keep {keep}"


def schedule_of(method):
    """Input function: the fitted schedule of a simulation; that of the first reward when it prunes by all."""

    def fitted(wildcards):
        reward = next(iter(CONFIG.rewards)) if wildcards.pruned_by == "all" else wildcards.pruned_by
        return f"results/schedules/{reward}.{method}.json" if FITTED else []

    return fitted


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
    params:
        schedules=schedule_arguments,
        budgets=BUDGETS,
        accounting=CONFIG.simulate.accounting,
        draws=CONFIG.simulate.draws,
        seed=CONFIG.seed,
        # It could draw as well; here the report does.
        code=code("ttsnap.commands.simulate", apart_from=("ttsnap.report",)),
    wildcard_constraints:
        pruned_by="|".join([*CONFIG.rewards, "all"]),
    log:
        "results/logs/simulate/{pruned_by}.log",
    benchmark:
        "results/benchmarks/simulate/{pruned_by}.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/simulate.yaml"
    shell:
        "python -m ttsnap simulate {input.tensors} {params.schedules} --budgets {params.budgets}"
        " --accounting {params.accounting} --draws {params.draws} --seed {params.seed}"
        " --json {output.json} --csv {output.csv} > {log} 2>&1"
