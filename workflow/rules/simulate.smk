# rewards → one tensor per split and reward → alignment, fitted schedules, simulation


rule tensor:
    input:
        base=lambda w: scores_of(
            w,
            steps=[rules.score_base],
            drafts=[rules.score_base_drafts] if CONFIG.drafts else [],
        ),
        noise_aware=lambda w: scores_of(
            w,
            steps=[rules.score_noise_aware] if STEPS else [],
            drafts=[rules.score_noise_aware_drafts] if DRAFTS else [],
        ),
        accepted=lambda w: shards_of(rules.check.output, w.split) if CONFIG.checker else [],
    output:
        "results/tensors/{split}.{reward}.h5",
    log:
        "results/logs/tensor/{split}.{reward}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        **needs(4000, 30, gpu=False),
    params:
        files=named_inputs,
        code=code("ttsnap.commands.tensor"),
    message:
        "{wildcards.split}: the tensor of {wildcards.reward}"
    shell:
        "python -m ttsnap tensor {params.files} --out {output} > {log} 2>&1"


rule align:
    input:
        lambda w: tensors_of(w.split, [w.reward]),
    output:
        "results/alignment/{split}.{reward}.json",
    log:
        "results/logs/align/{split}.{reward}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        **needs(4000, 30, gpu=False),
    params:
        reference=lambda w: PLAN.reference_digests(w.split, [w.reward]),
        seed=CONFIG.seed,
        code=code("ttsnap.commands.align"),
    message:
        "{wildcards.split}: how well each step of {wildcards.reward} ranks the final images"
    shell:
        "python -m ttsnap align {input} --seed {params.seed} --json {output} > {log} 2>&1"


rule fit_schedule:
    input:
        tensor=lambda w: tensors_of(FITTED_ON, [w.reward]),
    output:
        "results/schedules/{reward}.{method}.json",
    log:
        "results/logs/fit_schedule/{reward}.{method}.log",
    conda:
        "../../envs/simulate.yaml"
    resources:
        **needs(4000, 60, gpu=False),
    params:
        reference=lambda w: PLAN.reference_digests(FITTED_ON, [w.reward]),
        method=lambda w: w.method.replace("_steps", " --no-drafts"),
        budgets=PLAN.budgets(),
        accounting=PLAN.fit_accounting(),
        prompts=PLAN.fitted_on(),
        seed=CONFIG.seed,
        code=code("ttsnap.commands.fit_schedule"),
    message:
        "{wildcards.reward}: the schedule of {wildcards.method}"
    shell:
        "python -m ttsnap fit-schedule {input.tensor} --method {params.method} --budgets {params.budgets}"
        " --accounting {params.accounting} --seed {params.seed} {params.prompts}"
        " --json {output} > {log} 2>&1"


rule simulate:
    input:
        tensors=lambda w: tensors_of(FIGURES, PLAN.tensors_of(w)),
        schedules=lambda w: (
            expand(
                rules.fit_schedule.output,
                reward=PLAN.schedule_of(w),
                method=PLAN.fitted_methods(),
            )
            if PLAN.fits
            else []
        ),
    output:
        json="results/simulations/{pruned_by}.json",
        csv="results/simulations/{pruned_by}.csv",
    log:
        "results/logs/simulate/{pruned_by}.log",
    benchmark:
        "results/benchmarks/simulate/{pruned_by}.tsv"
    conda:
        "../../envs/simulate.yaml"
    resources:
        **needs(4000, 60, gpu=False),
    params:
        reference=lambda w: PLAN.reference_digests(FIGURES, PLAN.tensors_of(w)),
        fitted=lambda w, input: " ".join(map(" ".join, zip(SCHEDULE_OPTIONS, input.schedules))),
        fixed=PLAN.fixed_schedule(),
        budgets=PLAN.budgets(),
        accounting=CONFIG.simulate.accounting,
        draws=CONFIG.simulate.draws,
        seed=CONFIG.seed,
        # It could draw as well; here the report does.
        code=code("ttsnap.commands.simulate", apart_from=("ttsnap.report",)),
    message:
        "what each method gains, pruning by {wildcards.pruned_by}"
    shell:
        "python -m ttsnap simulate {input.tensors} {params.fitted} {params.fixed} --budgets {params.budgets}"
        " --accounting {params.accounting} --draws {params.draws} --seed {params.seed}"
        " --json {output.json} --csv {output.csv} > {log} 2>&1"


# The schedules of the reference run on the tensors of this one, for its gallery
use rule simulate as simulate_own with:
    input:
        tensors=lambda w: tensors_of("test", PLAN.tensors_of(w)),
        schedules=rules.simulate.input.schedules,
    output:
        json="results/simulations/own/{pruned_by}.json",
        csv="results/simulations/own/{pruned_by}.csv",
    log:
        "results/logs/simulate/own/{pruned_by}.log",
    benchmark:
        "results/benchmarks/simulate/own/{pruned_by}.tsv"
    params:
        reference=[],
    message:
        "what each method gains on the prompts of this run, pruning by {wildcards.pruned_by}"
