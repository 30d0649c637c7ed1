"""Which published checkpoint a constructor's arguments ask for."""

from __future__ import annotations

from keras_classics.arguments import channel_axis, sides
from keras_classics.errors import InputError
from keras_classics.pretrained.catalog import Arguments, Checkpoint, named, published_weights


def select(model: str, weights: str, passed: Arguments, defaults: Arguments) -> Checkpoint:
    """The checkpoint called `weights` that needs the least change to a constructor's defaults.

    Among several resolutions it is the one nearest to the input.

    Args:
        model: its name in the registry.
        weights: a name of published weights.
        passed: the arguments that the caller gave, by name.
        defaults: those of the constructor.

    Raises:
        ValueError: there is no such checkpoint, or none for the arguments given; the message names
            a call that works.
    """
    shape = passed.get("input_shape")
    height_width = sides(shape) if isinstance(shape, tuple | list) and len(shape) == 3 else ()

    def cost(checkpoint: Checkpoint) -> tuple[int, int, int]:
        changes = sum(defaults[argument] != value for argument, value in checkpoint.arguments.items())
        crop = checkpoint.preprocessing.crop
        distance = max((abs(crop - side) for side in height_width if side), default=-crop)
        return len(checkpoint.contradictions(passed)), changes, distance

    chosen = min(named(model, weights), key=cost)
    if chosen.contradictions(passed):
        raise InputError(_contradiction(model, weights, chosen, passed))
    _check_channels(model, weights, defaults | chosen.arguments | passed)
    return chosen


def _contradiction(model: str, weights: str, wanted: Checkpoint, passed: Arguments) -> str:
    """One line: what the weights need, and the call nearest to the one made that works."""
    odd = wanted.contradictions(passed)
    refused = {argument: passed[argument] for argument in odd}
    works = next((checkpoint for checkpoint in published_weights(model) if not checkpoint.contradictions(passed)), None)
    call = f"{_listed(refused)}, weights={works.name!r}" if works else f"{_listed(odd)}, weights={weights!r}"
    return (
        f"the {weights!r} weights of {model} need {_listed(odd)}, given {_listed(refused)}; "
        f"create_model({model!r}, {call}) works"
    )


def _listed(arguments: Arguments) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _check_channels(model: str, weights: str, arguments: Arguments) -> None:
    """Refuse another first layer than the published one."""
    shape = arguments["input_shape"]
    channels = shape[channel_axis() - 1] if isinstance(shape, tuple | list) and len(shape) == 3 else 3
    if channels != 3:
        raise InputError(f"the {weights!r} weights of {model} take 3 channels (RGB), not {channels}")
