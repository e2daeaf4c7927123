"""The networks that find people, from where they were installed to where a reading process finds them.

Imports neither torch nor OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidlstm.config import StreamName
from vidlstm.errors import UsageError
from vidlstm.features.store import NETWORKS, default_root
from vidlstm.models.backends.blazepose import BlazePose
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.pose_weights import PoseWeights, find_pose_weights
from vidlstm.settings import ModelSettings


def find_pose(settings: ModelSettings, streams: Sequence[StreamName]) -> PoseWeights | None:
    """Return the networks, if a stream needs them.

    Args:
        settings: That may say where they are.
        streams: Of the model.

    Raises:
        WeightsError: They are not installed.
    """
    return find_pose_weights(settings.pose_weights) if "pose" in streams else None


def require_networks(settings: ModelSettings, streams: Sequence[StreamName]) -> Path | None:
    """Be sure that the networks are there and can be computed; return their folder.

    Raises:
        WeightsError: They are not installed, or the files hold other networks.
        UsageError: OpenVINO, which computes them, is not installed.
        BackendError: It cannot compute them.
    """
    folder = keep_networks(find_pose(settings, streams))
    if folder is not None:
        BlazePose(folder)  # what is wrong with them would be wrong for every clip
    return folder


def keep_networks(weights: PoseWeights | None) -> Path | None:
    """Put the networks where the processes that read files find them.

    Args:
        weights: None where no stream needs them.

    Raises:
        UsageError: OpenVINO, which computes them, is not installed.
    """
    if weights is None:
        return None
    if not is_installed():
        raise UsageError("`streams=pose` is computed by OpenVINO: pip install 'vidlstm[cpu]'")
    return weights.put_into(default_root() / NETWORKS)
