// Numbers as the processor takes them: a lane of float32, read from and written to float32 or bf16.
#pragma once

#include <ATen/cpu/vec/vec.h>
#include <c10/util/BFloat16.h>

namespace carousel {

using c10::BFloat16;
using Lane = at::vec::Vectorized<float>;

// Units and features are padded with zeros to a multiple of this: no loop has a tail.
constexpr int64_t PADDING = 16;
static_assert(PADDING % Lane::size() == 0);

inline int64_t padded(int64_t size) {
  return (size + PADDING - 1) / PADDING * PADDING;
}

inline Lane load(const float* from) {
  return Lane::loadu(from);
}

inline Lane load(const BFloat16* from) {
  Lane lane;
  at::vec::load_fp32_from_bf16(from, lane);
  return lane;
}

inline void store(float* to, Lane lane) {
  lane.store(to);
}

inline void store(BFloat16* to, Lane lane) {
#if defined(CPU_CAPABILITY_AVX512) && defined(__AVX512BF16__)
  const __m256bh half = _mm512_cvtneps_pbh(__m512(lane));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<const __m256i&>(half));
#else
  at::vec::convert_float_bfloat16(lane, lane).store(to, Lane::size());  // rounds to even, too
#endif
}

// e^a = power·(1 + rest): power of two, and |rest| < 0.42 as exact in float32 where a is near 0.
struct Exponential {
  Lane power, rest;
};

// 2^whole, whole from -126 to 127.
inline Lane power_of_two(Lane whole) {
#if defined(CPU_CAPABILITY_AVX512)
  return _mm512_scalef_ps(_mm512_set1_ps(1.f), whole);
#else
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
#endif
}

inline Lane inverse(Lane a) {
#if defined(CPU_CAPABILITY_AVX512)
  const Lane guess = _mm512_rcp14_ps(a);  // and a step of Newton's: quicker than a division
  return at::vec::fmadd(guess, at::vec::fnmadd(a, guess, Lane(1.f)), guess);
#else
  return Lane(1.f) / a;
#endif
}

// For |a| ≤ 87. (2^f - 1) / f on |f| ≤ 1/2 as a polynomial of least relative error, found by Remez'
// exchange: 4.3e-7 for bf16, 1.1e-8 for float32.
template <class P>
Exponential exponential(Lane a) {
  const Lane log2_e(1.44269504f), whole = (a * log2_e).round();
  const Lane f = at::vec::fmsub(a, log2_e, whole);
  Lane sum;
  if constexpr (std::is_same_v<P, BFloat16>) {
    sum = at::vec::fmadd(f, Lane(0.00133335392f), Lane(0.00966624543f));
    sum = at::vec::fmadd(f, sum, Lane(0.0555050038f));
    sum = at::vec::fmadd(f, sum, Lane(0.240223512f));
    sum = at::vec::fmadd(f, sum, Lane(0.693147123f));
  } else {
    sum = at::vec::fmadd(f, Lane(0.000154035122f), Lane(0.00133907353f));
    sum = at::vec::fmadd(f, sum, Lane(0.00961823761f));
    sum = at::vec::fmadd(f, sum, Lane(0.0555035733f));
    sum = at::vec::fmadd(f, sum, Lane(0.240226492f));
    sum = at::vec::fmadd(f, sum, Lane(0.693147182f));
  }
  return {power_of_two(whole), f * sum};
}

// The logistic function and tanh, as exact as P, the type of the products, asks; no number stays none.
template <class P>
Lane sigmoid(Lane a) {
  const auto [power, rest] = exponential<P>(at::vec::clamp(a, Lane(-87.f), Lane(87.f)).neg());
  return inverse(at::vec::fmadd(power, rest, power) + Lane(1.f));
}

template <class P>
Lane tanh(Lane a) {
  const Lane twice = a + a;
  const auto [power, rest] = exponential<P>(at::vec::clamp(twice, Lane(-20.f), Lane(20.f)));
  const Lane less_one = at::vec::fmadd(power, rest, power - Lane(1.f));  // e^2a - 1
  return at::vec::clamp_max(less_one * inverse(less_one + Lane(2.f)), Lane(1.f));
}

}  // namespace carousel
