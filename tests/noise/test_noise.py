"""Orthogonal noise: maps, patches, rotations, orbits and the descent on them."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsnap.cli import main
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.noise.descend import descend
from ttsnap.noise.diagnostics import compare
from ttsnap.noise.maps import (
    MAPS,
    from_patches,
    orthogonality_error,
    rotate_patches,
    rotate_vectors,
    rotation_between,
    skew,
    to_patches,
)
from ttsnap.noise.orbits import gaussian_prior, make_orbit

seeds = st.integers(0, 2**31)


def normal(*shape, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=25, deadline=None)
@given(seed=seeds, d=st.integers(1, 24), scale=st.floats(1e-3, 3))
def test_maps_are_orthogonal(name, seed, d, scale):
    q = MAPS[name](skew(normal(3, d, d, seed=seed) * scale))
    assert orthogonality_error(q) < 1e-9
    assert torch.allclose(torch.linalg.det(q), torch.ones(3, dtype=q.dtype))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, c=st.integers(1, 4), p=st.sampled_from([1, 2, 4]))
def test_patch_form_keeps_the_norm_of_every_patch(seed, c, p):
    x = normal(2, c, 8, 4, seed=seed)
    assert torch.equal(from_patches(to_patches(x, p), x.shape[1:], p), x)
    q = MAPS["exp"](skew(normal(2, c * p * p, c * p * p, seed=seed + 1)))
    y = rotate_patches(x, q, p)
    assert torch.allclose(to_patches(y, p).norm(dim=-1), to_patches(x, p).norm(dim=-1))
    patch = x[1, :, p : 2 * p, :p].flatten()  # cut by hand: second row of patches, first column
    assert torch.allclose(y[1, :, p : 2 * p, :p].flatten(), q[1] @ patch)


def test_a_fixed_map_preserves_gaussian_moments():
    n, d = 200_000, 8
    eps = normal(n, d, seed=3)
    z = rotate_vectors(eps, MAPS["cayley"](skew(normal(d, d, seed=4))))
    found = compare(eps, z)["after"]
    assert abs(found["mean"]) < 5 / (n * d) ** 0.5
    assert abs(found["variance"] - 1) < 5 * (2 / (n * d)) ** 0.5
    assert abs(found["excess_kurtosis"]) < 5 * (24 / (n * d)) ** 0.5
    assert abs(found["spectrum"][0] - 1) < 0.03 and abs(found["spectrum"][-1] - 1) < 0.03
    shrunk = compare(eps, 0.9 * z)
    assert shrunk["largest_relative_norm_change"] == pytest.approx(0.1)
    assert shrunk["after"]["spectrum"][-1] < 0.85


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    d=st.integers(2, 40),
    angle=st.sampled_from([0.0, 1e-7, 1e-4, 0.3, 1.57, 3.0, 3.14159, 3.141592653589793]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_rotation_takes_eps_to_z(seed, d, angle, dtype):
    eps = normal(3, d, seed=seed)
    aside = normal(3, d, seed=seed + 1)
    aside = aside - (aside * eps).sum(-1, keepdim=True) / eps.square().sum(-1, keepdim=True) * eps
    aside = aside / aside.norm(dim=-1, keepdim=True) * eps.norm(dim=-1, keepdim=True)
    z = torch.cos(torch.tensor(angle)) * eps + torch.sin(torch.tensor(angle)) * aside
    eps, z = eps.to(dtype), z.to(dtype)
    rotation, tolerance = rotation_between(eps, z), 2e-5 if dtype == torch.float32 else 1e-12
    assert torch.allclose(rotation(eps), z, atol=tolerance * 8)
    q = rotation.matrix()
    assert orthogonality_error(q) < tolerance
    assert torch.allclose(torch.linalg.det(q), torch.ones(3, dtype=dtype), atol=1e-4)
    assert torch.allclose(rotate_vectors(eps, q), z, atol=tolerance * 8)
    if 1e-3 < angle < 3.1:  # anything orthogonal to both is fixed
        basis = torch.stack([eps, z], 1)
        x = normal(3, 1, d, seed=seed + 2).to(dtype)
        x = x - (torch.linalg.pinv(basis) @ (basis @ x.mT)).mT
        assert torch.allclose(rotation(x), x, atol=1e-3 if dtype == torch.float32 else 1e-9)


def test_rotation_of_a_zero_vector_is_refused():
    with pytest.raises(ValueError, match="zero vector"):
        rotation_between(torch.zeros(1, 3), torch.ones(1, 3))


LATENTS, VECTORS = (5, 4, 4, 4), (5, 16)
ORBITS = [
    (VECTORS, "sphere"), (VECTORS, "exp"), (VECTORS, "cayley"), (VECTORS, "free"),
    (LATENTS, "exp"), (LATENTS, "cayley"), (LATENTS, "free"),
]  # fmt: skip


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize(("shape", "form"), ORBITS)
def test_descent_is_independent_of_other_rows_and_continues_from_its_state(shape, form, optimiser):
    eps, target = normal(*shape), normal(*shape, seed=1)

    def objective(target):
        return lambda z, rows: (z - target[rows]).square().flatten(1).mean(1)

    how = dict(steps=30, optimiser=optimiser)
    whole = descend(make_orbit(eps, form), objective(target), **how)
    assert (whole.best < whole.start).all() and whole.history.shape == (31, 5)
    assert torch.allclose(whole.best, whole.history.min(0).values)
    assert torch.allclose(whole.best, objective(target)(whole.noise, range(5)))
    if form != "free":
        assert torch.allclose(whole.noise.flatten(1).norm(dim=1), eps.flatten(1).norm(dim=1))
    alone = descend(make_orbit(eps[2:3], form), objective(target[2:3]), **how)
    assert torch.allclose(alone.noise[0], whole.noise[2])
    again = make_orbit(eps, form, start=whole.state)
    assert torch.allclose(again.noise(again.first, torch.arange(5)), whole.noise)
    harm = dict(steps=10, optimiser=optimiser, lr=5.0)  # far too high a rate
    assert (descend(again, objective(target), **harm).best <= whole.best + 1e-12).all()


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_the_sphere_finds_the_nearest_point_of_the_orbit(optimiser):
    """The point of the sphere nearest to y is ‖ε‖·y/‖y‖."""
    eps, y = normal(4, 12), normal(4, 12, seed=1) * 3
    found = descend(
        make_orbit(eps),
        lambda z, rows: (z - y[rows]).square().sum(1),
        steps={"lbfgs": 20, "adam": 400}[optimiser],
        optimiser=optimiser,
    )
    nearest = eps.norm(dim=1, keepdim=True) * y / y.norm(dim=1, keepdim=True)
    assert torch.allclose(found.noise, nearest, atol=1e-3)


def rosenbrock(z, rows=None):
    return (100 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(1)


def test_lbfgs_follows_a_curved_valley_and_never_rises():
    """Rosenbrock's valley from many sides; Adam is far from the minimum after as many steps."""
    eps = normal(16, 4)
    found = descend(make_orbit(eps, "free"), rosenbrock, steps=150)
    local = (found.noise[:, 0] < 0).sum()  # it has a second minimum beside (−1, 1, 1, 1)
    assert (found.best < 1e-6).sum() == 16 - local and local < 8
    assert (found.history.diff(dim=0) <= 0).all()
    adam = descend(make_orbit(eps, "free"), rosenbrock, steps=150, optimiser="adam")
    assert (adam.best > 0.1).all()


def test_rows_end_when_they_stop_gaining_and_are_evaluated_no_more():
    eps, seen = normal(6, 4), []

    def objective(z, rows):
        seen.append(rows.tolist())
        flat = (z - eps[rows]).square().sum(1) + z[:, 0]
        return torch.where(rows < 3, flat, rosenbrock(z))

    found = descend(make_orbit(eps, "free"), objective, steps=100, tolerance=0.01)
    assert found.evaluations.tolist() == [sum(n in rows for rows in seen) for n in range(6)]
    assert found.evaluations[:3].max() < 15 < found.evaluations.max() < 100
    assert found.history.shape == (101, 6) and found.history.isfinite().all()
    whole = descend(make_orbit(eps, "free"), objective, steps=100)
    gain = whole.start - whole.best
    assert (whole.start - found.best > 0.9 * gain).all()


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_a_broken_row_leaves_the_others_alone(optimiser):
    eps, target = normal(3, 6), normal(3, 6, seed=1)

    def objective(z, rows, broken):
        far = (z.detach() - eps[rows]).abs().amax(1) > 0.2
        factor = torch.where(far & (rows == 1) & broken, float("nan"), 1.0)
        return (z - target[rows]).square().mean(1) * factor

    good, bad = (
        descend(make_orbit(eps), lambda z, rows, b=broken: objective(z, rows, b), steps=20, optimiser=optimiser)
        for broken in (False, True)
    )
    assert torch.equal(good.noise[[0, 2]], bad.noise[[0, 2]]) and bad.best.isfinite().all()
    assert bad.best[1] <= bad.start[1]
    with pytest.raises(TtsnapError, match="not finite"):
        descend(make_orbit(eps), lambda z, rows: z.sum(1) * float("nan"), steps=1)


def test_gaussian_prior_is_zero_at_standard_moments_only():
    z = normal(2, 1000)
    z = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True, correction=0)
    assert gaussian_prior(z).abs().max() < 1e-9
    assert torch.allclose(gaussian_prior(z + 1), torch.full((2,), 0.5, dtype=z.dtype))
    assert (gaussian_prior(2 * z) > 0.5).all()


def test_bad_orbits_are_refused():
    for shape, options, says in (
        (LATENTS, {"form": "sphere"}, "is for vectors"),
        (LATENTS, {"patch": 3}, "does not divide latents of 4×4"),
        (VECTORS, {"form": "helix"}, "'helix' is unknown"),
        (LATENTS, {"patch": 1, "start": normal(2, 12, 12)}, "another form or patch"),
        (LATENTS, {"form": "free", "start": normal(2, 12, 12)}, "another form or patch"),
        (VECTORS, {"form": "exp", "start": normal(*VECTORS)}, "another form or patch"),
    ):
        with pytest.raises(BadInput, match=says):
            make_orbit(normal(*shape), **options)


def test_noise_theory_command(tmp_path):
    words = ["noise-theory", "--samples", "4096", "--out", str(tmp_path / "a")]
    assert main([*words, "--json", str(tmp_path / "all.json")]) == 0
    results = json.loads((tmp_path / "all.json").read_text())
    assert results["agrees"] and set(results["maps"]) == {"exp", "cayley"}
    assert results["maps"]["exp"]["dimensions"] == 16
    assert (tmp_path / "a/exp.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["noise-theory", "--samples", "3", "--out", str(tmp_path / "b")]) == 2
    words[-1:] = [str(tmp_path / "c"), "--scale", "1e6"]  # beyond what the exponential can do in 32 bits
    assert main([*words, "--json", str(tmp_path / "all.json")]) == 1
    results = json.loads((tmp_path / "all.json").read_text())
    assert results["maps"]["cayley"]["agrees"] and not results["maps"]["exp"]["agrees"]
