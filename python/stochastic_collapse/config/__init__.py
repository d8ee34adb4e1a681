"""Typed settings: what they are, how they are read, and what makes a run the same run."""

from .base import (
    Activation,
    Count,
    Fraction,
    NonNegative,
    Number,
    Positive,
    PositiveReal,
    Probability,
    Settings,
    Switch,
)
from .data import CIFAR10Settings, CIFAR100Settings, DataSettings, DigitsSettings, SyntheticSettings
from .models import MLPSettings, ModelSettings, ResNet18Settings, VGG16Settings
from .optimization import (
    AdamSettings,
    ConstantSchedule,
    DecaySchedule,
    MultistepSchedule,
    OptimizerSettings,
    ScheduleSettings,
    SGDSettings,
)
from .reading import Written, dump_yaml, find_config, json_schema, load_config, load_settings, read_settings
from .run import NOT_IDENTIFYING, CollapseSettings, OriginSettings, TrainConfig, identity

__all__ = [
    "NOT_IDENTIFYING",
    "Activation",
    "AdamSettings",
    "CIFAR10Settings",
    "CIFAR100Settings",
    "CollapseSettings",
    "ConstantSchedule",
    "Count",
    "DataSettings",
    "DecaySchedule",
    "DigitsSettings",
    "Fraction",
    "MLPSettings",
    "ModelSettings",
    "MultistepSchedule",
    "NonNegative",
    "Number",
    "OptimizerSettings",
    "OriginSettings",
    "Positive",
    "PositiveReal",
    "Probability",
    "ResNet18Settings",
    "SGDSettings",
    "ScheduleSettings",
    "Settings",
    "Switch",
    "SyntheticSettings",
    "TrainConfig",
    "VGG16Settings",
    "Written",
    "dump_yaml",
    "find_config",
    "identity",
    "json_schema",
    "load_config",
    "load_settings",
    "read_settings",
]
