// Matrix products whose rows do not depend on each other: each number is summed over the features in
// their order, however many rows there are. So a text is the same alone or in a batch.
#pragma once

#include "gemm.h"

namespace carousel {

constexpr int64_t LANES = 4;  // side by side, so many sums run while one addition takes
constexpr int64_t STRIP = LANES * Lane::size();

// sum + a·b, of one number with a lane, or of pairs of bf16 with a lane of pairs.
inline Lane add_product(Lane sum, const float* a, const float* b) {
  return at::vec::fmadd(Lane(*a), load(b), sum);
}

inline Lane add_product(Lane sum, const BFloat16* a, const BFloat16* b) {
#if defined(CPU_CAPABILITY_AVX512) && defined(__AVX512BF16__)
  int32_t pair;
  std::memcpy(&pair, a, sizeof pair);
  const __m512i left = _mm512_set1_epi32(pair), right = _mm512_loadu_si512(b);
  return _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right);
#else
  Lane even, odd;  // of a lane of pairs: the first numbers, the second ones
  alignas(64) float first[Lane::size()], second[Lane::size()];
  for (int64_t j = 0; j < Lane::size(); j++) {
    first[j] = b[2 * j];
    second[j] = b[2 * j + 1];
  }
  even = Lane::loadu(first), odd = Lane::loadu(second);
  sum = at::vec::fmadd(Lane(static_cast<float>(a[1])), odd, sum);
  return at::vec::fmadd(Lane(static_cast<float>(a[0])), even, sum);
#endif
}

// A right factor (K, N), both multiples of PADDING, in strips of columns.
template <class P>
class RowPanels {
 public:
  RowPanels() = default;

  explicit RowPanels(const Tensor& matrix) : k_(matrix.size(0)), n_(matrix.size(1)) {
    const Tensor whole = matrix.contiguous();
    packed_ = unwritten<P>({k_ * n_});
    P* to = packed_.template mutable_data_ptr<P>();
    for (int64_t j = 0; j < n_; j += STRIP) {
      const int64_t width = std::min(STRIP, n_ - j);
      pack_rows(whole.const_data_ptr<P>() + j, n_, k_, width, to + j * k_);
    }
  }

  // c (m, N) = a (m, K) · this, or added to it. `reversed` begins with the last strip: a caller that
  // alternates finds the strips it read last still in cache. The numbers are the same.
  void operator()(int64_t m, const P* a, int64_t lda, float* c, int64_t ldc, bool is_added,
                  bool reversed = false) const {
    const int64_t strips = (n_ + STRIP - 1) / STRIP;
    for (int64_t s = 0; s < strips; s++) {
      const int64_t j = (reversed ? strips - 1 - s : s) * STRIP;
      const P* strip = packed_.template const_data_ptr<P>() + j * k_;
      switch (std::min(STRIP, n_ - j) / Lane::size()) {
        case 1: rows<1>(m, a, lda, strip, c + j, ldc, is_added); break;
        case 2: rows<2>(m, a, lda, strip, c + j, ldc, is_added); break;
        case 3: rows<3>(m, a, lda, strip, c + j, ldc, is_added); break;
        default: rows<4>(m, a, lda, strip, c + j, ldc, is_added);
      }
    }
  }

 private:
  static constexpr int64_t MOST = Lane::size() == 16 ? 6 : 2;  // rows whose sums fit in registers

  template <int W>
  void rows(int64_t m, const P* a, int64_t lda, const P* strip, float* c, int64_t ldc,
            bool is_added) const {
    const int64_t parts = (m + MOST - 1) / MOST;
    for (int64_t part = 0; part < parts; part++) {
      const int64_t first = part * m / parts, count = (part + 1) * m / parts - first;
      const P* from = a + first * lda;
      float* to = c + first * ldc;
      switch (count) {
        case 1: some<1, W>(from, lda, strip, to, ldc, is_added); break;
        case 2: some<2, W>(from, lda, strip, to, ldc, is_added); break;
        case 3: some<3, W>(from, lda, strip, to, ldc, is_added); break;
        case 4: some<4, W>(from, lda, strip, to, ldc, is_added); break;
        case 5: some<5, W>(from, lda, strip, to, ldc, is_added); break;
        default: some<6, W>(from, lda, strip, to, ldc, is_added);
      }
    }
  }

  // R rows by W lanes of columns.
  template <int R, int W>
  void some(const P* a, int64_t lda, const P* strip, float* c, int64_t ldc, bool is_added) const {
    constexpr int64_t step = PAIR<P>, width = W * Lane::size() * step;
    Lane sum[R][W];
    for (int m = 0; m < R; m++) {
      for (int j = 0; j < W; j++) {
        sum[m][j] = is_added ? load(c + m * ldc + j * Lane::size()) : Lane(0.f);
      }
    }
    for (int64_t k = 0; k < k_; k += step, strip += width) {
      for (int m = 0; m < R; m++) {
        for (int j = 0; j < W; j++) {
          sum[m][j] = add_product(sum[m][j], a + m * lda + k, strip + j * Lane::size() * step);
        }
      }
    }
    for (int m = 0; m < R; m++) {
      for (int j = 0; j < W; j++) store(c + m * ldc + j * Lane::size(), sum[m][j]);
    }
  }

  int64_t k_ = 0, n_ = 0;
  Tensor packed_;
};

}  // namespace carousel
