"""A model of sequences as a file of one step, whose states go in and come out."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

from export import FineTuning, InputError, Worker, export_tflite
from export.frontend.streaming import streamed
from export.tflite import main

STEPS = 12


def walks(count: int, *shape: int) -> np.ndarray:
    """Sequences whose steps go on from each other, as those of sounds and sensors do."""
    steps = np.random.default_rng(0).normal(size=(count, STEPS, *shape))
    return (np.cumsum(steps, axis=1) / 3).astype(np.float32)


def spotter() -> keras.Model:
    """What listens for keywords: convolutions in time, recurrent layers, and a score."""
    keras.utils.set_random_seed(0)
    sound = layers.Input((STEPS, 6), name="sound")
    x = layers.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="relu", name="front")(sound)
    x = layers.LayerNormalization()(x)
    x = layers.LSTM(5, return_sequences=True, name="lstm")(x)
    x = layers.TimeDistributed(layers.Dense(7))(x)
    x = layers.GRU(4, name="gru")(x)
    return keras.Model(sound, layers.Dense(3, name="word")(x))


def last_of_stream(path: Path, sequence: np.ndarray, name: str) -> np.ndarray:
    """What the file gives at the last step, its states fed back as they came out."""
    interpreter = Interpreter(str(path))
    step = interpreter.get_signature_runner("serving_default")
    states = {
        each: np.full(detail["shape"], detail["quantization"][1], detail["dtype"])
        for each, detail in step.get_input_details().items()
        if each != "sound"
    }
    scale, zero = step.get_input_details()["sound"]["quantization"]
    outputs: dict[str, Any] = {}
    for values in sequence:
        given = np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8) if scale else values
        outputs = step(sound=given[None, None], **states)
        states = {each: outputs[f"{each}_next"] for each in states}
    scale, zero = step.get_output_details()[name]["quantization"]
    return (outputs[name].astype(np.float32) - zero) * (scale or 1)


def test_the_file_run_step_by_step_gives_what_the_model_gives_for_the_sequence(tmp_path: Path, worker: Worker) -> None:
    model, sequences = spotter(), walks(4, 6)
    expected = np.asarray(ops.convert_to_numpy(model(sequences)))
    report = export_tflite(model, tmp_path / "step.tflite", streaming=True, worker=worker)
    assert report.streaming["relative_rms"] <= 1e-5
    assert report.output["name"] == "word"
    assert [each["name"] for each in report.inputs] == ["sound", "front_past", "lstm_h", "lstm_c", "gru_h"]
    assert report.inputs[0]["shape"] == [1, 1, 6]
    found = np.concatenate([last_of_stream(tmp_path / "step.tflite", each, "word") for each in sequences])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_in_8_bits_states_come_out_at_the_scale_at_which_they_go_in(tmp_path: Path, worker: Worker) -> None:
    model, sequences = spotter(), walks(16, 6)
    options: dict[str, Any] = {"streaming": True, "calibration": sequences, "ptq": "plain", "worker": worker}
    report = export_tflite(model, tmp_path / "step.tflite", "int8", **options)
    assert report.fully_integer
    assert report.streaming["sqnr_db"] > 20
    scales = {each["name"]: (each["scale"], each["zero_point"]) for each in [*report.inputs, *report.outputs]}
    states = [each["name"] for each in report.inputs[1:]]
    assert all(scales[name] == scales[f"{name}_next"] for name in states)
    expected = np.asarray(ops.convert_to_numpy(model(sequences[:4])))
    found = np.concatenate([last_of_stream(tmp_path / "step.tflite", each, "word") for each in sequences[:4]])
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


class Doubled(layers.Layer):
    """A layer with a recurrent one inside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.memory = layers.SimpleRNN(3, return_sequences=True, name="memory")

    def call(self, x: Any) -> Any:
        return self.memory(x * 2) + 1


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.memory, self.head = layers.GRU(4, name="memory"), layers.Dense(2)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.memory(x) * (0 if training else 1))


STREAMED = {
    "states given out": lambda x: layers.LSTM(3, return_state=True, name="lstm")(x),
    "two cells": lambda x: layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], return_sequences=True)(x),
    "inside a layer": lambda x: Doubled()(x),
    "inside a model": lambda x: keras.Sequential([layers.Input((None, 4)), layers.GRU(3)])(x),
    "images": lambda x: layers.ConvLSTM1D(2, 3, padding="same")(layers.TimeDistributed(layers.Reshape((4, 1)))(x)),
    "added up": lambda x: x + layers.SimpleRNN(4, return_sequences=True)(layers.LayerNormalization()(x)),
    "Lambda": lambda x: layers.GRU(3)(layers.Lambda(lambda t: ops.tanh(t) * 2)(x)),
}


@pytest.mark.backends
@pytest.mark.parametrize("case", STREAMED)
def test_steps_of_a_stream_are_those_of_the_sequence(case: str) -> None:
    sequence = layers.Input((None if case == "inside a model" else STEPS, 4), name="sequence")
    model = keras.Model(sequence, STREAMED[case](sequence))
    stream, _ = streamed(model)
    samples = walks(3, 4)
    _, found = stream.run([samples])
    expected = keras.tree.flatten(model(samples))
    for index, in_steps in enumerate(stream.in_steps):
        steps = [each[index] for each in found]
        joined = np.concatenate(steps, axis=1) if in_steps else steps[-1]
        np.testing.assert_allclose(joined, ops.convert_to_numpy(expected[index]), atol=1e-5)


def test_subclassed_models_and_indices_stream() -> None:
    model = Subclassed()
    stream, whole = streamed(model, (STEPS, 4))
    samples = walks(2, 4)
    np.testing.assert_allclose(stream.run([samples])[1][-1][0], ops.convert_to_numpy(whole(samples)), atol=1e-5)
    ids = layers.Input((None,), dtype="int32", name="ids")
    words = keras.Model(ids, layers.GRU(3, name="gru")(layers.Embedding(9, 4)(ids)))
    stream, _ = streamed(words)
    text = np.random.default_rng(0).integers(0, 9, (2, 5))
    np.testing.assert_allclose(stream.run([text])[1][-1][0], ops.convert_to_numpy(words(text)), atol=1e-5)
    assert stream.states == ["gru_h"]


def of_sequences(layer: Any) -> keras.Model:
    sequence = layers.Input((STEPS, 4))
    return keras.Model(sequence, layer(sequence))


REFUSED = {
    "both ways": (layers.Bidirectional(layers.GRU(3), name="both"), r"'both/.*' \(GRU\) begins at the last step"),
    "masked": (lambda x: layers.GRU(3)(layers.Masking()(x)), "takes masked steps, which a stream does not feed"),
    "first state": (lambda x: layers.GRU(4)(x, initial_state=x[:, 0]), "needs other steps of the sequence"),
    "given state": (
        lambda x: layers.GRU(4, name="gru")(x, initial_state=layers.GRU(4)(x)),
        "'gru' .* gets its first state from the model",
    ),
    "all steps": (layers.GlobalAveragePooling1D(name="pool"), "'pool.*' .* needs other steps of the sequence"),
    "attention": (lambda x: layers.GRU(2)(layers.MultiHeadAttention(1, 2)(x, x)), "needs other steps"),
    "strides": (layers.Conv1D(3, 3, 2, padding="causal"), "skips steps"),
    "no state": (layers.Dense(3), "has no recurrent layer and no causal convolution"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_more_than_a_step_is_refused(case: str) -> None:
    layer, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        streamed(of_sequences(layer))
    assert "\n" not in str(caught.value)


def test_what_does_not_go_with_streaming_is_refused(tmp_path: Path) -> None:
    model, sequences = spotter(), walks(4, 6)
    training = FineTuning.on_arrays(sequences, None, batch_size=2, epochs=1, distill=True)
    for options, message in (
        ({"mode": "int8", "calibration": sequences, "qat": training}, "qat= trains on whole sequences"),
        ({"evaluation": (sequences, np.zeros(4))}, "evaluation= is of whole sequences"),
        ({"mode": "int8"}, "int8 needs representative data"),
    ):
        with pytest.raises(InputError, match=message):
            export_tflite(model, tmp_path / "step.tflite", streaming=True, **options)
    assert not list(tmp_path.iterdir())


def test_the_command_streams_a_keras_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spotter().save(tmp_path / "spotter.keras")
    main([str(tmp_path / "spotter.keras"), "--streaming", "--output", str(tmp_path)])
    assert Interpreter(str(tmp_path / "spotter-float32.tflite")).get_signature_list()["serving_default"]["inputs"]
    assert main(["lenet5", "--streaming", "--output", str(tmp_path)]) == 2
    assert "--streaming takes a .keras file of a model of sequences" in capsys.readouterr().err
