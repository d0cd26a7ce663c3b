"""Opens a graph with onnxruntime, as every network of this machine wants it: one thread a run, and quietly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gigachat_server.settings import prepare_libraries

ASSETS = Path(__file__).parents[2] / "assets"


class Session:
    """A graph and the tensors that it was given. `run` may be called from several threads at once."""

    def __init__(self, graph: Path, *, folder: Path | None = None, given: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
        """Tensors of the graph that are in files are mapped from `folder`, those that are in none are `given`."""
        prepare_libraries()
        import onnxruntime  # takes 0.3 s: the server answers before that is over

        onnxruntime.disable_telemetry_events()

        options = onnxruntime.SessionOptions()
        # Two threads that run one session are 40 % faster than one run over two threads.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if folder is not None:
            # A graph given as bytes has no folder of its own; the weights are mapped from theirs, not copied.
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        if given:
            self._given = dict(given)  # kept with the values, since the session need not copy them
            self._values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._given.values()]
            options.add_external_initializers(list(self._given), self._values)
        self._session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(self, **inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The graph's `vectors`."""
        (vectors,) = self._session.run(["vectors"], inputs)
        return np.asarray(vectors, np.float32)
