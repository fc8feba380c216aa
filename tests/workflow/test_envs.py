"""The environment files: pinned as the lock, well-formed for conda, and enough for what runs under them.

With TTSNAP_ENVS=1 each file's pip part is installed into a throw-away environment (gigabytes of torch),
and a module of its rules runs there on tiny input.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from ttsnap.storage.code_digest import imported, sources

ENVS = sorted(Path("envs").glob("*.yaml"))
NAME = re.compile(r"^[a-z0-9][a-z0-9._-]*$")
heavy = pytest.mark.skipif(os.environ.get("TTSNAP_ENVS") != "1", reason="TTSNAP_ENVS=1 installs the environments")


def parts(path):
    """(conda specs, pip requirements) of an environment file."""
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    pip = [d["pip"] for d in dependencies if isinstance(d, dict)]
    return [d for d in dependencies if isinstance(d, str)], pip[0]


def test_there_is_one_for_each_kind_of_rule():
    assert {p.stem for p in ENVS} == {"diffusion", "report", "reward-official", "simulate"}
    named = {
        match
        for rules in Path("workflow/rules").glob("*.smk")
        for match in re.findall(r"envs/([\w-]+)\.yaml", rules.read_text())
    }
    assert named and named <= {p.stem for p in ENVS}


@pytest.mark.parametrize("path", ENVS, ids=lambda p: p.stem)
def test_conda_part_is_well_formed(path):
    rattler = pytest.importorskip("rattler")
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"channels", "dependencies"} and content["channels"] == ["conda-forge"]
    specs, _ = parts(path)
    assert {"python", "pip"} <= {re.split("[=<>! ]", s)[0] for s in specs}
    for spec in specs:
        assert rattler.MatchSpec(spec, strict=True)
        assert NAME.match(re.split("[=<>! ]", spec)[0]), "rattler lets some malformed names pass"


@pytest.mark.parametrize("path", ENVS, ids=lambda p: p.stem)
def test_pip_part_is_pinned_as_the_lock(path):
    python = next(s.split("=")[1] for s in parts(path)[0] if s.startswith("python="))
    lines = Path("requirements.lock").read_text().splitlines()
    locked = [Requirement(line) for line in lines if "==" in line and not line.startswith("#")]
    lock = {
        r.name: str(r.specifier).removeprefix("==")
        for r in locked
        if not r.marker or r.marker.evaluate({"python_full_version": f"{python}.0"})
    }
    for requirement in parts(path)[1]:
        name, pinned, version = requirement.partition("==")
        assert pinned and NAME.match(name) and re.match(r"^[0-9][\w.]*$", version), requirement
        if path.stem != "reward-official":
            assert lock[name] == version, f"{path}: {name} is {lock[name]} in requirements.lock"


# Where a module is called otherwise.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "open_clip": "open-clip-torch",
    "pydantic_core": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def test_rules_import_nothing_that_their_environment_lacks():
    seen = set()
    for rules in Path("workflow/rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule )", rules.read_text(), flags=re.MULTILINE)[1:]:
            env = re.search(r"envs/([\w-]+)\.yaml", rule)
            if env is None:
                continue
            has = {r.partition("==")[0] for r in parts(Path(f"envs/{env[1]}.yaml"))[1]}
            ((program, command),) = re.findall(r"(?:python -m|launch}) (ttsnap|recipe) ([\w-]+)", rule)
            package = "ttsnap.commands" if program == "ttsnap" else program
            # `simulate` draws on request; the workflow does not ask for it.
            aside = ("ttsnap.report",) if command == "simulate" else ()
            files = sources(f"{package}.{command.replace('-', '_')}", aside)
            wanted = {name.split(".")[0] for file in files for name in imported(file)}
            wanted -= {"ttsnap", "recipe", *sys.stdlib_module_names}
            assert {DISTRIBUTIONS.get(name, name) for name in wanted} <= has, (env[1], command)
            seen.add(command)
    assert seen >= {"generate", "finetune", "search", "assign", "sft", "simulate", "report"}


SHARD = "import sys; sys.path[:0] = ['.', 'tests/helpers', 'tests/rewards']\n"
SIMULATED = """
import numpy as np
from ttsnap.storage.tensor import RewardTensor, write_tensor
from ttsnap.cli import main
out = sys.argv[1]
base = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
attrs = {"reward": "r", "model": "m", "steps": 6, "denoise_tflop": 1.0, "look_tflop": 0.1, "levels": [], "seed": 0}
write_tensor(f"{out}/t.h5", RewardTensor(base=base, prompts=["a", "b", "c"], attrs=attrs))
simulated = main(["simulate", f"{out}/t.h5", "--steps", "1,3", "--keep", "0.5,0.5", "--draws", "5",
                  "--budgets", "2:4:1", "--budgets-in", "candidates", "--json", f"{out}/o.json"])
"""
RUNS = {
    "simulate": SHARD + SIMULATED + "sys.exit(simulated)",
    "report": SHARD
    + SIMULATED
    + """
assert simulated == 0
words = ["--simulation", f"{out}/o.json", "--out"]
assert main(["report", "--part", "budget", *words, f"{out}/o.png"]) == 0
sys.exit(main(["report", "--part", "cost", "--tensor", f"{out}/t.h5", *words, f"{out}/o.html"]))
""",
    "diffusion": SHARD
    + """
import published
from pathlib import Path
from ttsnap.cli import main
out = Path(sys.argv[1])
(out / "p.txt").write_text("a red circle\\n")
words = ["generate", str(out / "p.txt"), "--model", "embedded:shapes-sdxl", "--steps", "2", "--height", "64"]
assert main([*words, "--width", "64", "--candidates", "2", "--out", str(out / "s.h5"), "--device", "cpu"]) == 0
options = published.hpsv2(out / "HPSv2")
words = ["score", str(out / "s.h5"), "--out", str(out / "r.h5"), "--kind", "hpsv2", "--device", "cpu"]
sys.exit(main(words + [w for k, v in options.items() for w in ("--option", f"{k}={v}")]))
""",
    "reward-official": SHARD
    + """
from pathlib import Path
import official_rewards, test_parity
test_parity.write_cases(Path(sys.argv[1]))
import os; os.chdir(sys.argv[1])
sys.argv = ["official_rewards", sys.argv[1]]
official_rewards.main()
""",
}


@heavy
@pytest.mark.slow
@pytest.mark.parametrize("path", ENVS, ids=lambda p: p.stem)
def test_its_module_runs_in_a_bare_environment(path, tmp_path):
    python = next(s.split("=")[1] for s in parts(path)[0] if s.startswith("python="))
    uv, home = [sys.executable, "-m", "uv"], tmp_path / "env"
    subprocess.run([*uv, "venv", "--python", python, str(home)], check=True)
    requirements = parts(path)[1] + (["pytest"] if path.stem == "reward-official" else [])
    subprocess.run(
        [*uv, "pip", "install", "--python", str(home / "bin/python"), *requirements],
        check=True,
        env={**os.environ, "UV_BUILD_CONSTRAINT": str(Path("envs/build-constraints.txt").resolve())},
    )
    done = subprocess.run(
        [str(home / "bin/python"), "-c", RUNS[path.stem], str(tmp_path)],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr[-3000:]
