"""Locate the networks of the `pose` stream, and put them where decoder processes can read them.

Imports neither torch nor OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidlstm.config import StreamName
from vidlstm.errors import BackendError, UsageError, WeightsError
from vidlstm.features.store import NETWORKS, default_root
from vidlstm.models.backends.blazepose import BlazePose
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.pose_weights import PoseWeights, find_pose_weights
from vidlstm.settings import ModelSettings


def find_pose(settings: ModelSettings, streams: Sequence[StreamName]) -> PoseWeights | None:
    """Return the networks, if a stream needs them.

    Args:
        settings: The settings, which may give a path.
        streams: Streams of the model.

    Raises:
        WeightsError: The networks are not installed.
    """
    return find_pose_weights(settings.pose_weights) if "pose" in streams else None


def require_networks(settings: ModelSettings, streams: Sequence[StreamName]) -> Path | None:
    """Check that the networks are installed and can be run; return their folder.

    Raises:
        WeightsError: The networks are not installed, or the files hold other networks.
        UsageError: OpenVINO, which runs them, is not installed.
        BackendError: OpenVINO cannot run them.
    """
    folder = write_networks(find_pose(settings, streams))
    if folder is not None:
        BlazePose(folder)  # fail now rather than on every clip
    return folder


def installed_networks() -> Path | None:
    """Return the folder of the networks if they are installed and can be run, otherwise None."""
    try:
        return require_networks(ModelSettings(), ("pose",)) if is_installed() else None
    except (WeightsError, BackendError):
        return None


def write_networks(weights: PoseWeights | None) -> Path | None:
    """Write the networks to a folder where decoder processes can read them.

    Args:
        weights: The networks; None if no stream needs them.

    Raises:
        UsageError: OpenVINO, which runs them, is not installed.
    """
    if weights is None:
        return None
    if not is_installed():
        raise UsageError("`streams=pose` needs OpenVINO; pip install 'vidlstm[cpu]'")
    return weights.put_into(default_root() / NETWORKS)
