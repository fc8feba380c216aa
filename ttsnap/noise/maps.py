"""Orthogonal matrices from skew-symmetric ones, patches of latents, and the rotation between two vectors."""

from dataclasses import dataclass

import torch

from ttsnap.errors import BadInput


def skew(a: torch.Tensor) -> torch.Tensor:
    """S = A − Aᵀ, skew-symmetric, for A [..., D, D]."""
    return a - a.mT


def exp_map(s: torch.Tensor) -> torch.Tensor:
    """Q = exp(S), a rotation, for skew S [..., D, D]."""
    return torch.linalg.matrix_exp(s)


def cayley_map(s: torch.Tensor) -> torch.Tensor:
    """Q = (I−S)⁻¹(I+S), a rotation without the eigenvalue −1, for skew S [..., D, D]."""
    identity = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    return torch.linalg.solve(identity - s, identity + s)


MAPS = {"exp": exp_map, "cayley": cayley_map}


def orthogonality_error(q: torch.Tensor) -> float:
    """The largest |QᵀQ − I| over entries and matrices; q [..., D, D]."""
    identity = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
    return float((q.mT @ q - identity).abs().max())


def to_patches(x: torch.Tensor, p: int) -> torch.Tensor:
    """Cut [B, C, H, W] into p×p patches flattened to D = C·p·p: [B, H·W/p², D].

    Raises BadInput when p does not divide H and W.
    """
    batch, c, h, w = x.shape
    if p < 1 or h % p or w % p:
        raise BadInput(f"patch size {p}: does not divide latents of {h}×{w}")
    x = x.view(batch, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch, (h // p) * (w // p), c * p * p)


def from_patches(patches: torch.Tensor, shape: tuple[int, int, int], p: int) -> torch.Tensor:
    """The inverse of `to_patches`; shape is (C, H, W)."""
    c, h, w = shape
    x = patches.view(-1, h // p, w // p, c, p, p).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(-1, c, h, w)


def rotate_patches(x: torch.Tensor, q: torch.Tensor, p: int) -> torch.Tensor:
    """Multiply every p×p patch of x [B, C, H, W] by its sample's Q, [B, D, D] or [D, D] (patch form)."""
    return from_patches(to_patches(x, p) @ q.mT, x.shape[1:], p)


def rotate_vectors(x: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Q·x for x [B, D] and q [B, D, D] or [D, D] (vector form)."""
    return (q @ x[..., None])[..., 0]


@dataclass(frozen=True)
class Rotation:
    """R = H(d)·H(u), H(n)v = v − 2n(nᵀv): B rotations, each as two unit normals, d and u [B, D].

    It turns the plane of two given vectors and fixes everything orthogonal to them.
    """

    d: torch.Tensor
    u: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """R·x in O(D) per vector; x [B, ..., D], one rotation for each of the B rows."""
        for normal in (self.u, self.d):
            n = normal.view(len(normal), *(1,) * (x.ndim - 2), -1)
            x = x - 2 * (x * n).sum(-1, keepdim=True) * n
        return x

    def matrix(self) -> torch.Tensor:
        """The matrices [B, D, D]."""
        identity = torch.eye(self.d.shape[-1], dtype=self.d.dtype, device=self.d.device)
        return self(identity.expand(len(self.d), -1, -1)).mT


def rotation_between(eps: torch.Tensor, z: torch.Tensor) -> Rotation:
    """The rotation in the plane of ε and z that takes ε to (‖ε‖/‖z‖)·z, for rows of eps, z [B, D], D ≥ 2.

    With unit a ∥ ε and b ∥ z: up to a right angle H(a+b)·H(a), where H(a) takes a to −a and H(a+b) takes −a to b;
    beyond it H(b−a)·H(u) with u ⟂ a in the plane, where H(u) fixes a and H(b−a) mirrors it onto b. Neither normal is
    then ever the difference of two nearly equal vectors, so all angles are exact, including 0 and π. Raises ValueError
    for a zero vector.
    """
    if not (eps.norm(dim=-1).min() > 0 and z.norm(dim=-1).min() > 0):
        raise ValueError("a zero vector has no direction to rotate")
    a, b = _unit(eps), _unit(z)
    cosine = (a * b).sum(-1, keepdim=True)
    u = b - cosine * a
    least = torch.zeros_like(a).scatter_(-1, a.abs().argmin(-1, keepdim=True), 1.0)
    tiny = 8 * torch.finfo(a.dtype).eps
    u = torch.where(u.norm(dim=-1, keepdim=True) > tiny, u, least)  # (anti)parallel: any plane will do
    for _ in range(2):  # twice is enough
        u = _unit(u - (a * u).sum(-1, keepdim=True) * a)
    acute = cosine >= 0
    return Rotation(_unit(torch.where(acute, a + b, b - a)), torch.where(acute, a, u))


def _unit(v: torch.Tensor) -> torch.Tensor:
    return v / v.norm(dim=-1, keepdim=True)
