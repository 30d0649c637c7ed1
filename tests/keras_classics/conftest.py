"""Fixtures that the tests of the library share."""

import keras
import pytest

import keras_classics as kc


@pytest.fixture
def abstract_model():
    """Build a model by name without allocating its weights, so that the largest cost nothing."""

    def build(name, **arguments):
        with keras.StatelessScope(initialize_variables=False):
            return kc.create_model(name, **arguments)

    yield build
    keras.backend.clear_session()
