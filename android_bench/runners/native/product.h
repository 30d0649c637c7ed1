/* A fixed product of two float32 matrices, computed as XNNPACK and a BLAS do: one matrix is packed, then sums are kept
   in registers that are as wide as the processor's. What slows their kernels slows it alike; plain loops do not. */
enum { SIDE = 64, LANES = 16, ROWS = 4 };

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));

static float left[SIDE][SIDE], packed[SIDE][SIDE];
static Lanes right[SIDE][SIDE / LANES], product[SIDE][SIDE / LANES];

static void fill_matrices(void) {
  for (int row = 0; row < SIDE; row++)
    for (int column = 0; column < SIDE; column++) {
      left[row][column] = 1.0f / (1 + row + column);
      right[row][column / LANES][column % LANES] = 1.0f / (1 + (row * 7 + column * 3) % 64);
    }
}

/* The asm statements keep the compiler from leaving out work whose result nobody reads. */
__attribute__((noinline)) static void pack(void) {
  for (int row = 0; row < SIDE; row++)
    for (int inner = 0; inner < SIDE; inner++) packed[inner][row] = left[row][inner];
  __asm__ volatile("" : : "r"(packed) : "memory");
}

#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("avx512f", "fma", "default")))
#endif
__attribute__((noinline)) static void multiply_packed(void) {
  for (int row = 0; row < SIDE; row += ROWS)
    for (int column = 0; column < SIDE / LANES; column++) {
      Lanes sum0 = {0}, sum1 = {0}, sum2 = {0}, sum3 = {0};
      for (int inner = 0; inner < SIDE; inner++) {
        Lanes values = right[inner][column];
        sum0 += packed[inner][row] * values;
        sum1 += packed[inner][row + 1] * values;
        sum2 += packed[inner][row + 2] * values;
        sum3 += packed[inner][row + 3] * values;
      }
      product[row][column] = sum0;
      product[row + 1][column] = sum1;
      product[row + 2][column] = sum2;
      product[row + 3][column] = sum3;
    }
  __asm__ volatile("" : : "r"(product) : "memory");
}

static void multiply(void) {
  pack();
  multiply_packed();
}
