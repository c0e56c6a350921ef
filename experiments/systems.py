"""Every system by its name."""

from experiments.classifiers import IRevNetConfig, PreActResNetConfig, RevNetConfig
from experiments.gan_models import GANConfig, ImageGANConfig
from experiments.image_models import FlowPPConfig, GlowConfig, ImageRealNVPConfig, PixelCNNConfig
from experiments.models import (
    IAFConfig,
    MAFConfig,
    ModelConfig,
    NICEConfig,
    PlanarConfig,
    RadialConfig,
    RealNVPConfig,
    ResidualConfig,
    SplineConfig,
)
from experiments.vae_models import (
    HierarchicalVAEConfig,
    IAFVAEConfig,
    ImageVAEConfig,
    VAEConfig,
    VLAEConfig,
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
