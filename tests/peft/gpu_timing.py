"""Times a forward and a backward computation of PyTorch on a GPU by the device's own clock."""

import statistics
import sys
import time
from collections.abc import Callable

import torch

Tensors = list[torch.Tensor]


class Pair:
    """`forward` makes outputs, `backward` gradients from them; each call covers `calls` equal computations on inputs of their own."""

    def __init__(self, forward: Callable[[], Tensors], backward: Callable[[Tensors], object], calls: int, device: torch.device):
        self.forward, self.backward, self.calls = forward, backward, calls
        self.cuda = device.type == "cuda"
        self.samples = {kind: ([], []) for kind in ("device", "launched")}
        self.graphs = None

    def prepare(self) -> None:
        """Warms up, which also compiles, and records both computations as CUDA graphs."""
        if not self.cuda:
            self.backward(self.forward())
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.backward(self.forward())
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        try:
            self.graphs = self._record()
        except RuntimeError as error:
            print(f"gpu_timing: not recorded as graphs, timed with launches: {error}", file=sys.stderr)
            torch.cuda.synchronize()

    def _record(self) -> tuple:
        first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(first):
            outputs = self.forward()
        with torch.cuda.graph(second, pool=first.pool()):
            gradients = self.backward(outputs)
        # All kept, since replays write to the memory of the latter two.
        return first, second, outputs, gradients

    @property
    def best_kind(self) -> str:
        return "device" if self.graphs else "launched"

    def sample(self, times: int) -> None:
        """Takes `times` samples of both ways to run: as graphs, and with each kernel launched by PyTorch."""
        if self.graphs:
            self._sample("device", times, self.graphs[0].replay, lambda _: self.graphs[1].replay())
        self._sample("launched", times, self.forward, self.backward)

    def _sample(self, kind: str, times: int, forward: Callable, backward: Callable) -> None:
        marks = []
        for _ in range(times):
            start = self._mark()
            outputs = forward()
            middle = self._mark()
            backward(outputs)
            marks.append((start, middle, self._mark()))
            del outputs
        if self.cuda:
            torch.cuda.synchronize()
        for start, middle, end in marks:
            self.samples[kind][0].append(self._between(start, middle))
            self.samples[kind][1].append(self._between(middle, end))

    def _mark(self):
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start, end) -> float:
        elapsed = start.elapsed_time(end) if self.cuda else (end - start) * 1e3
        return elapsed / self.calls

    def milliseconds(self, direction: str, kind: str | None = None) -> float:
        """Median time of one computation: on the device alone where there are graphs, unless a kind is asked for."""
        samples = self.samples[kind or self.best_kind]
        return statistics.median(samples[0 if direction == "forward" else 1])


def interleave(pairs: list[Pair], rounds: int = 4, times: int = 5) -> None:
    """Samples all by turns, so that a clock that drifts drifts for all."""
    for number in range(rounds):
        for pair in pairs if number % 2 == 0 else reversed(pairs):
            pair.sample(times)
