"""ResNet-32 on CIFAR-10, the twin of RevNet-38.

Reproduces: table 1 of Gomez et al., 2017, arXiv:1707.04585: ResNet-32, 3 stages of 5 units, 0.46 million parameters;
  SGD with momentum 0.9, rate 0.1 divided by 10 after 40,000 and 60,000 of 80,000 steps, batches of 100, weight decay
  2e-4 on kernels, flips and shifts by up to 4 pixels (which here repeat the edge instead of padding with zeros).
Command: python -m experiments.train resnet32_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published 7.14 % test error; not yet run here. The published runs use all 50,000 training images.
Cost: not measured; made for an accelerator.
"""

import dataclasses

from experiments.configs.revnet38_cifar10 import CONFIG as REVNET38
from experiments.settings.classifiers import PreActResNetConfig

CONFIG = dataclasses.replace(
    REVNET38,
    name="resnet32_cifar10",
    model=PreActResNetConfig(
        filters=(16, 16, 32, 64), units=(5, 5, 5), momentum=0.99, epsilon=1e-3
    ),
)
