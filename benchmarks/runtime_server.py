"""One model in one runtime, in a process of its own, which runs when its parent says so (`runtimes.py`).

    python runtime_server.py RUNTIME MODEL [FOLDER…]

The folders hold packages of the runtime. On standard input, a line `outputs INPUTS.npy OUTPUTS.npy` (with tabs)
asks for the outputs for these inputs, `time SECONDS` for calls on the first of them until the seconds are over, two
at least; the answer is the fastest call's seconds. It needs NumPy and the runtime alone, because tflite-runtime
and ExecuTorch live apart.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what runtimes print must not reach the parent
sys.path += sys.argv[3:]

import numpy as np  # noqa: E402


def tflite(interpreter):
    """A call of a TFLite interpreter."""
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image):
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


def litert(path):
    """Google's LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    return tflite(Interpreter(path, num_threads=1))


def tflite_runtime(path):
    """LiteRT's predecessor, as edge boards have it."""
    from tflite_runtime.interpreter import Interpreter

    return tflite(Interpreter(path, num_threads=1))


def openvino(path):
    """Intel's OpenVINO, which reads TFLite files."""
    import openvino

    # Its own choice would be bfloat16 where the processor has that, which the others do not use.
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    request = model.create_infer_request()
    return lambda image: request.infer([image])[model.output(0)]


def onnx_runtime(path):
    """ONNX Runtime, on what tf2onnx makes of the TFLite file."""
    import onnxruntime
    import tf2onnx

    converted = f"{path}.onnx"
    if not os.path.exists(converted) or os.path.getmtime(converted) < os.path.getmtime(path):
        tf2onnx.convert.from_tflite(path, opset=18, output_path=converted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(converted, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def executorch(path):
    """PyTorch's ExecuTorch, which takes channels first, here as a view of channels last."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)  # unsafe once a model is loaded; there is no other setting
    method = Runtime.get().load_program(path).load_method("forward")
    return lambda image: method.execute([torch.from_numpy(image).permute(0, 3, 1, 2)])[0].numpy().copy()


def tensorflow(path):
    """The Keras model under `tf.function`."""
    import keras
    import tensorflow

    import keras_classics  # noqa: F401  (registers its layers)

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.saving.load_model(path, compile=False)
    function = tensorflow.function(lambda image: model(image, training=False))
    return lambda image: function(tensorflow.constant(image)).numpy()


def main():
    """Answer until the parent closes the connection."""
    runtime, path = sys.argv[1:3]
    run = {
        "LiteRT": litert,
        "tflite-runtime": tflite_runtime,
        "OpenVINO": openvino,
        "ONNX Runtime": onnx_runtime,
        "ExecuTorch": executorch,
        "tf.function": tensorflow,
    }[runtime](path)
    image = np.empty(0)
    for line in sys.stdin:
        command, *values = line.rstrip("\n").split("\t")
        if command == "outputs":
            given, file = values
            images = np.load(given)
            image = images[:1]
            np.save(file, np.concatenate([run(images[index : index + 1]) for index in range(len(images))]))
            answer = "saved"
        else:
            seconds, began = [], time.perf_counter()
            while len(seconds) < 2 or time.perf_counter() - began < float(values[0]):
                started = time.perf_counter()
                run(image)
                seconds.append(time.perf_counter() - started)
            answer = min(seconds)
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main()
