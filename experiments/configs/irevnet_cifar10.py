"""i-RevNet on CIFAR-10.

Reproduces: the injective i-RevNet of the authors' code (Jacobsen et al., 2018, arXiv:1802.07088,
  github.com/jhjacobsen/pytorch-i-revnet): 3 stages of 18 blocks, 6.3 million parameters; SGD with momentum 0.9, 0.1
  times 0.2 after 60, 120 and 160 of 200 epochs, batches of 128, weight decay 5e-4 (theirs acts on all parameters, this
  on kernels), dropout 0.1, flips and shifts by up to 4 pixels. Its pixels are scaled to [0, 1], theirs standardised.
Command: python -m experiments.train irevnet_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published about 5.5 % test error; not yet run here. The published run uses all 50,000 training images.
Cost: published about 5 hours on a GPU of 2018.
"""

from experiments.settings.classifiers import IRevNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="irevnet_cifar10",
    data="cifar10",
    model=IRevNetConfig(blocks=(18, 18, 18), strides=(1, 2, 2), pad_to=32, dropout=0.1),
    optimizer=OptimizerConfig(
        algorithm="sgd",
        learning_rate=0.1,
        warmup_steps=0,
        weight_decay=5e-4,
        clip_norm=None,
        schedule="piecewise",
        milestones=(23_460, 46_920, 62_560),  # 391 steps an epoch
        decay=0.2,
    ),
    training=TrainingConfig(
        steps=78_200, batch_size=128, ema_decay=0.0, eval_every=391, patience=200
    ),
    augment=AugmentConfig(flip=True, max_shift=4),
)
