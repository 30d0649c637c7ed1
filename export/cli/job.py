"""What the command line asked for, made ready for `export_tflite`: the model, its data, its input range."""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.data.array_files import read_arrays
from export.data.input_range import InputRange, recorded_range
from export.data.range_evidence import derived_range, range_of_photos
from export.data.samples import PartImages, balanced, smooth_images
from export.data.scale_check import SAMPLES
from export.errors import InputError
from export.frontend.given_model import given_model
from export.frontend.opening import with_fixed_shapes
from export.frontend.read import read_graph
from export.options import INTEGER_MODES, Options, flag, refuse_contradictions
from export.quantization.qat import DISTILLATION_BATCH, FineTuning
from export.quantization.sparsity import Clustering, Pruning
from export.verification.measures import check_name
from export.verification.metrics import output_names
from export.vocabulary import DISTILLATION_STEPS
from keras_classics import preprocessing_for, registry, train
from keras_classics.datasets import data, image_folder
from keras_classics.datasets.parts import Dataset, Shape
from keras_classics.files import replacing, write_json
from keras_classics.pretrained import catalog

DEFAULT_DATA = "mnist"
UNIT_RANGE = InputRange.between(0, 1)
ARRAY_FILES = (".npy", ".npz")
MOST_CALIBRATION_IMAGES = 500
FINE_TUNING_SEED = 1000  # epochs of fine-tuning must not repeat the shuffles and changes of training
PRUNING_EPOCHS = 4
PRUNING_LEARNING_RATE = 2e-3  # chosen on Fashion-MNIST's validation part: what is left must take over
QAT_EPOCHS = 2
CLUSTERING_EPOCHS = 2


@dataclass(frozen=True)
class Job:
    """What `export_tflite` takes."""

    model: keras.Model
    calibration: Any
    evaluation: tuple[Any, Any] | None
    options: Options


def prepare(chosen: argparse.Namespace) -> Job:
    """Load or train the model and read the data.

    Args:
        chosen: what `export.cli.arguments.parser` gives.

    Raises:
        InputError: model, weights or data cannot be used, or data is missing.
    """
    if chosen.import_module:
        _import(chosen.import_module)
    path = Path(chosen.model)
    named = chosen.model in registry.MODELS or not (path.suffix == ".keras" or path.exists())
    refuse_contradictions(chosen, flag)
    if chosen.metric:
        check_name(chosen.metric)
    _check_sources(chosen, named)
    input_range: InputRange | None
    if not named:
        model, dataset = _loaded(path, chosen)
        input_range = recorded_range(path)
    elif chosen.weights is None:
        model, dataset = _trained(chosen)
        input_range = UNIT_RANGE
    else:
        model, dataset = _built(chosen)
        input_range = _published_range(chosen)
    if chosen.input_range:
        input_range = InputRange.parse(chosen.input_range)
    input_range = input_range or _found_range(chosen, model, dataset)
    random_weights = named and chosen.weights == "random"
    options = Options(
        mode=chosen.mode,
        io=chosen.io,
        qat=_quantized_training(chosen, model, dataset, input_range) if chosen.qat else None,
        prune=_pruning(chosen, dataset, input_range) if chosen.prune else None,
        cluster=_clustering(chosen, dataset, input_range) if chosen.cluster else None,
        ptq=chosen.ptq,
        keep_float=chosen.keep_float,
        logits=chosen.logits,
        metric=chosen.metric,
        input_range=input_range.limits if input_range else None,
        max_drop=chosen.max_drop,
        min_sqnr=chosen.min_sqnr,
        mixed=chosen.mixed,
        layers=chosen.layers,
        gate=not (chosen.no_gate or random_weights),
        name=chosen.model if named else path.stem,
    )
    calibration = _calibration(chosen, model, dataset, input_range) if chosen.mode in INTEGER_MODES else None
    return Job(model, calibration, _evaluation(model, dataset, input_range), options)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the others for what is no module's name
        raise InputError(f"--import {name}: {error}; put its folder on PYTHONPATH") from error


def _check_sources(chosen: argparse.Namespace, named: bool) -> None:
    """Data is named by the user, or is the default of a model that is trained here; never another."""
    trained = named and chosen.weights is None
    if named:
        registry.entry(chosen.model)
    elif chosen.weights is not None:
        raise InputError("--weights goes with a model's name; a .keras file has its own")
    if chosen.data and chosen.calibration:
        raise InputError("--data brings its own calibration images; give either --data or --calibration")
    if chosen.distill and not chosen.qat:
        raise InputError("--distill is a way of quantization-aware training; give --qat too")
    if chosen.distill and not (trained or chosen.data or chosen.calibration):
        raise InputError("--distill needs images to train on, with or without labels; give --data or --calibration")
    wanted = [name for name in ("qat", "prune", "cluster") if getattr(chosen, name)]
    if chosen.distill and not chosen.data:
        wanted.remove("qat")
    if wanted and not trained and not chosen.data:
        raise InputError(f"--{wanted[0]} needs labelled images to train on; give --data")
    if chosen.prune_block and (not chosen.prune or "pattern" in chosen.prune):
        raise InputError("--prune-block shapes what --prune SPARSITY makes zero; give that, such as --prune 0.7")
    if chosen.cluster and chosen.cluster < 3:
        raise InputError(f"--cluster {chosen.cluster} is too few; it takes at least 3")
    without_data = not (trained or chosen.data or chosen.calibration or chosen.weights == "random")
    if chosen.mode in INTEGER_MODES and without_data:
        raise InputError(f"{chosen.mode} needs representative images for its ranges; give --data or --calibration")


def _loaded(path: Path, chosen: argparse.Namespace) -> tuple[keras.Model, Dataset | None]:
    if chosen.classes:
        raise InputError("--classes goes with a model's name; a .keras file has its own")
    model = with_fixed_shapes(given_model(path), chosen.input_shape)
    dataset = data.load(chosen.data, _image_shape(model)) if chosen.data else None
    return model, _agreeing(model, dataset, str(path))


def _built(chosen: argparse.Namespace) -> tuple[keras.Model, Dataset | None]:
    """A model by name with given, or random, weights."""
    entry = registry.entry(chosen.model)
    shape = tuple(chosen.input_shape) if chosen.input_shape else None
    dataset = data.load(chosen.data, shape, max(entry.input_shape[:2])) if chosen.data else None
    if dataset:
        shape = dataset.image_shape
    keras.utils.set_random_seed(chosen.seed)
    classes = chosen.classes or (len(dataset.class_names) if dataset else None)
    arguments: dict[str, Any] = {"input_shape": shape, "classes": classes}
    arguments = {name: value for name, value in arguments.items() if value}
    if chosen.weights != "random":
        arguments["weights"] = chosen.weights
    if shape:
        arguments |= registry.recipe_arguments(chosen.model, shape)
    model = registry.create_model(chosen.model, **arguments)
    return model, _agreeing(model, dataset, chosen.model)


def _published_range(chosen: argparse.Namespace) -> InputRange | None:
    """What published weights were trained on; None for random ones and files."""
    if chosen.weights not in catalog.names(chosen.model):
        return None
    preprocessing = preprocessing_for(chosen.model, chosen.weights)
    return InputRange.normalized(preprocessing.mean, preprocessing.std)


def _found_range(chosen: argparse.Namespace, model: keras.Model, dataset: Dataset | None) -> InputRange | None:
    """The range that the model's own layers tell; None where no images are read that have to be scaled to it.

    Datasets give images in [0, 1], which a model takes unless its layers tell otherwise. Of photos and a model by
    others nothing is assumed.
    """
    if chosen.weights == "random" and not chosen.calibration:
        return UNIT_RANGE
    given, dtype = Path(chosen.calibration) if chosen.calibration else None, str(model.inputs[0].dtype)
    if given is None and dataset is None:
        return None
    if given is not None and given.suffix in ARRAY_FILES:
        return derived_range(read_graph(model), model.inputs[0].name, dtype) if len(model.inputs) == 1 else None
    shape = _image_shape(model)
    if dataset is not None:
        pixels, default = dataset.calibration.images(slice(SAMPLES)), UNIT_RANGE
    else:
        assert given is not None
        pixels, default = _folder(given, shape, SAMPLES), None
    return range_of_photos(read_graph(model), pixels, chosen.model, default, dtype)


def _trained(chosen: argparse.Namespace) -> tuple[keras.Model, Dataset]:
    """A model by name, trained here and saved beside the export."""
    entry = registry.entry(chosen.model)
    shape = tuple(chosen.input_shape) if chosen.input_shape else None
    dataset = data.load(chosen.data or DEFAULT_DATA, shape, max(entry.input_shape[:2]))
    if chosen.classes and chosen.classes != len(dataset.class_names):
        raise InputError(
            f"--classes is {chosen.classes} and {dataset.name} has {len(dataset.class_names)} classes; leave it out"
        )
    path = Path(chosen.output) / f"{chosen.model}.keras"
    model = train.build(chosen.model, dataset, seed=chosen.seed)
    train.fit(model, dataset, epochs=chosen.epochs, seed=chosen.seed)
    with replacing(path) as temporary:
        model.save(temporary)
    write_json(path.with_name(f"{path.stem}.preprocess.json"), {"input_range": [0, 1]})
    return model, dataset


def _agreeing(model: keras.Model, dataset: Dataset | None, name: str) -> Dataset | None:
    if dataset and model.outputs[0].shape[-1] != len(dataset.class_names):
        raise InputError(
            f"{name} has {model.outputs[0].shape[-1]} outputs and {dataset.name} {len(dataset.class_names)} classes; "
            "give the data that the model was trained for"
        )
    return dataset


def _image_shape(model: keras.Model) -> Shape:
    shape = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or len(shape) != 3 or None in shape:
        raise InputError(
            f"{model.name} does not take one image of a fixed size (its inputs are "
            f"{', '.join(str(tuple(each.shape)) for each in model.inputs)}); give --calibration FILE.npz, "
            "or use export_tflite from Python"
        )
    return shape


def _calibration(
    chosen: argparse.Namespace, model: keras.Model, dataset: Dataset | None, input_range: InputRange | None
) -> Any:
    if chosen.calibration is not None:
        path = Path(chosen.calibration)
        if path.suffix in ARRAY_FILES:
            return read_arrays(path)
        assert input_range is not None  # photos have made it known
        return input_range.scale(_folder(path, _image_shape(model)))
    assert input_range is not None
    if dataset:
        positions = balanced(dataset.calibration.labels.tolist(), MOST_CALIBRATION_IMAGES)
        return PartImages(dataset.calibration, input_range.scale, positions)
    return input_range.scale(smooth_images(_image_shape(model)))


def _folder(folder: Path, shape: Shape, most: int = MOST_CALIBRATION_IMAGES) -> np.ndarray:
    """At most `most` images of a folder, as many of each of its folders, pixels in [0, 1]."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images nor a .npz or .npy file; check the path")
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in image_folder.SUFFIXES and path.is_file()
    )
    if not files:
        raise InputError(f"{folder} holds no images; put {', '.join(sorted(image_folder.SUFFIXES))} files there")
    chosen = balanced([path.parent for path in files], most)
    return np.stack([image_folder.decode(files[index], shape) for index in chosen]).astype(np.float32) / 255


def _evaluation(model: keras.Model, dataset: Dataset | None, input_range: InputRange | None) -> tuple[Any, Any] | None:
    """Images and classes of the test part; of several outputs, all that tell as many classes have them."""
    if dataset is None:
        return None
    assert input_range is not None
    labels, classes = dataset.test.labels, len(dataset.class_names)
    names = output_names(model)
    shapes = [tuple(each.shape) for each in model.outputs]
    targets = {name: labels for name, shape in zip(names, shapes, strict=True) if shape[1:] == (classes,)}
    return PartImages(dataset.test, input_range.scale), targets if len(names) > 1 else labels


def _pruning(chosen: argparse.Namespace, dataset: Dataset | None, input_range: InputRange | None) -> Pruning:
    training = _training(chosen, dataset, input_range, PRUNING_EPOCHS, learning_rate=PRUNING_LEARNING_RATE)
    block = tuple(chosen.prune_block) if chosen.prune_block else None
    return Pruning(training, **chosen.prune, block=block, schedule=chosen.prune_schedule)


def _clustering(chosen: argparse.Namespace, dataset: Dataset | None, input_range: InputRange | None) -> Clustering:
    return Clustering(_training(chosen, dataset, input_range, CLUSTERING_EPOCHS), chosen.cluster)


def _quantized_training(
    chosen: argparse.Namespace, model: keras.Model, dataset: Dataset | None, input_range: InputRange | None
) -> FineTuning:
    if dataset is not None:
        training = _training(chosen, dataset, input_range, chosen.qat_epochs or QAT_EPOCHS)
        return replace(training, distill=chosen.distill)
    if Path(chosen.calibration).suffix in ARRAY_FILES:
        arrays = read_arrays(Path(chosen.calibration))
        inputs = [arrays[each.name] for each in model.inputs] if isinstance(arrays, dict) else arrays
        training = FineTuning.on_arrays(inputs, None, DISTILLATION_BATCH, chosen.seed, distill=True)
        training = replace(training, epochs=math.ceil(DISTILLATION_STEPS / training.steps_per_epoch))
    else:
        photos = _folder(Path(chosen.calibration), _image_shape(model))
        assert input_range is not None  # photos have made it known
        training = FineTuning.on_photos(input_range.scale(photos), seed=chosen.seed)
    return replace(training, epochs=chosen.qat_epochs or training.epochs)


def _training(
    chosen: argparse.Namespace,
    dataset: Dataset | None,
    input_range: InputRange | None,
    epochs: int,
    learning_rate: float | None = None,
) -> FineTuning:
    assert dataset is not None  # _check_sources has seen to it
    assert input_range is not None
    size = min(train.BATCH_SIZE, len(dataset.train))

    def batches(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        seed = [chosen.seed, FINE_TUNING_SEED + epoch]
        for images, labels in train.batches(dataset.train, size, seed, dataset.augmentation):
            yield input_range.scale(images), labels

    return FineTuning(batches, len(dataset.train) // size, epochs, learning_rate)
