"""Compare the saved model with itself in int8, at the end of a training."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import astuple

from vidlstm.engine.events import Event, Int8Compared, Int8Failed, Progress
from vidlstm.engine.precision.int8 import compare_int8
from vidlstm.engine.training.run_folder import RunFolder
from vidlstm.errors import BackendError
from vidlstm.models.backends.int8 import is_default
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.checkpoint import Model, load_model
from vidlstm.settings import MachineSettings


def labels_in_int8(model: Model, machine: MachineSettings) -> bool:
    """Tell whether this machine can compute the model in int8."""
    return model.encoder is not None and machine.backend != "torch" and is_installed()


def compare_in_int8(run: RunFolder, model: Model) -> Generator[Event, None, bool]:
    """Compare the saved model with itself in int8, and store the result in it; Ctrl-C skips this.

    Returns:
        Whether it was interrupted.
    """
    try:
        yield Progress("int8", 0, 1)
        agreement, inputs = compare_int8(load_model(run.model), run.path)
    except BackendError as error:
        yield Int8Failed(str(error))
        return False
    except KeyboardInterrupt:
        yield Int8Failed("interrupted")
        return True
    if not agreement.clips:
        yield Int8Failed("none of the held-out clips can be read")
        return False
    facts = agreement.to_json()
    if agreement.passed:
        facts["inputs"] = [astuple(given) for given in inputs]
    model.training["int8"] = facts
    run.write_model(model)
    yield Int8Compared(
        agreement.clips, agreement.same_labels, agreement.mean, agreement.passed, is_default(facts)
    )
    return False
