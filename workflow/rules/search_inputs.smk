# What a real search reads, and which searches there are
from ttsnap.pruning.schedule import REAL_METHODS


def search_schedule(wildcards):
    """The schedule fitted for the method; best-of-N has none."""
    if wildcards.search_method == "best_of_n" or not FITTED:
        return []
    return f"results/schedules/{wildcards.reward}.{wildcards.search_method}.json"


def search_levels(wildcards):
    """The level checkpoints, of which the search opens those that its schedule looks at."""
    if wildcards.search_method != "ttsnap":
        return []
    return expand(
        "results/levels/{reward}/{level}.safetensors",
        reward=wildcards.reward,
        level=CONFIG.levels,
    )


def search_arguments(wildcards, input):
    """The command-line options of the schedule."""
    if wildcards.search_method == "best_of_n":
        return ""
    if FITTED:
        return f"--schedule {input.schedule}"
    return own_schedule()


def searched_prompts():
    """How many of the test prompts are searched."""
    there = sum(map(len, SHARDS["test"]))
    return min(CONFIG.search.prompts or there, there)


def search_limit(wildcards):
    """How many prompts of a shard are searched."""
    size = CONFIG.prompts.test.shard_size
    before = int(wildcards.shard) * size
    return min(len(SHARDS["test"][int(wildcards.shard)]), searched_prompts() - before)


def searches_of(wildcards):
    """The summaries of every method, budget and shard of a reward's searches."""
    shards_searched = -(-searched_prompts() // CONFIG.prompts.test.shard_size)
    return [
        f"results/searches/{wildcards.reward}/{method}/{budget:g}/{shard:04d}/summary.json"
        for method in REAL_METHODS
        for budget in CONFIG.search.budgets
        for shard in range(shards_searched)
    ]


def search_code(wildcards):
    """A digest of the code behind a search: the reward's and the checker's modules are named at run time."""
    checker = [CHECKERS[CONFIG.checker]] if CONFIG.checker else []
    return code("ttsnap.commands.search", reward_code(wildcards.reward), *checker)
