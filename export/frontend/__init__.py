"""From a Keras 3 model, under any backend, to the neutral graph."""
