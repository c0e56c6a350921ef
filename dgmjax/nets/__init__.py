"""Networks without densities of their own: conditioners, encoders, decoders."""

from dgmjax.nets.activations import ACTIVATIONS, activation_fn
from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.conv import ZeroConv
from dgmjax.nets.conv_decoder import ConvDecoder
from dgmjax.nets.conv_encoder import ConvEncoder
from dgmjax.nets.conv_net import ConvNet
from dgmjax.nets.data_init import data_init_once, not_initialised
from dgmjax.nets.flattened import Flattened
from dgmjax.nets.gan.dcgan import ConvDiscriminator, ConvGenerator
from dgmjax.nets.gan.mlp import MLPDiscriminator, MLPGenerator
from dgmjax.nets.gated_attention import GatedAttentionNet, GatedConvEncoder
from dgmjax.nets.gated_mlp import GatedMLP
from dgmjax.nets.lipschitz import LipschitzConv, LipschitzMLP
from dgmjax.nets.made import MADE
from dgmjax.nets.mlp import MLP, dropout
from dgmjax.nets.pixelcnn.conv_net import CausalConvNet
from dgmjax.nets.pixelcnn.network import PixelCNN
from dgmjax.nets.pre_activation import PreActivationNet
from dgmjax.nets.res_net import ResNet
from dgmjax.nets.spectral_norm import SpectralConv, SpectralLinear

__all__ = [
    "ACTIVATIONS",
    "NetBatchNorm",
    "CausalConvNet",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvGenerator",
    "ConvNet",
    "Flattened",
    "GatedAttentionNet",
    "GatedConvEncoder",
    "GatedMLP",
    "LipschitzConv",
    "LipschitzMLP",
    "MADE",
    "MLP",
    "MLPDiscriminator",
    "MLPGenerator",
    "PixelCNN",
    "PreActivationNet",
    "ResNet",
    "SpectralConv",
    "SpectralLinear",
    "ZeroConv",
    "activation_fn",
    "data_init_once",
    "dropout",
    "not_initialised",
]
