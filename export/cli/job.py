"""What the command line asked for, made ready for `export_tflite`: the model, its data, its input range."""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from export.cli.samples import ARRAY_FILES, calibration_of, evaluation_of, image_shape, images_of_folder
from export.cli.trainings import clustering, pruning, quantized_training
from export.data.input_range import InputRange, recorded_class_names, recorded_range
from export.data.range_evidence import derived_range, range_of_photos
from export.data.scale_check import SAMPLES
from export.errors import InputError
from export.frontend.given_model import given_model
from export.frontend.opening import with_fixed_shapes
from export.frontend.read import read_graph
from export.options import INTEGER_MODES, Options, flag, refuse_contradictions
from export.verification.measures import check_name
from export.vocabulary import DESTINATIONS
from keras_classics import preprocessing_for, registry, train
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset, Shape
from keras_classics.files import replacing, write_json
from keras_classics.pretrained import catalog
from keras_classics.pretrained.imagenet import CLASSES, imagenet_classes
from keras_classics.registration import import_of_user
from keras_classics.weights import MODEL_SUFFIXES, FreshClassifierWarning

DEFAULT_DATA = "mnist"
UNIT_RANGE = InputRange.between(0, 1)


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
    path, named = _checked(chosen)
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
    input_range = input_range or (None if chosen.streaming else _found_range(chosen, model, dataset))
    _check_destination(chosen, input_range)
    random_weights = named and chosen.weights == "random"
    options = Options(
        mode=chosen.mode,
        io=chosen.io,
        qat=quantized_training(chosen, model, dataset, input_range) if chosen.qat else None,
        prune=pruning(chosen, dataset, input_range) if chosen.prune else None,
        cluster=clustering(chosen, dataset, input_range) if chosen.cluster else None,
        ptq=chosen.ptq,
        keep_float=chosen.keep_float,
        logits=chosen.logits,
        metric=chosen.metric,
        input_shape=chosen.input_shape if chosen.streaming else None,
        streaming=chosen.streaming,
        input_range=input_range.limits if input_range else None,
        normalization=input_range,
        class_names=_class_names(chosen, model, dataset, None if named else path),
        max_drop=chosen.max_drop,
        min_sqnr=chosen.min_sqnr,
        mixed=chosen.mixed,
        layers=chosen.layers,
        gate=not (chosen.no_gate or random_weights),
        name=chosen.model if named else path.stem,
    )
    calibration = calibration_of(chosen, model, dataset, input_range) if chosen.mode in INTEGER_MODES else None
    return Job(model, calibration, evaluation_of(model, dataset, input_range), options)


def plan(chosen: argparse.Namespace) -> dict[str, str]:
    """What `prepare` and the export would do, by what it is of; models and data are read, and nothing is trained.

    Raises:
        InputError: as `prepare` does.
    """
    path, named = _checked(chosen)
    name = chosen.model if named else path.stem
    if not named:
        _, dataset = _loaded(path, chosen)
        source = f"{path}, as it is"
    elif chosen.weights:
        _, dataset = _built(chosen)
        source = f"{name} with the weights {chosen.weights}"
    else:
        shape = tuple(chosen.input_shape) if chosen.input_shape else None
        dataset = _read(chosen, chosen.data or DEFAULT_DATA, shape)
        source = f"{name}, trained first for {chosen.epochs} epochs (seed {chosen.seed})"
    file = Path(chosen.output) / f"{name}-{chosen.mode}.tflite"
    steps = [flag(step) for step in ("prune", "cluster", "qat", "distill", "mixed") if getattr(chosen, step)]
    rows = {
        "model": source,
        "mode": " ".join([chosen.mode, *([f"({chosen.io} in and out)"] if chosen.mode == "int8" else []), *steps]),
    }
    if dataset:
        parts = ", ".join(f"{len(part):,} {part_name}" for part_name, part in dataset.parts.items())
        rows["data"] = f"{dataset.name}: {parts}; {len(dataset.class_names)} classes"
        rows["evaluated"] = f"on all {len(dataset.test):,} test images"
    elif chosen.calibration:
        rows["data"] = f"{chosen.calibration}, without labels"
    rows["file"] = f"{file}, in place of the one that is there" if file.exists() else str(file)
    rows["last time"] = _last_time(file)
    return rows


def _last_time(file: Path) -> str:
    """How long the export took that wrote the report beside `file`."""
    try:
        seconds = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["seconds"]
        return f"{sum(seconds.values()):.0f} s, without any training of the model"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "not known: there is no report of it"


def _checked(chosen: argparse.Namespace) -> tuple[Path, bool]:
    """The model as a path, and whether it is a name; what contradicts itself is refused."""
    if chosen.import_module:
        import_of_user(chosen.import_module)
    path = Path(chosen.model)
    chosen.io = _io(chosen)
    named = chosen.model in registry.MODELS or not (path.suffix in MODEL_SUFFIXES or path.exists())
    refuse_contradictions(chosen, flag)
    if chosen.metric:
        check_name(chosen.metric)
    _check_sources(chosen, named)
    return path, named


def _io(chosen: argparse.Namespace) -> str:
    """The type of in- and outputs that was asked for, or that the place takes where the file will run."""
    suited = DESTINATIONS.get(chosen.destination, "int8")
    if chosen.io and chosen.destination in ("litertjs", "mediapipe") and chosen.io == "int8":
        raise InputError(f"{chosen.destination} takes no int8 in- and outputs; leave --io out, which makes it {suited}")
    io = chosen.io or suited
    if "js" in chosen.snippet and chosen.mode in INTEGER_MODES and io == "int8":
        raise InputError("LiteRT.js takes no int8 in- and outputs, which --snippet js would need; give --for litertjs")
    return io


def _check_destination(chosen: argparse.Namespace, input_range: InputRange | None) -> None:
    """MediaPipe gives every channel the same normalization, and none at all to bytes.

    Raises:
        InputError: the model needs another.
    """
    if chosen.destination == "mediapipe" and input_range and (len(set(input_range.factor)) > 1 or _uneven(input_range)):
        raise InputError(
            "MediaPipe normalizes all channels alike, and this model takes each in its own way; put "
            "kc.preprocessing_for(…).normalization(255) in front of it (docs/app.md), or train on it with --weights"
        )


def _uneven(input_range: InputRange) -> bool:
    return len(set(input_range.offset)) > 1 or input_range.reversed_channels


def _check_sources(chosen: argparse.Namespace, named: bool) -> None:
    """Data is named by the user, or is the default of a model that is trained here; never another."""
    trained = named and chosen.weights is None
    if named:
        registry.entry(chosen.model)
    elif chosen.weights is not None:
        raise InputError("--weights goes with a model's name; a .keras file has its own")
    if chosen.streaming and (named or chosen.data or Path(chosen.calibration or "any.npz").suffix not in ARRAY_FILES):
        raise InputError(
            "--streaming takes a .keras file of a model of sequences, and these by --calibration FILE.npz; leave out "
            "--data and models by name"
        )
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
    model = given_model(path)
    if chosen.streaming:  # whose number of steps may be open
        return model, None
    model = with_fixed_shapes(model, chosen.input_shape)
    dataset = data.load(chosen.data, image_shape(model), None, chosen.skip_unreadable) if chosen.data else None
    return model, _agreeing(model, dataset, str(path))


def _built(chosen: argparse.Namespace) -> tuple[keras.Model, Dataset | None]:
    """A model by name with given, or random, weights."""
    shape = tuple(chosen.input_shape) if chosen.input_shape else None
    dataset = _read(chosen, chosen.data, shape) if chosen.data else None
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
    with warnings.catch_warnings():
        warnings.simplefilter("error", FreshClassifierWarning)
        try:
            model = registry.create_model(chosen.model, **arguments)
        except FreshClassifierWarning as warning:
            raise InputError(
                f"--weights {chosen.weights} tells other classes apart than the {classes} that are asked for; train "
                f"it first: python -m keras_classics.train {chosen.model} --weights {chosen.weights} --data …"
            ) from warning
    return model, _agreeing(model, dataset, chosen.model)


def _read(chosen: argparse.Namespace, name: str, shape: Shape | None) -> Dataset:
    """A dataset for a model by name, in its paper's size where the images have none in common."""
    default_size = max(registry.entry(chosen.model).input_shape[:2])
    return data.load(name, shape, default_size, chosen.skip_unreadable)


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
    shape = image_shape(model)
    if dataset is not None:
        pixels, default = dataset.calibration.images(slice(SAMPLES)), UNIT_RANGE
    else:
        assert given is not None
        pixels, default = images_of_folder(given, shape, SAMPLES, chosen.skip_unreadable), None
    return range_of_photos(read_graph(model), pixels, chosen.model, default, dtype)


def _class_names(
    chosen: argparse.Namespace, model: keras.Model, dataset: Dataset | None, path: Path | None
) -> tuple[str, ...] | None:
    """What the outputs mean: as recorded beside a file, as the data has it, or ImageNet's of its published weights."""
    names = recorded_class_names(path) if path else None
    if names and dataset and names != dataset.class_names and sorted(names) == sorted(dataset.class_names):
        raise InputError(
            f"{path} was trained on the classes {', '.join(names)} in this order and {dataset.name} has them as "
            f"{', '.join(dataset.class_names)}; name the folders so that they sort alike"
        )
    if names is None and dataset:
        names = dataset.class_names
    if names is None and chosen.weights in catalog.names(chosen.model) and model.outputs[0].shape[-1] == CLASSES:
        names = tuple(name for _, name in imagenet_classes())
    columns = {tuple(each.shape[1:]) for each in model.outputs}
    return names if names and (len(names),) in columns else None


def _trained(chosen: argparse.Namespace) -> tuple[keras.Model, Dataset]:
    """A model by name, trained here and saved beside the export."""
    shape = tuple(chosen.input_shape) if chosen.input_shape else None
    dataset = _read(chosen, chosen.data or DEFAULT_DATA, shape)
    if chosen.classes and chosen.classes != len(dataset.class_names):
        raise InputError(
            f"--classes is {chosen.classes} and {dataset.name} has {len(dataset.class_names)} classes; leave it out"
        )
    path = Path(chosen.output) / f"{chosen.model}.keras"
    model = train.build(chosen.model, dataset, seed=chosen.seed)
    train.fit(model, dataset, epochs=chosen.epochs, seed=chosen.seed)
    with replacing(path) as temporary:
        model.save(temporary)
    record = {"input_range": [0, 1], "image_shape": dataset.image_shape, "class_names": dataset.class_names}
    write_json(path.with_name(f"{path.stem}.preprocess.json"), record)
    return model, dataset


def _agreeing(model: keras.Model, dataset: Dataset | None, name: str) -> Dataset | None:
    if dataset and model.outputs[0].shape[-1] != len(dataset.class_names):
        raise InputError(
            f"{name} has {model.outputs[0].shape[-1]} outputs and {dataset.name} {len(dataset.class_names)} classes; "
            "give the data that the model was trained for"
        )
    return dataset
