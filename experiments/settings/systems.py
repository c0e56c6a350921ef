"""Every system by its name."""

from experiments.settings.classifiers import IRevNetConfig, PreActResNetConfig, RevNetConfig
from experiments.settings.gans import GANConfig, ImageGANConfig
from experiments.settings.image_flows import FlowPPConfig, GlowConfig, ImageRealNVPConfig
from experiments.settings.model import ModelConfig
from experiments.settings.pixel_cnn import PixelCNNConfig
from experiments.settings.vaes import (
    HierarchicalVAEConfig,
    IAFVAEConfig,
    ImageVAEConfig,
    VAEConfig,
    VLAEConfig,
)
from experiments.settings.vector_flows import (
    IAFConfig,
    MAFConfig,
    NICEConfig,
    PlanarConfig,
    RadialConfig,
    RealNVPConfig,
    ResidualConfig,
    SplineConfig,
)

SYSTEMS: dict[str, type[ModelConfig]] = {
    cls.system: cls
    for cls in (
        RealNVPConfig,
        NICEConfig,
        SplineConfig,
        MAFConfig,
        IAFConfig,
        PlanarConfig,
        RadialConfig,
        ResidualConfig,
        ImageRealNVPConfig,
        GlowConfig,
        FlowPPConfig,
        PixelCNNConfig,
        VAEConfig,
        ImageVAEConfig,
        VLAEConfig,
        HierarchicalVAEConfig,
        IAFVAEConfig,
        RevNetConfig,
        PreActResNetConfig,
        IRevNetConfig,
        GANConfig,
        ImageGANConfig,
    )
}
