/* Preloaded into the test device's shell: runs 64-bit ARM programs with qemu, as a phone runs them itself.

   The kernel could do that with binfmt_misc, but only for the whole machine. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MACHINE_OFFSET = 18, MACHINE_AARCH64 = 183, MOST_ARGUMENTS = 512 };

static int is_aarch64(const char *path) {
  unsigned char header[20] = {0};
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t size = read(file, header, sizeof header);
  close(file);
  return size == sizeof header && !memcmp(header, "\177ELF", 4) && header[MACHINE_OFFSET] == MACHINE_AARCH64;
}

int execve(const char *path, char *const arguments[], char *const environment[]) {
  int (*real)(const char *, char *const[], char *const[]) = dlsym(RTLD_NEXT, "execve");
  const char *qemu = getenv("ANDROID_BENCH_QEMU"), *cpu = getenv("ANDROID_BENCH_QEMU_CPU");
  if (!qemu || !cpu || !is_aarch64(path)) return real(path, arguments, environment);
  char *words[MOST_ARGUMENTS] = {(char *)qemu, "-cpu", (char *)cpu, "-U", "LD_PRELOAD", (char *)path};
  int count = 6;
  for (int i = 1; arguments[i]; i++) {
    if (count + 1 == MOST_ARGUMENTS) {
      errno = E2BIG;
      return -1;
    }
    words[count++] = arguments[i];
  }
  return real(qemu, words, environment);
}
