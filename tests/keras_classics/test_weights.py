"""`weights=` of the constructors: our own files, those of others, and files that do not fit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import runpy
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics import alexnet, mobilenet_v2
from keras_classics.arguments import Pooling
from keras_classics.errors import InputError
from keras_classics.pretrained import catalog, conversion
from keras_classics.weights import FreshClassifierWarning, load_model

REFERENCE = Path(__file__).parents[1] / "reference"
RECORDER = runpy.run_path(str(REFERENCE / "record_torchvision.py"))
SMALL = {"input_shape": (32, 32, 3), "classes": 7, "alpha": 0.35}


def refusal(call: Callable[..., object], *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def torchvision_state(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A state dict with the names and shapes of torchvision's network, and its recorded logits."""
    with np.load(REFERENCE / "torchvision.npz", allow_pickle=False) as records:
        shapes = json.loads(str(records[f"{name}/shapes"]))
        state = RECORDER["random_weights"]({key: tuple(shape) for key, shape in shapes.items()})
        return state, records[f"{name}/logits"]


def saved(state: Mapping[str, np.ndarray], path: Path, beside: bytes = b"") -> Path:
    """Write a state dict as `torch.save` does, without PyTorch.

    Args:
        beside: the pickled key and value of what else is in a checkpoint; the tensors then are its "state_dict".
    """

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def numbers(values: Iterable[int]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    with zipfile.ZipFile(path, "w") as archive:
        pickled = b"\x80\x02}" + (beside + b"s" + text("state_dict") + b"}" if beside else b"")
        for key, (name, value) in enumerate(state.items()):
            value = np.ascontiguousarray(value)
            kind = {np.dtype(np.float32): b"Float", np.dtype(np.int64): b"Long"}[value.dtype]
            strides = [stride // value.itemsize for stride in value.strides]
            storage = b"ctorch\n" + kind + b"Storage\n" + text(str(key)) + text("cpu") + number(value.size)
            tensor = b"(" + text("storage") + storage + b"tQ" + number(0) + numbers(value.shape) + numbers(strides)
            pickled += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + tensor + b"\x89}tRs"
            archive.writestr(f"archive/data/{key}", value.tobytes())
        archive.writestr("archive/data.pkl", pickled + (b"s." if beside else b"."))
        archive.writestr("archive/version", b"3\n")
    return path


def test_the_writer_of_these_tests_writes_what_pytorch_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3), "b": np.zeros(70000, np.float32)}
    loaded = torch.load(saved(state, tmp_path / "state.pth"), weights_only=True)
    assert list(loaded) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(loaded[name].numpy(), value)


@pytest.fixture
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return kc.MobileNetV2(**SMALL)


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_our_own_files_come_back(small: keras.Model, file: str, tmp_path: Path) -> None:
    (small.save if file.endswith(".keras") else small.save_weights)(tmp_path / file)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = kc.MobileNetV2(**SMALL, weights=tmp_path / file)
    for ours, theirs in zip(loaded.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="does not fit"):
        kc.MobileNetV2(**SMALL | {"alpha": 0.5}, weights=str(tmp_path / file))


@pytest.mark.parametrize("name", [pytest.param("mobilenet_v2", marks=pytest.mark.backends), "googlenet"])
def test_state_dicts_come_with_what_they_need_of_the_constructor(name: str, tmp_path: Path) -> None:
    state, logits = torchvision_state(name)
    model = kc.create_model(
        name, weights=saved(state, tmp_path / "theirs.pth"), input_shape=(64, 64, 3), classifier_activation=None
    )
    assert model.count_params() == sum(value.size for key, value in state.items() if used(key))
    if name == "mobilenet_v2":
        ours = keras.ops.convert_to_numpy(model(RECORDER["random_input"](64)))
        assert np.abs(ours - logits).max() <= 1e-4 * np.abs(logits).max()


def used(key: str) -> bool:
    return not key.endswith("num_batches_tracked") and not key.startswith("aux")


def test_arguments_win_over_the_conventions_of_a_file(tmp_path: Path) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    model = kc.MobileNetV2((64, 64, 3), weights=saved(state, tmp_path / "theirs.pth"), padding="same", epsilon=1e-3)
    assert model.get_layer("stem_norm").epsilon == 1e-3
    assert "stem_pad" not in [layer.name for layer in model.layers]


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_a_model_without_a_top_takes_weights_with_one(pooling: Pooling, tmp_path: Path) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    path = saved(state, tmp_path / "theirs.pth")
    model = kc.MobileNetV2((64, 64, 3), classes=5, weights=path, include_top=False, pooling=pooling)
    np.testing.assert_array_equal(
        model.get_layer("last_norm").get_weights()[0], state["features.18.1.weight"].astype(np.float32)
    )
    without_top = {key: value for key, value in state.items() if not key.startswith("classifier")}
    conversion.from_torchvision(model, mobilenet_v2.torchvision_names(), without_top)


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (lambda state: state.pop("features.3.conv.0.0.weight"), "lack features.3.conv.0.0.weight,"),
        (lambda state: state.update(extra=np.zeros(2)), "also hold extra,"),
        (lambda state: state.update({"classifier.2.bias": np.zeros(2)}), "also hold classifier.2.bias,"),
        (
            lambda state: state.update({"features.0.1.weight": np.ones(31, np.float32)}),
            "features.0.1.weight is (31,), which does not fit (32,) of stem_norm in mobilenet_v2",
        ),
        (
            lambda state: state.update({"features.0.0.weight": np.ones(32, np.float32)}),
            "features.0.0.weight is (32,), which does not fit (3, 3, 3, 32) of stem_conv",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(
    change: Callable[[dict[str, np.ndarray]], object], mend: str
) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    change(state)
    model = kc.MobileNetV2((32, 32, 3))
    before = model.get_weights()
    assert mend in refusal(conversion.from_torchvision, model, mobilenet_v2.torchvision_names(), state)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_what_follows_a_flatten_is_permuted(data_format: str, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: keras.config.set_image_data_format("channels_last"))
    keras.config.set_image_data_format(data_format)
    shape = (127, 95, 3) if data_format == "channels_last" else (3, 127, 95)
    model = kc.AlexNet(shape, classes=2, variant="one_weird_trick")
    with np.load(REFERENCE / "torchvision.npz", allow_pickle=False) as records:
        shapes = json.loads(str(records["alexnet/shapes"]))
    state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if "classifier" not in name}
    for number, (units, inputs) in {1: (4096, 256 * 3 * 2), 4: (4096, 4096), 6: (2, 4096)}.items():
        state[f"classifier.{number}.weight"] = np.zeros((units, inputs), np.float32)
        state[f"classifier.{number}.bias"] = np.zeros(units, np.float32)
    channel, row, column = 200, 2, 1
    state["classifier.1.weight"][7, (channel * 3 + row) * 2 + column] = 1
    names = alexnet.torchvision_names()
    conversion.from_torchvision(model, names, state)
    kernel = model.get_layer("fc6").get_weights()[0]
    assert kernel[(row * 2 + column) * 256 + channel, 7] == 1
    assert kernel.sum() == 1
    state["classifier.1.weight"] = np.zeros((4096, 256 * 5 + 1), np.float32)
    assert "which does not fit (1536, 4096) of fc6" in refusal(
        conversion.from_torchvision, model, alexnet.torchvision_names(), state
    )


def test_weights_of_other_classes_leave_the_classifier_alone_fresh(tmp_path: Path) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    path = saved(state, tmp_path / "theirs.pth")
    keras.utils.set_random_seed(0)
    fresh = kc.MobileNetV2((64, 64, 3), classes=5).get_layer("predictions").get_weights()
    keras.utils.set_random_seed(0)
    with pytest.warns(FreshClassifierWarning, match=r"theirs\.pth tells other classes apart .* has to be trained"):
        model = kc.MobileNetV2((64, 64, 3), classes=5, weights=path)
    for ours, initial in zip(model.get_layer("predictions").get_weights(), fresh, strict=True):
        np.testing.assert_array_equal(ours, initial)
    np.testing.assert_array_equal(model.get_layer("last_norm").get_weights()[0], state["features.18.1.weight"])
    del state["classifier.1.weight"], state["classifier.1.bias"]
    with pytest.warns(FreshClassifierWarning):
        kc.MobileNetV2((64, 64, 3), classes=5, weights=saved(state, tmp_path / "headless.pth"))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_other_files_leave_it_fresh_too(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"theirs{suffix}"
    if suffix == ".keras":
        kc.MobileNetV2((32, 32, 3), classes=7).save(path)
    else:
        keras.applications.MobileNetV2((224, 224, 3), weights=None).save_weights(path)
    with pytest.warns(FreshClassifierWarning):
        model = kc.MobileNetV2((32, 32, 3), classes=5, weights=path)
    assert model.output_shape == (None, 5)
    if suffix == ".keras":
        saved_again = kc.MobileNetV2((32, 32, 3), classes=7, weights=path)
        np.testing.assert_array_equal(
            model.get_layer("last_norm").get_weights()[2], saved_again.get_layer("last_norm").get_weights()[2]
        )


def test_a_classifier_is_fresh_only_where_classes_are_asked_for(tmp_path: Path) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    state |= {"classifier.1.weight": np.zeros((5, 1280), np.float32), "classifier.1.bias": np.zeros(5, np.float32)}
    path = saved(state, tmp_path / "theirs.pth")
    assert "classifier.1.weight is (5, 1280), which does not fit (1280, 1000)" in refusal(
        kc.MobileNetV2, (64, 64, 3), weights=path
    )


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    path = saved(state, tmp_path / "theirs.pth")
    assert "the weights lack" in refusal(kc.ResNet18, (64, 64, 3), weights=path)
    assert "PyTorch has no lenet5" in refusal(kc.LeNet5, weights=path)
    path = tmp_path / "theirs.h5"
    path.touch()
    assert "keras.applications has no resnet18" in refusal(kc.ResNet18, (64, 64, 3), weights=path)


@pytest.mark.parametrize("suffix", [".pth", ".h5", ".weights.h5", ".keras"])
@pytest.mark.parametrize(
    "content",
    [b"", b"not weights at all", b"\x89HDF\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(50)],
    ids=["empty", "text", "hdf5", "zip"],
)
def test_files_that_are_something_else_are_one_line(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    assert str(path) in refusal(kc.MobileNetV2, **SMALL, weights=path)


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_files_cut_short_are_one_line(small: keras.Model, file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    (small.save if file.endswith(".keras") else small.save_weights)(path)
    whole = path.read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(kc.MobileNetV2, **SMALL, weights=path)


def test_an_hdf5_file_of_something_else_is_one_line(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    assert "does not fit" in refusal(kc.MobileNetV2, **SMALL, weights=tmp_path / "other.h5")


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    assert "is not a file" in refusal(kc.MobileNetV2, weights=tmp_path / "none.pth")
    assert "unknown weights of mobilenet_v2 'weights.npz'" in refusal(kc.MobileNetV2, weights="weights.npz")


def test_published_weights_by_name_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, logits = torchvision_state("mobilenet_v2")
    content = saved(state, tmp_path / "theirs.pth").read_bytes()
    file = tmp_path / f"mobilenet_v2-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)
    row = dataclasses.replace(catalog.published_weights("mobilenet_v2")[0], url=file.as_uri())
    monkeypatch.setattr(catalog, "CHECKPOINTS", (row,))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    model = kc.create_model(
        "mobilenet_v2", weights="imagenet", input_shape=(64, 64, 3), classifier_activation=None, name="mine"
    )
    ours = keras.ops.convert_to_numpy(model(RECORDER["random_input"](64)))
    assert np.abs(ours - logits).max() <= 1e-4 * np.abs(logits).max()
    assert (tmp_path / "home" / "models" / f"{file.name}.sha256").exists()
    assert model.name == "mine"


def test_keras_files_open_in_safe_mode(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "unsafe.keras")
    assert "cannot be read as a Keras model" in refusal(load_model, tmp_path / "unsafe.keras")


BESIDE = {
    "score": b"X\x0a\x00\x00\x00best_prec1G@V\xcc\xcc\xcc\xcc\xcc\xcd",
    "settings": b"X\x04\x00\x00\x00argscargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x01sb",
    "optimizer": b"X\x09\x00\x00\x00optimizer}X\x05\x00\x00\x00state}K\x00X\x04\x00\x00\x00stepss",
    "numpy": (
        b"X\x04\x00\x00\x00bestcnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00f8K\x00K\x01tR"
        b"X\x01\x00\x00\x00atR"
    ),
}
"""What training scripts save beside the weights, as pickle has it."""


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("suffix", [".pth.tar", ".th", ".pt", ".ckpt"])
def test_checkpoints_of_a_training_are_read_without_what_is_beside_the_weights(
    beside: str, suffix: str, tmp_path: Path
) -> None:
    state, _ = torchvision_state("mobilenet_v2")
    wrapped = {f"module.{name}": value for name, value in state.items()}
    model = kc.MobileNetV2((32, 32, 3), weights=saved(wrapped, tmp_path / f"best{suffix}", BESIDE[beside]))
    np.testing.assert_array_equal(model.get_layer("last_norm").get_weights()[0], state["features.18.1.weight"])


def test_code_beside_the_weights_is_refused(tmp_path: Path) -> None:
    beside = b"X\x01\x00\x00\x00acposix\nsystem\n(X\x04\x00\x00\x00exittR"
    path = saved({"a": np.zeros(2, np.float32)}, tmp_path / "w.pth", beside)
    assert "it asks for posix.system" in refusal(kc.MobileNetV2, weights=path)


@pytest.mark.parametrize("classifier", ["classifier.1", "classifier"])
def test_older_names_of_mobilenet_v2_give_the_same_network(classifier: str, tmp_path: Path) -> None:
    state, logits = torchvision_state("mobilenet_v2")
    older = mobilenet_v2.flat_names(classifier)
    renamed = {theirs: older[ours] for ours, theirs in mobilenet_v2.torchvision_names().items()}
    assert renamed["features.2.conv.2"] == "features.2.conv.6"
    assert renamed["features.1.conv.1"] == "features.1.conv.3"
    flat = {}
    for name, value in state.items():
        layer, _, variable = name.rpartition(".")
        flat[f"{renamed[layer]}.{variable}"] = value
    model = kc.MobileNetV2((64, 64, 3), weights=saved(flat, tmp_path / "w.pt"), classifier_activation=None)
    ours = keras.ops.convert_to_numpy(model(RECORDER["random_input"](64)))
    assert np.abs(ours - logits).max() <= 1e-4 * np.abs(logits).max()


@pytest.mark.backends
@pytest.mark.parametrize(("option", "classifier"), [("A", "linear"), ("B", "linear"), ("B", "fc")])
def test_cifar_resnets_of_pytorch_compute_the_same(option: str, classifier: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="`make test-backends` has PyTorch")
    projection = "shortcut" if classifier == "linear" else "downsample"
    theirs = _cifar_resnet(torch, option, classifier, projection)
    torch.save({"state_dict": torch.nn.DataParallel(theirs).state_dict(), "best_prec1": 91.25}, tmp_path / "r.th")
    ours = kc.ResNet20(weights=tmp_path / "r.th", classifier_activation=None)
    images = np.random.default_rng(0).normal(0, 1, (2, 32, 32, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(images)), expected, rtol=1e-3, atol=1e-4)


def _cifar_resnet(torch: Any, option: str, classifier: str, projection: str) -> Any:
    """He et al. 2015, section 4.2, with 20 layers, in inference and with random statistics."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.stride, self.zeros = stride, (outputs - inputs) // 2
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            if option == "B" and stride > 1:
                convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                setattr(self, projection, nn.Sequential(convolution, nn.BatchNorm2d(outputs)))

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            if hasattr(self, projection):
                x = getattr(self, projection)(x)
            elif self.stride > 1:
                x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))
            return torch.relu(x + y)

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
            widths = (16, 16, 32, 64)
            for stage in (1, 2, 3):
                first = Block(widths[stage - 1], widths[stage], 1 if stage == 1 else 2)
                rest = [Block(widths[stage], widths[stage], 1) for _ in range(2)]
                setattr(self, f"layer{stage}", nn.Sequential(first, *rest))
            setattr(self, classifier, nn.Linear(64, 10))

        def forward(self, x: Any) -> Any:
            x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
            return getattr(self, classifier)(x.mean(dim=(2, 3)))

    torch.manual_seed(0)
    network = ResNet().eval()
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return network
