"""Named systems of the papers, each a thin assembly of layers."""

from dgmjax.models.autoencoder import SparseAutoencoder
from dgmjax.models.classifier import Classifier
from dgmjax.models.flow_prior import FlowPrior
from dgmjax.models.flowpp import FlowPP
from dgmjax.models.flowpp_dequantizer import FlowPPDequantizer
from dgmjax.models.gan import GAN
from dgmjax.models.glow import Glow
from dgmjax.models.hierarchical_vae import HierarchicalVAE
from dgmjax.models.iaf_ladder import LadderLayer, LayerTerms
from dgmjax.models.iaf_vae import IAFVAE
from dgmjax.models.image_realnvp import ImageRealNVP
from dgmjax.models.irevnet import IRevNet
from dgmjax.models.latent_variable import LatentVariableModel
from dgmjax.models.local_pixel_cnn import LocalPixelCNN
from dgmjax.models.maf import IAF, MAF
from dgmjax.models.nice import NICE
from dgmjax.models.pixel_cnn import PixelCNNpp
from dgmjax.models.planar_flow import PlanarFlow, RadialFlow
from dgmjax.models.realnvp import RealNVP
from dgmjax.models.residual_flow import ResidualFlow
from dgmjax.models.revnet import PreActResNet, RevNet
from dgmjax.models.spline_flow import NeuralSplineFlow
from dgmjax.models.vae import VAE
from dgmjax.models.vlae import VLAE

__all__ = [
    "Classifier",
    "FlowPP",
    "FlowPrior",
    "FlowPPDequantizer",
    "GAN",
    "Glow",
    "HierarchicalVAE",
    "IAF",
    "IAFVAE",
    "IRevNet",
    "LadderLayer",
    "LatentVariableModel",
    "LayerTerms",
    "LocalPixelCNN",
    "MAF",
    "NICE",
    "NeuralSplineFlow",
    "PixelCNNpp",
    "PlanarFlow",
    "PreActResNet",
    "RadialFlow",
    "ImageRealNVP",
    "RealNVP",
    "ResidualFlow",
    "RevNet",
    "SparseAutoencoder",
    "VAE",
    "VLAE",
]
