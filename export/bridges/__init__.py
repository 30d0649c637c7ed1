"""The bridges that come with the exporter; importing this registers them."""

from export.bridges import classics, keras_layers, keras_operations

__all__ = ["classics", "keras_layers", "keras_operations"]
