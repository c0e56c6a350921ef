"""Rows of the checklist that are words: where the documentation has them."""
# ruff: noqa: E501 - a row a line

from typing import NamedTuple


class Documented(NamedTuple):
    """A row without anything to run.

    Attributes:
      page: of the documentation, from the root of the repository.
      section: its heading, without the marks; empty for the whole page.
      says: what the row is about.
    """

    page: str
    section: str
    says: str


DOCUMENTED: dict[str, Documented] = {
    "L7-09": Documented("docs/vae.md", "Flows, VAEs, autoregressive models", "VAE and flow side by side: objective, encoder, decoder; L7-10 is the theorem"),
    "L7-38": Documented("docs/vae.md", "Flows, VAEs, autoregressive models", "a prior need not be invertible; mixtures and pseudo-inputs are in L7-32"),
    "L7-41": Documented("docs/references.md", "", "references; every class and function names its own"),
    "L5-16": Documented("docs/which_flow.md", "By need", "what flows promise, with what it costs here"),
    "L5-25": Documented("docs/vae.md", "Flows, VAEs, autoregressive models", "exact and approximate likelihoods, for and against"),
    "L5-26": Documented("docs/vae.md", "Bounds", "the VAE and its bound, of the logarithm (E-L5-4)"),
    "L5-27": Documented("docs/vae.md", "", "limits of VAEs: decoder, bound, prior, posterior; measured in L7-30, L7-32, D3-27"),
    "D3-01": Documented("docs/which_flow.md", "By need", "the course's menu; masked couplings are L7-05, a flow prior L7-32"),
    "D3-02": Documented("docs/vae.md", "Flows, VAEs, autoregressive models", "generation by flows and by VAEs; latents that are fewer than the data"),
    "D3-10": Documented("docs/extending.md", "", "what a layer of a flow must have: an inverse and a cheap log-determinant"),
    "D3-25": Documented("docs/which_flow.md", "By need", "uses: densities, inference, priors; D3-12, L7-04, L7-32 run one each"),
    "D3-38": Documented("docs/vae.md", "Flows, VAEs, autoregressive models", "table of flows against VAEs"),
    "A4-04": Documented("docs/vae.md", "A flow in the posterior or in the prior", "a fixed prior restricts little: the decoder moves it; what learned ones gain"),
    "A4-26": Documented("docs/errata.md", "Smaller ones that the code meets", "constraints on layers, what determinants cost (E-A4-12)"),
    "A4-31": Documented("docs/references.md", "", "references"),
}  # fmt: skip
