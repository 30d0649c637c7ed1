"""LeNet-5 against its paper's Fig. 2."""

import keras_classics as kc


def shapes(model):
    return {layer.name: layer.output.shape[1:] for layer in model.layers}


def test_modern_layers_have_the_papers_shapes():
    assert shapes(kc.LeNet5()) == {
        "image": (32, 32, 1),
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "flatten": (400,),
        "c5": (120,),
        "f6": (84,),
        "predictions": (10,),
    }


def test_modern_parameters_and_macs_layer_by_layer():
    rows = {row.name: (row.parameters, row.macs) for row in kc.model_cost(kc.LeNet5()).layers if row.parameters}
    assert rows == {
        "c1": (156, 117_600),
        "c3": (2_416, 240_000),
        "c5": (48_120, 48_000),
        "f6": (10_164, 10_080),
        "predictions": (850, 840),
    }


def test_without_a_top_it_ends_at_s4():
    assert kc.LeNet5(include_top=False).output_shape == (None, 5, 5, 16)
    assert kc.LeNet5(include_top=False, pooling="avg").output_shape == (None, 16)


def test_logits_on_request():
    assert kc.LeNet5(classifier_activation=None).get_layer("predictions").activation.__name__ == "linear"
