"""The same samples, however somebody holds them."""

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from export import InputError
from export.data.samples import PartImages
from export.data.sources import Samples, read
from keras_classics.datasets.parts import Dataset

COUNT = 10
IMAGES = np.arange(COUNT * 12, dtype=np.float32).reshape(COUNT, 2, 3, 2)
VECTORS = np.arange(COUNT * 5, dtype=np.float32).reshape(COUNT, 5)
LABELS = np.arange(COUNT) % 3
ONE = (["image"], [(2, 3, 2)])
TWO = (["image", "vector"], [(2, 3, 2), (5,)])


class Sequence(keras.utils.PyDataset):
    """Batches of 4, with labels."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = slice(4 * index, 4 * index + 4)
        return IMAGES[chosen], LABELS[chosen]


def tensorflow(*arrays: Any) -> Any:
    return pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])


def torch() -> ModuleType:
    return pytest.importorskip("torch")


def torch_dataset() -> Any:
    arrays = [torch().from_numpy(each) for each in (IMAGES, LABELS)]
    return pytest.importorskip("torch.utils.data").TensorDataset(*arrays)


def grain_pairs() -> Any:
    grain = pytest.importorskip("grain")
    return grain.MapDataset.source(list(zip(IMAGES, LABELS, strict=True)))


PAIRS: dict[str, Callable[[], Any]] = {
    "tf.data, batched": lambda: tensorflow(IMAGES, LABELS).batch(4),
    "tf.data, single samples": lambda: tensorflow(IMAGES, LABELS),
    "tf.data, dicts": lambda: tensorflow({"image": IMAGES}, LABELS).batch(4),
    "tf.data, one dict": lambda: tensorflow({"image": IMAGES, "label": LABELS}).batch(3),
    "torch DataLoader": lambda: pytest.importorskip("torch.utils.data").DataLoader(torch_dataset(), batch_size=4),
    "torch Dataset": torch_dataset,
    "grain MapDataset": grain_pairs,
    "grain IterDataset": lambda: grain_pairs().to_iter_dataset().batch(4),
    "PyDataset": Sequence,
    "generator": lambda: zip(IMAGES, LABELS, strict=True),
    "generator function": lambda: lambda: ((IMAGES[i : i + 4], LABELS[i : i + 4]) for i in range(0, COUNT, 4)),
    "with weights": lambda: ((IMAGES[i : i + 5], LABELS[i : i + 5], np.ones(5)) for i in (0, 5)),
    "arrays": lambda: (IMAGES, LABELS),
    "nested lists": lambda: (IMAGES.tolist(), LABELS.tolist()),
    "torch tensors": lambda: (torch().from_numpy(IMAGES).requires_grad_(), torch().from_numpy(LABELS)),
    "dict and array": lambda: ({"image": IMAGES}, LABELS),
}


@pytest.mark.parametrize("case", PAIRS)
def test_samples_and_targets(case: str) -> None:
    (images,), targets = read(PAIRS[case](), *ONE, "evaluation", 100, pairs=True)
    np.testing.assert_array_equal(images[:], IMAGES)
    np.testing.assert_array_equal(targets, LABELS)


SAMPLES: dict[str, Callable[[], Any]] = PAIRS | {
    "array": lambda: IMAGES,
    "uint8": lambda: IMAGES.astype(np.uint8),
    "list of arrays": lambda: [IMAGES],
    "samples as lists": lambda: IMAGES.tolist(),
    "jax": lambda: pytest.importorskip("jax.numpy").asarray(IMAGES),
    "generator of arrays": lambda: iter(IMAGES),
    "generator of lists": lambda: ([image[None]] for image in IMAGES),  # as the TFLite converter takes them
    "tf.data of arrays": lambda: tensorflow(IMAGES).batch(3),
}


@pytest.mark.parametrize("case", [case for case in SAMPLES if case not in ("arrays", "nested lists", "torch tensors",
                                                                          "dict and array")])  # fmt: skip
def test_samples_alone(case: str) -> None:
    (images,), _ = read(SAMPLES[case](), *ONE, "calibration", 100)
    np.testing.assert_array_equal(images[:], IMAGES)


TWO_INPUTS: dict[str, Callable[[], Any]] = {
    "tuple": lambda: (IMAGES, VECTORS),
    "list": lambda: [IMAGES, VECTORS],
    "dict": lambda: {"vector": VECTORS, "image": IMAGES},
    "generator of tuples": lambda: zip(IMAGES, VECTORS, strict=True),
    "generator of pairs": lambda: (((a, b), 0) for a, b in zip(IMAGES, VECTORS, strict=True)),
    "generator of lists in pairs": lambda: (([a[None], b[None]], [0]) for a, b in zip(IMAGES, VECTORS, strict=True)),
    "tf.data of dicts": lambda: tensorflow({"vector": VECTORS, "image": IMAGES}).batch(4),
}


@pytest.mark.parametrize("case", TWO_INPUTS)
def test_several_inputs(case: str) -> None:
    (images, vectors), _ = read(TWO_INPUTS[case](), *TWO, "calibration", 100)
    np.testing.assert_array_equal(images[:], IMAGES)
    np.testing.assert_array_equal(vectors[:], VECTORS)


def test_targets_of_several_outputs_keep_their_names() -> None:
    elements = ((IMAGES[i : i + 5], {"class": LABELS[i : i + 5], "box": VECTORS[i : i + 5]}) for i in (0, 5))
    _, targets = read(elements, *ONE, "evaluation", 7, pairs=True)
    np.testing.assert_array_equal(targets["class"], LABELS[:7])
    np.testing.assert_array_equal(targets["box"], VECTORS[:7])


def test_what_has_no_end_is_read_up_to_a_count() -> None:
    def endless():
        return (IMAGES[number % COUNT] for number in itertools.count())

    for source in (endless, endless(), tensorflow(IMAGES, LABELS).repeat().batch(4)):
        (images,), _ = read(source, *ONE, "calibration", 13)
        assert len(images) == 13
    (images,), _ = read(Samples(endless, 3), *ONE, "calibration", 100)
    np.testing.assert_array_equal(images, IMAGES[:3])
    _, targets = read(Samples((IMAGES, LABELS), 4), *ONE, "evaluation", 100, pairs=True)
    assert len(targets) == 4
    assert len(read(np.zeros((700, 2, 3, 2)), *ONE, "calibration", 500)[0][0]) == 700  # in memory: taken whole


def test_images_of_a_part_stay_on_disk(mnist: Dataset) -> None:
    given = PartImages(mnist.calibration, lambda pixels: pixels)
    (images,), _ = read(given, ["image"], [(32, 32, 1)], "calibration", 5)
    assert images is given


def broken():
    yield IMAGES[0]
    raise OSError("the disk is gone")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "channels first": (lambda: IMAGES.transpose(0, 3, 1, 2), r"\(2, 2, 3\) and .* \(2, 3, 2\); move the channels"),
    "shape": (lambda: iter(VECTORS), r"arrays of shape \(5,\) and the model takes 'image' \(2, 3, 2\)"),
    "sizes": (lambda: iter([IMAGES, IMAGES[:, :1]]), "gives samples of different shapes; give all the same"),
    "ragged": (lambda: [[1, 2], [3]], "that is no array"),
    "objects": (lambda: np.array([None, {}], object), "values of type object; give arrays of numbers"),
    "text": (lambda: "photos/", "values of type <U7; give arrays of numbers"),
    "a number": (lambda: 3, "holds single numbers"),
    "keys": (lambda: iter([{"picture": IMAGES[0]}]), "dicts of picture and the model has the input 'image'; name them"),
    "empty": (lambda: iter([]), "gives no samples; one that was read before must be made anew"),
    "fails": (broken, "fails while it is read: OSError: the disk is gone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(case: str) -> None:
    make, message = REFUSED[case]
    source = make if case == "fails" else make()
    with pytest.raises(InputError, match=message) as caught:
        read(source, *ONE, "calibration", 100)
    assert "\n" not in str(caught.value)


def test_targets_must_be_there() -> None:
    with pytest.raises(InputError, match="gives samples without targets; let each element be a tuple"):
        read(iter(IMAGES), *ONE, "evaluation", 100, pairs=True)
    with pytest.raises(InputError, match="evaluation is ndarray; give \\(samples, targets\\), or a dataset"):
        read(IMAGES, *ONE, "evaluation", 100, pairs=True)
    with pytest.raises(InputError, match="single arrays and the model has 2 inputs: image, vector"):
        read(iter(IMAGES), *TWO, "calibration", 100)
