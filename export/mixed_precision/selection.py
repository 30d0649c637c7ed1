"""Which operations of an int8 file are worth leaving in float: what noise it spares, and what time it costs.

Both are taken as sums, of parts that were measured one by one. A tensor's noise is spared once all that write
and read it compute in float, so neighbours are worth more together, and share the conversions at their edges.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from export.ir.graph import Graph
from export.mixed_precision.cost import Costs
from export.mixed_precision.keep_float import units

LONGEST_RUN = 32  # of units in order of execution
LEAST_COST = 1e-3  # of the int8 graph's time, for a unit in float: on other CPUs none is free


@dataclass(frozen=True)
class Tradeoff:
    """Noise and time of every set of units that could stay in float.

    Attributes:
        units: operations that TFLite does not part, in order of execution.
        powers: (terms,) noise in the logits, from a tensor in 8 bits or a rounded kernel, over their power.
        needs: bool (terms, units): those that must all be in float for the term to vanish; none of them if it
            never does.
        costs: seconds of units and conversions.
        tensors: what is converted where float and int8 meet.
    """

    units: list[tuple[str, ...]]
    powers: np.ndarray
    needs: np.ndarray
    costs: Costs
    tensors: list[_Tensor]

    @classmethod
    def of(
        cls, graph: Graph, tensor_noise: Mapping[str, float], kernel_noise: Mapping[str, float], costs: Costs
    ) -> Tradeoff:
        """Put the measurements together; noise is given by operation, over the power of the logits."""
        parts = units(graph)
        home = {name: index for index, unit in enumerate(parts) for name in unit}
        needs = np.zeros((len(tensor_noise) + len(kernel_noise), len(parts)), bool)
        for row, name in enumerate(tensor_noise):
            needs[row, [home[each] for each in _writers_and_readers(graph, name)]] = True
        for row, name in enumerate(kernel_noise, len(tensor_noise)):
            needs[row, home[name]] = True
        powers = np.array([*tensor_noise.values(), *kernel_noise.values()])
        return cls(parts, powers, needs, costs, _tensors(graph, home))

    def chosen(self, names: Collection[str]) -> np.ndarray:
        """The units that hold these operations: bool (units,)."""
        return np.array([any(name in names for name in unit) for unit in self.units])

    def operations(self, chosen: np.ndarray) -> frozenset[str]:
        """The operations of these units."""
        return frozenset(name for unit, taken in zip(self.units, chosen, strict=True) if taken for name in unit)

    def noise(self, sets: np.ndarray) -> np.ndarray:
        """(sets,) noise in the logits, over their power, with the units of each set in float: bool (sets, units)."""
        missing = self.needs.astype(np.float32) @ ~sets.T
        stays = (missing > 0) | ~self.needs.any(axis=1, keepdims=True)
        return self.powers @ stays

    def seconds(self, sets: np.ndarray) -> np.ndarray:
        """(sets,) seconds of an inference with the units of each set in float: bool (sets, units)."""
        int8 = self.costs.in_int8.sum()
        total = int8 + sets @ np.maximum(self.costs.in_float - self.costs.in_int8, LEAST_COST * int8)
        for tensor in self.tensors:
            conversion = self.costs.conversion + self.costs.conversion_of_a_number * tensor.size
            written = sets[:, tensor.writer] if tensor.writer is not None else np.zeros(len(sets), bool)
            read = sets[:, tensor.readers]
            to_int8 = written & (~read.all(axis=1) | tensor.given_out)
            to_float = ~written & read.any(axis=1)
            total = total + (to_int8 | to_float) * conversion
        return total

    def cheapest(self, noise: float, start: np.ndarray) -> np.ndarray | None:
        """The cheapest set that was found to have at most this noise; None if no set has.

        From `start` on, the run of neighbours that spares most noise for its time is added, again and again. Of all
        runs that would have reached the goal on the way, the cheapest is taken.
        """
        runs = self._runs()
        current, reaching = start, []
        while True:
            sets = runs | current
            found, seconds = self.noise(sets), self.seconds(sets)
            enough = np.flatnonzero(found <= noise)
            if len(enough):
                best = enough[seconds[enough].argmin()]
                reaching.append((seconds[best], sets[best]))
            now, spent = self.noise(current[None])[0], self.seconds(current[None])[0]
            if now <= noise or not (found < now).any():
                break
            longer = np.maximum(seconds - spent, LEAST_COST * self.costs.in_int8.sum())
            current = sets[((now - found) / longer).argmax()]
        return min(reaching, key=lambda each: each[0])[1] if reaching else None

    def _runs(self) -> np.ndarray:
        """Neighbours in order of execution, besides no units and all of them: bool (runs, units)."""
        count = len(self.units)
        index = np.arange(count)
        spans = [
            (index >= first) & (index < first + length)
            for first in range(count)
            for length in range(1, min(LONGEST_RUN, count - first) + 1)
        ]
        return np.array([np.zeros(count, bool), *spans, np.ones(count, bool)])


@dataclass(frozen=True)
class _Tensor:
    """What a unit gives to others: its numbers, who writes it (nobody: an input) and who reads it."""

    size: int
    writer: int | None
    readers: list[int]
    given_out: bool


def _tensors(graph: Graph, home: Mapping[str, int]) -> list[_Tensor]:
    result = []
    for name, readers in graph.consumers().items():
        writer = home.get(name)
        others = sorted({home[reader.name] for reader in readers} - {writer})
        if others:
            size = int(np.prod(graph.operations[name].shape))
            result.append(_Tensor(size, writer, others, name in graph.outputs))
    result += [
        _Tensor(int(np.prod(graph.operations[name].shape)), home.get(name), [], True)
        for name in set(graph.outputs) - {*graph.consumers()}
    ]
    return result


def _writers_and_readers(graph: Graph, name: str) -> set[str]:
    """Operations that must be in float so that a tensor is nowhere in 8 bits; none if that cannot be.

    The tensor's scale goes on through operations that keep it, up to those that do not.
    """
    readers = graph.consumers()
    reached, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each in reached:
            continue
        reached.add(each)
        if graph.operations[each].kind == "input" or each in graph.outputs:
            return set()
        waiting += [reader.name for reader in readers[each] if reader.traits.same_scale]
    return reached | {reader.name for each in reached for reader in readers[each]}
