"""The process with TensorFlow, tf_keras and TF-MOT; nothing here imports Keras 3."""
