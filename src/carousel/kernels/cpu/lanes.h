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
  at::vec::convert_from_float<BFloat16>(lane, lane).store(to, Lane::size());
#endif
}

// The logistic function and tanh, as exact as what they are kept in: P is the type of the products.
template <class P>
Lane sigmoid(Lane a);

template <>
inline Lane sigmoid<float>(Lane a) {
  return Lane(1.f) / (Lane(1.f) + a.neg().exp());
}

template <>
inline Lane sigmoid<BFloat16>(Lane a) {
  return Lane(1.f) / (Lane(1.f) + a.neg().exp_u20());
}

template <class P>
Lane tanh(Lane a);

template <>
inline Lane tanh<float>(Lane a) {
  return a.tanh();
}

template <>
inline Lane tanh<BFloat16>(Lane a) {
  return Lane(2.f) * sigmoid<BFloat16>(a + a) - Lane(1.f);
}

}  // namespace carousel
