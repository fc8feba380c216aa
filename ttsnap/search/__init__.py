"""Real searches: a sampler, a verifier and a schedule → the best image and the trace of what was dropped.

from ttsnap.search import search_pipeline

results = search_pipeline(pipe, score, prompts, looks=(2, 6), keep=(0.5, 0.5), budget=8)
Image.fromarray(results[0].image).save("best.png")
"""

from ttsnap.search.core import Batches, Look, SearchResult, search_prompts
from ttsnap.search.pipeline import search, search_pipeline
from ttsnap.search.plan import SearchPlan, make_plan
from ttsnap.search.verifiers import FunctionVerifier, RewardVerifier, Verifier

__all__ = [
    "Batches", "FunctionVerifier", "Look", "SearchPlan", "RewardVerifier", "SearchResult", "Verifier",
    "make_plan", "search", "search_pipeline", "search_prompts",
]  # fmt: skip
