/* Multiply-accumulates on registers alone, as many as one core can do. Each function returns how many it did. */

#define CHAINS 12 /* enough to hide the latency of each instruction */

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

typedef float floats __attribute__((vector_size(BYTES)));
static volatile float float_sink;

/* Float32: x = x · a + b, which the compiler turns into one fused instruction where there is one. */
long multiply_float32(long rounds) {
    floats chains[CHAINS], a = {0}, b = {0};
    for (int lane = 0; lane < (int)(BYTES / sizeof(float)); lane++) a[lane] = 0.5f, b[lane] = 1.0f;
    for (int chain = 0; chain < CHAINS; chain++) chains[chain] = a * (float)chain;
    for (long round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++) chains[chain] = chains[chain] * a + b;
    for (int chain = 0; chain < CHAINS; chain++) float_sink += chains[chain][0];
    return rounds * CHAINS * (long)(BYTES / sizeof(float));
}

#if defined(__AVX512VNNI__)
#include <immintrin.h>
static volatile int integer_sink;

/* Int8: dot products of four bytes, added to 32 bits (VNNI). */
long multiply_int8(long rounds) {
    __m512i chains[CHAINS], a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(-1);
    for (int chain = 0; chain < CHAINS; chain++) chains[chain] = _mm512_set1_epi32(chain);
    for (long round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++) chains[chain] = _mm512_dpbusd_epi32(chains[chain], a, b);
    for (int chain = 0; chain < CHAINS; chain++) integer_sink += _mm512_cvtsi512_si32(chains[chain]);
    return rounds * CHAINS * 64;
}
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
static volatile int integer_sink;

/* Int8: dot products of four bytes, added to 32 bits (SDOT). */
long multiply_int8(long rounds) {
    int32x4_t chains[CHAINS];
    int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(-1);
    for (int chain = 0; chain < CHAINS; chain++) chains[chain] = vdupq_n_s32(chain);
    for (long round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++) chains[chain] = vdotq_s32(chains[chain], a, b);
    for (int chain = 0; chain < CHAINS; chain++) integer_sink += vgetq_lane_s32(chains[chain], 0);
    return rounds * CHAINS * 16;
}
#else
/* No instruction of that kind. */
long multiply_int8(long rounds) {
    (void)rounds;
    return 0;
}
#endif
