/* The part of LiteRT's C interface that the runner calls, declared by hand and resolved with dlopen.

   libLiteRt.so comes from a published wheel, which has no headers. Handles are opaque pointers; the
   structures below are laid out as release 2.3 lays them out. */
#ifndef ANDROID_BENCH_LITERT_H
#define ANDROID_BENCH_LITERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void *Handle;
typedef int Status;

enum { STATUS_OK = 0, ACCELERATOR_CPU = 1, ACCELERATOR_GPU = 2, TENSOR_INT8 = 9, HOST_MEMORY = 1, MAXIMUM_RANK = 8 };

typedef enum { LOCK_READ = 0, LOCK_WRITE = 1 } LockMode;

typedef enum { EVENT_OPERATOR = 2, EVENT_DELEGATE_OPERATOR = 4, EVENT_INSIDE_DELEGATE = 8 } EventType;

typedef struct {
  unsigned int rank : 7;
  unsigned int has_strides : 1;
  int32_t dimensions[MAXIMUM_RANK];
  uint32_t strides[MAXIMUM_RANK];
} Layout;

typedef struct {
  int element_type;
  Layout layout;
} TensorType;

typedef struct {
  size_t total_allocated_bytes, in_use_allocated_bytes, private_footprint_bytes;
} MemoryUsage;

typedef struct {
  const char *tag;
  int event_type;
  uint64_t start_timestamp_us, elapsed_time_us;
  MemoryUsage begin_memory, end_memory;
  uint64_t metadata1, metadata2;
  int event_source;
} ProfiledEvent;

/* name, parameters: each becomes a member of `struct LiteRt` and is looked up as "LiteRt" + name. */
#define LITERT_FUNCTIONS(X)                                                                            \
  X(CreateEnvironment, (int, const void *, Handle *))                                                  \
  X(GetNumAccelerators, (Handle, size_t *))                                                            \
  X(GetAccelerator, (Handle, size_t, Handle *))                                                        \
  X(GetAcceleratorHardwareSupport, (Handle, int *))                                                    \
  X(CreateModelFromFile, (Handle, const char *, Handle *))                                             \
  X(CreateOptions, (Handle *))                                                                         \
  X(SetOptionsHardwareAccelerators, (Handle, int))                                                     \
  X(CreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *))                           \
  X(AddOpaqueOptions, (Handle, Handle))                                                                \
  X(CreateCompiledModel, (Handle, Handle, Handle, Handle *))                                           \
  X(GetMainModelSubgraphIndex, (Handle, size_t *))                                                     \
  X(GetModelSubgraph, (Handle, size_t, Handle *))                                                      \
  X(GetModelSignature, (Handle, size_t, Handle *))                                                     \
  X(GetNumSignatureInputs, (Handle, size_t *))                                                         \
  X(GetNumSignatureOutputs, (Handle, size_t *))                                                        \
  X(GetSignatureInputTensorByIndex, (Handle, size_t, Handle *))                                        \
  X(GetSignatureOutputTensorByIndex, (Handle, size_t, Handle *))                                       \
  X(GetNumSubgraphInputs, (Handle, size_t *))                                                          \
  X(GetNumSubgraphOutputs, (Handle, size_t *))                                                         \
  X(GetSubgraphInput, (Handle, size_t, Handle *))                                                      \
  X(GetSubgraphOutput, (Handle, size_t, Handle *))                                                     \
  X(GetNumSubgraphOps, (Handle, size_t *))                                                             \
  X(GetSubgraphOp, (Handle, size_t, Handle *))                                                         \
  X(GetNumOpOutputs, (Handle, size_t *))                                                               \
  X(GetOpOutput, (Handle, size_t, Handle *))                                                           \
  X(GetTensorIndex, (Handle, uint32_t *))                                                              \
  X(GetRankedTensorType, (Handle, TensorType *))                                                       \
  X(CompiledModelResizeInputTensor, (Handle, size_t, size_t, const int *, size_t))                     \
  X(GetCompiledModelInputTensorLayout, (Handle, size_t, size_t, Layout *))                             \
  X(GetCompiledModelOutputTensorLayouts, (Handle, size_t, size_t, Layout *, bool))                     \
  X(GetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *))                       \
  X(GetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *))                      \
  X(CreateManagedTensorBufferFromRequirements, (Handle, const TensorType *, Handle, Handle *))         \
  X(GetTensorBufferPackedSize, (Handle, size_t *))                                                     \
  X(LockTensorBuffer, (Handle, void **, LockMode))                                                     \
  X(UnlockTensorBuffer, (Handle))                                                                      \
  X(RunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *))                            \
  X(CompiledModelIsNonCpuFullyAccelerated, (Handle, bool *))                                           \
  X(CompiledModelGetProfiler, (Handle, Handle *))                                                      \
  X(StartProfiler, (Handle))                                                                           \
  X(StopProfiler, (Handle))                                                                            \
  X(GetNumProfilerEvents, (Handle, int *))                                                             \
  X(GetProfilerEvents, (Handle, int, ProfiledEvent *))

struct LiteRt {
#define DECLARE(name, parameters) Status(*name) parameters;
  LITERT_FUNCTIONS(DECLARE)
#undef DECLARE
};

#endif
