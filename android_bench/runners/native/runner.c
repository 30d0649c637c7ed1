/* Measures one TFLite model with libLiteRt.so and prints the result as one line of JSON.

   The arguments and the document are those of the runner in Python, less what its host knows anyway (the device,
   the tensors), with "operators" added: how long each kind took, from separate runs with the profiler on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "litert.h"
#include "product.h"

enum {
  SHORTEST_SERIES = 50,
  LONGEST_SERIES = 1000,
  LONGEST_SUSTAINED_SERIES = 200000,
  WARMUP_WINDOW = 5,
  LONGEST_WINDOW = 4096,
  PROFILED_RUNS = 10,
  MOST_TENSORS = 32,
  MOST_OPERATORS = 4096,
  YARDSTICK_PRODUCTS = 8,
};
static const double SERIES_SECONDS = 0.5, WINDOW_SECONDS = 0.05, WARMUP_SECONDS = 3.0, STEADY_CHANGE = 0.03,
                    SHORTEST_PRESSURE_SECONDS = 0.2, BATTERY_SECONDS = 0.1, YARDSTICK_SECONDS = 0.01, YARDSTICK_SHARE = 0.025;

static struct LiteRt litert;

/* ---- errors ---- */

static void print_string(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char letter = (unsigned char)*text;
    if (letter == '"' || letter == '\\')
      printf("\\%c", letter);
    else if (letter < 0x20)
      printf("\\u%04x", letter);
    else
      putchar(letter);
  }
  putchar('"');
}

static void fail(const char *kind, const char *format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  printf("\n{\"error\": {\"kind\": \"%s\", \"message\": ", kind);
  print_string(message);
  printf("}}\n");
  fflush(stdout);
  _exit(1);
}

static void check(Status status, const char *what) {
  if (status != STATUS_OK) fail("model", "%s failed with LiteRT status %d", what, status);
}

/* ---- clocks and the machine ---- */

static double clock_us(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static double seconds(void) { return clock_us(CLOCK_MONOTONIC) / 1e6; }

static bool read_text(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "r");
  if (!file) return false;
  size_t length = fread(text, 1, size - 1, file);
  text[length] = 0;
  fclose(file);
  return true;
}

/* A number that a machine may not show. */
typedef struct {
  bool known;
  double value;
} Reading;

static void keep_largest(Reading *reading, const char *path, double unit) {
  char text[64];
  if (!read_text(path, text, sizeof text)) return;
  char *end;
  double value = strtod(text, &end) * unit;
  if (end != text && (!reading->known || value > reading->value)) *reading = (Reading){true, value};
}

static Reading temperature(void) {
  Reading hottest = {0};
  DIR *folder = opendir("/sys/class/thermal");
  struct dirent *entry;
  while (folder && (entry = readdir(folder))) {
    char path[512];
    if (strncmp(entry->d_name, "thermal_zone", 12)) continue;
    snprintf(path, sizeof path, "/sys/class/thermal/%s/temp", entry->d_name);
    keep_largest(&hottest, path, 1e-3);
  }
  if (folder) closedir(folder);
  return hottest;
}

static Reading frequency(const cpu_set_t *cpus) {
  Reading fastest = {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    char path[128];
    if (!CPU_ISSET(cpu, cpus)) continue;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", cpu);
    keep_largest(&fastest, path, 1e-3);
  }
  return fastest;
}

/* How long, since boot, some task waited for a core, in microseconds. */
static Reading waited(void) {
  char text[512];
  if (!read_text("/proc/pressure/cpu", text, sizeof text)) return (Reading){0};
  char *total = strstr(text, "total=");
  return total ? (Reading){true, strtod(total + 6, NULL)} : (Reading){0};
}

static Reading resident_bytes(const char *field) {
  char text[8192];
  if (!read_text("/proc/self/status", text, sizeof text)) return (Reading){0};
  char *line = strstr(text, field);
  return line ? (Reading){true, strtod(line + strlen(field) + 1, NULL) * 1024} : (Reading){0};
}

static long involuntary_switches(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

/* ---- energy ---- */

/* A file beside another one. */
static bool read_sibling(const char *path, const char *name, char *text, size_t size) {
  char sibling[512];
  snprintf(sibling, sizeof sibling, "%.*s/%s", (int)(strrchr(path, '/') - path), path, name);
  return read_text(sibling, text, size);
}

/* The sum of the counters that match, in joules; of RAPL's those of whole processor packages only. */
static Reading counted_joules(const char *pattern, bool packages) {
  Reading sum = {0};
  glob_t found = {0};
  glob(pattern, 0, NULL, &found);
  for (size_t i = 0; i < found.gl_pathc; i++) {
    char name[64];
    Reading counter = {0};
    if (packages && !(read_sibling(found.gl_pathv[i], "name", name, sizeof name) && !strncmp(name, "package", 7)))
      continue;
    keep_largest(&counter, found.gl_pathv[i], 1e-6);
    if (counter.known) sum = (Reading){true, sum.value + counter.value};
  }
  globfree(&found);
  return sum;
}

static Reading rapl(void) { return counted_joules("/sys/class/powercap/*rapl:*/energy_uj", true); }
static Reading hwmon(void) { return counted_joules("/sys/class/hwmon/hwmon*/energy*_input", false); }

/* What a battery gives now, in watts; unknown while it is being charged. */
static Reading battery(void) {
  Reading power = {0};
  glob_t found = {0};
  glob("/sys/class/power_supply/*/current_now", 0, NULL, &found);
  /* Android may show its battery and not let the folder be listed. */
  glob("/sys/class/power_supply/battery/current_now", GLOB_APPEND, NULL, &found);
  for (size_t i = 0; i < found.gl_pathc && !power.known; i++) {
    char status[64], voltage[64], current[64];
    const char *path = found.gl_pathv[i];
    if (!read_text(path, current, sizeof current) || !read_sibling(path, "voltage_now", voltage, sizeof voltage) ||
        !read_sibling(path, "status", status, sizeof status) || strncmp(status, "Discharging", 11))
      continue;
    double watts = strtod(current, NULL) * strtod(voltage, NULL) / 1e12;
    power = (Reading){true, watts < 0 ? -watts : watts};
  }
  globfree(&found);
  return power;
}

/* The whole device's energy: counted by RAPL or hwmon, or a battery's power summed up over time. */
typedef struct {
  const char *source;
  Reading (*read)(void);
  double start, last, joules;
  Reading reading;
} Meter;

static Meter start_meter(void) {
  Meter meters[] = {{"rapl", rapl}, {"hwmon", hwmon}, {"battery", battery}, {NULL}};
  Meter *meter = meters;
  while (meter->source && !(meter->reading = meter->read()).known) meter++;
  meter->start = meter->last = seconds();
  return *meter;
}

static void integrate(Meter *meter) {
  double now = seconds();
  Reading power = battery();
  if (power.known) meter->joules += (meter->reading.value + power.value) / 2 * (now - meter->last);
  meter->reading = power, meter->last = now;
}

/* To be called between inferences: reads a battery again if the last time was long enough ago. */
static void look(Meter *meter) {
  if (meter->read == battery && meter->reading.known && seconds() - meter->last >= BATTERY_SECONDS) integrate(meter);
}

/* Ends the measurement: the joules since the start, unknown where a battery was plugged in or a counter began anew. */
static Reading stop_meter(Meter *meter) {
  if (!meter->source) return (Reading){0};
  if (meter->read == battery) {
    if (meter->reading.known) integrate(meter);
    return (Reading){meter->reading.known, meter->joules};
  }
  Reading now = meter->read();
  meter->last = seconds();
  return (Reading){now.known && now.value >= meter->reading.value, now.value - meter->reading.value};
}

/* ---- yardstick ---- */

/* A fixed matrix product, timed between inferences: how fast the core is while they run. */
typedef struct {
  double *bursts, due; /* microseconds of one product in each burst, and when the next may be */
  int *after, count, samples;
} Yardstick;

/* To be called between inferences: times a burst of products if the last was long enough ago. */
static void look_at_yardstick(Yardstick *yardstick) {
  double opened = seconds();
  yardstick->samples++;
  if (!yardstick->bursts || opened < yardstick->due) return;
  multiply(); /* the inference has taken its place in the cache */
  double cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID), wall = clock_us(CLOCK_MONOTONIC);
  for (int i = 0; i < YARDSTICK_PRODUCTS; i++) multiply();
  wall = clock_us(CLOCK_MONOTONIC) - wall;
  cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  yardstick->after[yardstick->count] = yardstick->samples;
  double busy = cpu > 0 && cpu < wall ? cpu : wall; /* some clocks count no time so short */
  yardstick->bursts[yardstick->count++] = busy / YARDSTICK_PRODUCTS;
  double closed = seconds(), pause = (closed - opened) / YARDSTICK_SHARE;
  yardstick->due = closed + (pause > YARDSTICK_SECONDS ? pause : YARDSTICK_SECONDS);
}

/* ---- arguments ---- */

typedef struct {
  const char *library, *model, *input, *output, *delegate;
  int threads, runs, warmup;
  double seconds;
  bool restricted;
  cpu_set_t cpus;
} Arguments;

static Arguments parse(int count, char **words) {
  Arguments arguments = {.delegate = "xnnpack", .threads = 1, .runs = -1, .warmup = -1, .seconds = -1};
  CPU_ZERO(&arguments.cpus);
  for (int i = 1; i + 1 < count;) {
    const char *name = words[i++];
    if (!strcmp(name, "--cpus")) {
      arguments.restricted = true;
      while (i < count && words[i][0] != '-') CPU_SET(atoi(words[i++]), &arguments.cpus);
      continue;
    }
    const char *value = words[i++];
    if (!strcmp(name, "--library")) arguments.library = value;
    else if (!strcmp(name, "--model")) arguments.model = value;
    else if (!strcmp(name, "--input")) arguments.input = value;
    else if (!strcmp(name, "--output")) arguments.output = value;
    else if (!strcmp(name, "--delegate")) arguments.delegate = value;
    else if (!strcmp(name, "--threads")) arguments.threads = atoi(value);
    else if (!strcmp(name, "--runs")) arguments.runs = atoi(value);
    else if (!strcmp(name, "--seconds")) arguments.seconds = atof(value);
    else if (!strcmp(name, "--warmup")) arguments.warmup = atoi(value);
    else fail("arguments", "unknown argument %s", name);
  }
  if (!arguments.library || !arguments.model || !arguments.input || !arguments.output)
    fail("arguments", "--library, --model, --input and --output are needed");
  return arguments;
}

/* ---- the model ---- */

typedef struct {
  Handle compiled, subgraph;
  size_t inputs, outputs;
  Handle input_buffers[MOST_TENSORS], output_buffers[MOST_TENSORS];
  size_t input_order[MOST_TENSORS], output_order[MOST_TENSORS]; /* subgraph position → signature position */
  bool on_gpu;
} Model;

static void load_library(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail("runtime", "%s", dlerror());
#define RESOLVE(name, parameters)                                                                \
  litert.name = (Status(*) parameters)dlsym(library, "LiteRt" #name);                            \
  if (!litert.name) fail("runtime", "%s does not export LiteRt" #name, path);
  LITERT_FUNCTIONS(RESOLVE)
#undef RESOLVE
}

static void add_options(Handle options, const char *identifier, const char *text) {
  Handle added;
  check(litert.CreateOpaqueOptions(identifier, strdup(text), free, &added), "CreateOpaqueOptions");
  check(litert.AddOpaqueOptions(options, added), "AddOpaqueOptions");
}

static bool on_gpu(const Arguments *arguments) { return !strcmp(arguments->delegate, "gpu"); }

/* LiteRT takes the CPU without a word where no accelerator for the GPU could be loaded. */
static void need_gpu(Handle environment) {
  size_t count;
  check(litert.GetNumAccelerators(environment, &count), "GetNumAccelerators");
  for (size_t i = 0; i < count; i++) {
    Handle accelerator;
    int hardware = 0;
    check(litert.GetAccelerator(environment, i, &accelerator), "GetAccelerator");
    check(litert.GetAcceleratorHardwareSupport(accelerator, &hardware), "GetAcceleratorHardwareSupport");
    if (hardware & ACCELERATOR_GPU) return;
  }
  fail("delegate", "LiteRT finds no GPU accelerator");
}

static Handle compilation_options(const Arguments *arguments, bool profiling) {
  Handle options;
  char text[128];
  snprintf(text, sizeof text, "num_threads = %d\n%s", arguments->threads,
           strcmp(arguments->delegate, "none") ? "" : "kernel_mode = \"builtin\"\n");
  check(litert.CreateOptions(&options), "CreateOptions");
  int accelerators = on_gpu(arguments) ? ACCELERATOR_GPU | ACCELERATOR_CPU : ACCELERATOR_CPU;
  check(litert.SetOptionsHardwareAccelerators(options, accelerators), "SetOptionsHardwareAccelerators");
  add_options(options, "xnnpack", text);
  if (profiling) add_options(options, "runtime_options_string", "enable_profiling = true\n");
  return options;
}

static uint32_t tensor_index(Handle tensor) {
  uint32_t index;
  check(litert.GetTensorIndex(tensor, &index), "GetTensorIndex");
  return index;
}

/* A signature may list its tensors in another order than the graph, whose order the files have. */
static void find_order(Handle signature, Handle subgraph, bool input, size_t count, size_t *order) {
  for (size_t position = 0; position < count; position++) {
    Handle wanted, tensor;
    check((input ? litert.GetSubgraphInput : litert.GetSubgraphOutput)(subgraph, position, &wanted), "GetSubgraph");
    order[position] = position;
    for (size_t candidate = 0; candidate < count; candidate++) {
      check((input ? litert.GetSignatureInputTensorByIndex : litert.GetSignatureOutputTensorByIndex)(
                signature, candidate, &tensor),
            "GetSignatureTensor");
      if (tensor_index(tensor) == tensor_index(wanted)) order[position] = candidate;
    }
  }
}

/* LiteRT leaves an unknown batch at −1 where TFLite's interpreter takes 1. */
static void fix_dynamic_input(Model *model, size_t index, TensorType *type) {
  bool dynamic = false;
  for (unsigned axis = 0; axis < type->layout.rank; axis++)
    if (type->layout.dimensions[axis] < 0) {
      type->layout.dimensions[axis] = 1;
      dynamic = true;
    }
  if (dynamic)
    check(litert.CompiledModelResizeInputTensor(model->compiled, 0, index, type->layout.dimensions, type->layout.rank),
          "CompiledModelResizeInputTensor");
}

static Model load_model(const Arguments *arguments, bool profiling) {
  Model model = {.on_gpu = on_gpu(arguments)};
  Handle environment, file, signature;
  size_t main_subgraph, graph_inputs, graph_outputs;
  check(litert.CreateEnvironment(0, NULL, &environment), "CreateEnvironment");
  if (model.on_gpu) need_gpu(environment);
  if (litert.CreateModelFromFile(environment, arguments->model, &file) != STATUS_OK)
    fail("model", "The model is not a valid Flatbuffer buffer");
  Handle options = compilation_options(arguments, profiling);
  Status compiled = litert.CreateCompiledModel(environment, file, options, &model.compiled);
  if (model.on_gpu && compiled != STATUS_OK) fail("gpu", "CreateCompiledModel failed with LiteRT status %d", compiled);
  check(compiled, "CreateCompiledModel");
  check(litert.GetMainModelSubgraphIndex(file, &main_subgraph), "GetMainModelSubgraphIndex");
  check(litert.GetModelSubgraph(file, main_subgraph, &model.subgraph), "GetModelSubgraph");
  check(litert.GetModelSignature(file, 0, &signature), "GetModelSignature");
  check(litert.GetNumSignatureInputs(signature, &model.inputs), "GetNumSignatureInputs");
  check(litert.GetNumSignatureOutputs(signature, &model.outputs), "GetNumSignatureOutputs");
  check(litert.GetNumSubgraphInputs(model.subgraph, &graph_inputs), "GetNumSubgraphInputs");
  check(litert.GetNumSubgraphOutputs(model.subgraph, &graph_outputs), "GetNumSubgraphOutputs");
  if (model.inputs > MOST_TENSORS || model.outputs > MOST_TENSORS || model.inputs != graph_inputs ||
      model.outputs != graph_outputs)
    fail("model", "its signature does not name every input and output of its graph");
  find_order(signature, model.subgraph, true, model.inputs, model.input_order);
  find_order(signature, model.subgraph, false, model.outputs, model.output_order);

  for (size_t i = 0; i < model.inputs; i++) {
    Handle tensor, requirements;
    TensorType type;
    check(litert.GetSignatureInputTensorByIndex(signature, i, &tensor), "GetSignatureInputTensorByIndex");
    check(litert.GetRankedTensorType(tensor, &type), "GetRankedTensorType");
    fix_dynamic_input(&model, i, &type);
    check(litert.GetCompiledModelInputBufferRequirements(model.compiled, 0, i, &requirements), "input requirements");
    check(litert.CreateManagedTensorBufferFromRequirements(environment, &type, requirements, &model.input_buffers[i]),
          "input buffer");
  }
  Layout layouts[MOST_TENSORS];
  check(litert.GetCompiledModelOutputTensorLayouts(model.compiled, 0, model.outputs, layouts, true), "output layouts");
  for (size_t i = 0; i < model.outputs; i++) {
    Handle tensor, requirements;
    TensorType type;
    check(litert.GetSignatureOutputTensorByIndex(signature, i, &tensor), "GetSignatureOutputTensorByIndex");
    check(litert.GetRankedTensorType(tensor, &type), "GetRankedTensorType");
    type.layout = layouts[i];
    check(litert.GetCompiledModelOutputBufferRequirements(model.compiled, 0, i, &requirements), "output requirements");
    check(litert.CreateManagedTensorBufferFromRequirements(environment, &type, requirements, &model.output_buffers[i]),
          "output buffer");
  }
  return model;
}

/* Waits until every output is here: a GPU may still be at work when its call returns. */
static void fetch_outputs(Model *model) {
  for (size_t i = 0; i < model->outputs; i++) {
    void *memory;
    check(litert.LockTensorBuffer(model->output_buffers[i], &memory, LOCK_READ), "LockTensorBuffer");
    check(litert.UnlockTensorBuffer(model->output_buffers[i]), "UnlockTensorBuffer");
  }
}

static void run_once(Model *model) {
  Status status = litert.RunCompiledModel(model->compiled, 0, model->inputs, model->input_buffers, model->outputs,
                                          model->output_buffers);
  check(status, "RunCompiledModel");
  if (model->on_gpu) fetch_outputs(model);
}

static void fill_inputs(Model *model, const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) fail("input", "%s: %s", path, strerror(errno));
  for (size_t i = 0; i < model->inputs; i++) {
    Handle buffer = model->input_buffers[model->input_order[i]];
    void *memory;
    size_t size;
    check(litert.GetTensorBufferPackedSize(buffer, &size), "GetTensorBufferPackedSize");
    check(litert.LockTensorBuffer(buffer, &memory, LOCK_WRITE), "LockTensorBuffer");
    if (fread(memory, 1, size, file) != size) fail("input", "the model takes more bytes of input than were given");
    check(litert.UnlockTensorBuffer(buffer), "UnlockTensorBuffer");
  }
  if (fgetc(file) != EOF) fail("input", "the model takes fewer bytes of input than were given");
  fclose(file);
}

static void save_outputs(Model *model, const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) fail("output", "%s: %s", path, strerror(errno));
  for (size_t i = 0; i < model->outputs; i++) {
    Handle buffer = model->output_buffers[model->output_order[i]];
    void *memory;
    size_t size;
    check(litert.GetTensorBufferPackedSize(buffer, &size), "GetTensorBufferPackedSize");
    check(litert.LockTensorBuffer(buffer, &memory, LOCK_READ), "LockTensorBuffer");
    if (fwrite(memory, 1, size, file) != size) fail("output", "%s: %s", path, strerror(errno));
    check(litert.UnlockTensorBuffer(buffer), "UnlockTensorBuffer");
  }
  if (fclose(file)) fail("output", "%s: %s", path, strerror(errno));
}

/* ---- timing ---- */

typedef struct {
  double wall, cpu;
} Sample;

static Sample timed(Model *model) {
  double cpu = clock_us(CLOCK_PROCESS_CPUTIME_ID), wall = clock_us(CLOCK_MONOTONIC);
  run_once(model);
  wall = clock_us(CLOCK_MONOTONIC) - wall;
  return (Sample){wall, clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu};
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static double median(double *values, int count) {
  qsort(values, count, sizeof *values, ascending);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Runs until two successive windows agree, or exactly `wanted` times; returns whether it became steady. */
static bool warm_up(Model *model, int wanted, int *count) {
  *count = 0;
  if (wanted >= 0) {
    for (; *count < wanted; ++*count) run_once(model);
    return true;
  }
  double start = seconds(), previous = 0, window[LONGEST_WINDOW];
  while (seconds() - start < WARMUP_SECONDS) {
    double opened = seconds();
    int size = 0;
    while (size < WARMUP_WINDOW || (size < LONGEST_WINDOW && seconds() - opened < WINDOW_SECONDS))
      window[size++] = timed(model).wall;
    *count += size;
    double now = median(window, size), change = now > previous ? now - previous : previous - now;
    if (previous && change <= STEADY_CHANGE * previous) return true;
    previous = now;
  }
  return false;
}

/* How many runs to measure: at least `shortest`, at most `longest`, and between them until `seconds` have passed. */
typedef struct {
  int shortest, longest;
  double seconds;
} Series;

static Series planned_series(const Arguments *arguments) {
  if (arguments->runs >= 0) return (Series){arguments->runs, arguments->runs, 0};
  if (arguments->seconds >= 0) return (Series){1, LONGEST_SUSTAINED_SERIES, arguments->seconds};
  return (Series){SHORTEST_SERIES, LONGEST_SERIES, SERIES_SECONDS};
}

static int measure(Model *model, Series series, Sample *samples, Meter *meter, Yardstick *yardstick) {
  double stop = seconds() + series.seconds;
  int count = 0;
  while (count < series.shortest || (count < series.longest && seconds() < stop)) {
    samples[count++] = timed(model);
    look(meter);
    look_at_yardstick(yardstick);
  }
  return count;
}

/* ---- operators ---- */

typedef struct {
  char name[160];
  double total_us;
  int calls;
  bool delegated;
} Operator;

typedef struct {
  Operator operators[MOST_OPERATORS];
  int count, partitions, undelegated_nodes;
  bool undelegated[MOST_OPERATORS];
} Profile;

static Profile profile;

static void add_event(const ProfiledEvent *event, size_t nodes) {
  bool delegated = event->event_type == EVENT_INSIDE_DELEGATE;
  if (!delegated && (event->event_type != EVENT_OPERATOR || event->metadata1 >= nodes)) return;
  if (delegated && event->metadata1 == 0) profile.partitions++;
  if (!delegated && event->metadata1 < MOST_OPERATORS && !profile.undelegated[event->metadata1]) {
    profile.undelegated[event->metadata1] = true;
    profile.undelegated_nodes++;
  }
  Operator *known = profile.operators, *end = known + profile.count;
  while (known < end && (known->delegated != delegated || strcmp(known->name, event->tag))) known++;
  if (known == profile.operators + MOST_OPERATORS) return;
  if (known == end) {
    profile.count++;
    known->delegated = delegated;
    snprintf(known->name, sizeof known->name, "%s", event->tag);
  }
  known->total_us += event->elapsed_time_us;
  known->calls++;
}

/* Profiles a second copy of the model: a profiler that is only present already costs time. */
static void profile_operators(const Arguments *arguments, size_t nodes) {
  Model copy = load_model(arguments, true), *model = &copy;
  Handle profiler;
  fill_inputs(model, arguments->input);
  run_once(model);
  check(litert.CompiledModelGetProfiler(model->compiled, &profiler), "CompiledModelGetProfiler");
  check(litert.StartProfiler(profiler), "StartProfiler");
  for (int run = 0; run < PROFILED_RUNS; run++) run_once(model);
  check(litert.StopProfiler(profiler), "StopProfiler");
  int count;
  check(litert.GetNumProfilerEvents(profiler, &count), "GetNumProfilerEvents");
  ProfiledEvent *events = calloc(count + 1, sizeof *events);
  check(litert.GetProfilerEvents(profiler, count, events), "GetProfilerEvents");
  for (int i = 0; i < count; i++) add_event(&events[i], nodes);
  free(events);
}

static int integer_nodes(Model *model, size_t nodes) {
  int count = 0;
  for (size_t i = 0; i < nodes; i++) {
    Handle operator, tensor;
    size_t outputs;
    bool integer = false;
    check(litert.GetSubgraphOp(model->subgraph, i, &operator), "GetSubgraphOp");
    check(litert.GetNumOpOutputs(operator, &outputs), "GetNumOpOutputs");
    for (size_t j = 0; j < outputs; j++) {
      TensorType type;
      check(litert.GetOpOutput(operator, j, &tensor), "GetOpOutput");
      if (litert.GetRankedTensorType(tensor, &type) == STATUS_OK && type.element_type == TENSOR_INT8) integer = true;
    }
    count += integer;
  }
  return count;
}

/* ---- the document ---- */

static void print_reading(const char *name, Reading reading) {
  printf("\"%s\": ", name);
  if (reading.known)
    printf("%.12g", reading.value);
  else
    printf("null");
}

static void print_yardstick(const Yardstick *yardstick) {
  printf("\"yardstick\": ");
  if (!yardstick->bursts) {
    printf("null");
    return;
  }
  printf("{\"kind\": \"C (compiler %s), %d×%d float32 product\", \"after\": [", __VERSION__, SIDE, SIDE);
  for (int i = 0; i < yardstick->count; i++) printf("%s%d", i ? ", " : "", yardstick->after[i]);
  printf("], \"bursts_us\": [");
  for (int i = 0; i < yardstick->count; i++) printf("%s%.4f", i ? ", " : "", yardstick->bursts[i]);
  printf("]}");
}

static void print_profile(const Arguments *arguments, size_t nodes) {
  profile_operators(arguments, nodes);
  printf("\"delegated_nodes\": %zu, \"partitions\": %d, ", nodes - profile.undelegated_nodes,
         profile.partitions / PROFILED_RUNS);
  printf("\"operators\": [");
  for (int i = 0; i < profile.count; i++) {
    printf("%s{\"name\": ", i ? ", " : "");
    print_string(profile.operators[i].name);
    printf(", \"us\": %.3f, \"calls\": %.2f, \"delegated\": %s}", profile.operators[i].total_us / PROFILED_RUNS,
           (double)profile.operators[i].calls / PROFILED_RUNS, profile.operators[i].delegated ? "true" : "false");
  }
  printf("]");
}

/* GPU accelerators have no profiler, and say of delegation only whether it is whole. */
static void print_acceleration(Model *model, size_t nodes) {
  bool whole;
  check(litert.CompiledModelIsNonCpuFullyAccelerated(model->compiled, &whole), "IsNonCpuFullyAccelerated");
  if (whole)
    printf("\"delegated_nodes\": %zu, \"partitions\": 1, \"operators\": null", nodes);
  else
    printf("\"delegated_nodes\": null, \"partitions\": null, \"operators\": null");
}

int main(int count, char **words) {
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody waits for the result once the parent has gone */
  Arguments arguments = parse(count, words);
  if (arguments.restricted && sched_setaffinity(0, sizeof arguments.cpus, &arguments.cpus))
    fail("cpus", "%s", strerror(errno));
  sched_getaffinity(0, sizeof arguments.cpus, &arguments.cpus);
  if (arguments.threads > CPU_COUNT(&arguments.cpus))
    fail("threads", "%d threads on %d usable cores", arguments.threads, CPU_COUNT(&arguments.cpus));
  load_library(arguments.library);
  Reading baseline = resident_bytes("VmRSS:");

  double start = clock_us(CLOCK_MONOTONIC);
  Model model = load_model(&arguments, false);
  double init = clock_us(CLOCK_MONOTONIC) - start;
  fill_inputs(&model, arguments.input);
  double first = timed(&model).wall;
  save_outputs(&model, arguments.output);

  int warmup_runs;
  bool steady = warm_up(&model, arguments.warmup, &warmup_runs);
  Series series = planned_series(&arguments);
  Sample *samples = calloc(series.longest + 1, sizeof *samples);
  Reading heat[2], clock[2], wait[2];
  heat[0] = temperature(), clock[0] = frequency(&arguments.cpus), wait[0] = waited();
  long switches = involuntary_switches();
  double opened = seconds();
  Yardstick yardstick = {0};
  /* One core's speed says little of several, and nothing of a GPU. */
  if (arguments.threads == 1 && !model.on_gpu) {
    fill_matrices();
    yardstick.bursts = calloc(series.longest + 1, sizeof *yardstick.bursts);
    yardstick.after = calloc(series.longest + 1, sizeof *yardstick.after);
  }
  Meter meter = start_meter();
  int runs = measure(&model, series, samples, &meter, &yardstick);
  Reading energy = stop_meter(&meter);
  double elapsed = seconds() - opened;
  switches = involuntary_switches() - switches;
  wait[1] = waited(), heat[1] = temperature(), clock[1] = frequency(&arguments.cpus);
  Reading peak = resident_bytes("VmHWM:");
  Reading pressure = {wait[0].known && wait[1].known && elapsed >= SHORTEST_PRESSURE_SECONDS,
                      (wait[1].value - wait[0].value) / elapsed / 1e4};
  if (pressure.value > 100) pressure.value = 100;
  size_t nodes;
  check(litert.GetNumSubgraphOps(model.subgraph, &nodes), "GetNumSubgraphOps");

  printf("\n{\"init_us\": %.3f, \"first_us\": %.3f, \"warmup_runs\": %d, \"steady\": %s, ", init, first, warmup_runs,
         steady ? "true" : "false");
  printf("\"cpus\": [");
  for (int cpu = 0, printed = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &arguments.cpus)) printf("%s%d", printed++ ? ", " : "", cpu);
  printf("], \"samples_us\": [");
  for (int i = 0; i < runs; i++) printf("%s%.3f", i ? ", " : "", samples[i].wall);
  printf("], \"cpu_us\": [");
  for (int i = 0; i < runs; i++) printf("%s%.3f", i ? ", " : "", samples[i].cpu);
  printf("], ");
  print_reading("baseline_rss_bytes", baseline);
  printf(", ");
  print_reading("peak_rss_bytes", peak);
  printf(", \"temperature\": {");
  print_reading("before", heat[0]);
  printf(", ");
  print_reading("after", heat[1]);
  printf("}, \"frequency\": {");
  print_reading("before", clock[0]);
  printf(", ");
  print_reading("after", clock[1]);
  printf("}, \"energy\": ");
  if (energy.known)
    printf("{\"source\": \"%s\", \"joules\": %.9g, \"seconds\": %.9g}", meter.source, energy.value,
           meter.last - meter.start);
  else
    printf("null");
  printf(", \"involuntary_switches\": %ld, ", switches);
  print_reading("cpu_pressure", pressure);
  printf(", ");
  print_yardstick(&yardstick);
  printf(", \"nodes\": %zu, \"integer_nodes\": %d, ", nodes, integer_nodes(&model, nodes));
  if (model.on_gpu)
    print_acceleration(&model, nodes);
  else
    print_profile(&arguments, nodes);
  printf("}\n");
  fflush(stdout);
  _exit(0);
}
