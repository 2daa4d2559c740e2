// Matrix products of float32 or bf16 numbers, summed in float32: oneDNN's brgemm on packed panels.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/zeros.h>

#include "lanes.h"
#include "memory.h"

namespace carousel {

// A panel of the right factor stays in the nearest cache while it meets all rows of the left one.
constexpr int64_t PANEL = 64;

// Multiplying bf16 reads two rows of the right factor at once: they stand interleaved.
template <class P>
constexpr int64_t PAIR = std::is_same_v<P, BFloat16> ? 2 : 1;

template <class P>
void multiply(int64_t m, int64_t n, int64_t k, const P* a, int64_t lda, const P* panel, float* c,
              int64_t ldc, bool is_added) {
  at::native::cpublas::brgemm(m, n, k, lda, n, ldc, is_added, a, panel, c, PAIR<P> == 2);
}

// Rows of w, each `ld` from the next, as one panel of n columns.
template <class P>
void pack_rows(const P* w, int64_t ld, int64_t k, int64_t n, P* panel) {
  if constexpr (PAIR<P> == 1) {
    for (int64_t r = 0; r < k; r++) std::copy_n(w + r * ld, n, panel + r * n);
  } else {
    auto* out = reinterpret_cast<uint32_t*>(panel);
    for (int64_t r = 0; r < k; r += 2) {
      const auto* even = reinterpret_cast<const uint16_t*>(w + r * ld);
      const auto* odd = even + ld;
      for (int64_t j = 0; j < n; j++) out[j] = even[j] | uint32_t(odd[j]) << 16;
      out += n;
    }
  }
}

// The same of the transpose: row n of w becomes column n of the panel.
template <class P>
void pack_columns(const P* w, int64_t ld, int64_t k, int64_t n, P* panel) {
  using Unit = std::conditional_t<PAIR<P> == 2, uint32_t, float>;  // a pair stands side by side
  auto* out = reinterpret_cast<Unit*>(panel);
  for (int64_t r = 0; r < k / PAIR<P>; r++) {
    for (int64_t j = 0; j < n; j++) {
      out[r * n + j] = reinterpret_cast<const Unit*>(w + j * ld)[r];
    }
  }
}

// A right factor (K, N), both multiples of PADDING, packed once and multiplied at every time step.
template <class P>
class Panels {
 public:
  Panels() = default;

  explicit Panels(const Tensor& matrix) : k_(matrix.size(0)), n_(matrix.size(1)) {
    packed_ = unwritten<P>({k_ * n_});
    const P* w = matrix.const_data_ptr<P>();
    P* to = packed_.template mutable_data_ptr<P>();
    const int64_t down = matrix.stride(0), right = matrix.stride(1);
    TORCH_INTERNAL_ASSERT(down == 1 || right == 1);
    at::parallel_for(0, (n_ + PANEL - 1) / PANEL, 1, [&](int64_t first, int64_t last) {
      for (int64_t j = first * PANEL; j < std::min(last * PANEL, n_); j += PANEL) {
        const int64_t width = std::min(PANEL, n_ - j);
        if (right == 1) {
          pack_rows(w + j, down, k_, width, to + j * k_);
        } else {
          pack_columns(w + j * right, right, k_, width, to + j * k_);
        }
      }
    });
  }

  // c (m, N) = a (m, K) · this, or added to it.
  void operator()(int64_t m, const P* a, int64_t lda, float* c, int64_t ldc, bool is_added) const {
    const P* panel = packed_.template const_data_ptr<P>();
    if (m == 0) return;  // brgemm knows no product of nothing
    for (int64_t j = 0; j < n_; j += PANEL) {
      multiply(m, std::min(PANEL, n_ - j), k_, a, lda, panel + j * k_, c + j, ldc, is_added);
    }
  }

 private:
  int64_t k_ = 0, n_ = 0;
  Tensor packed_;
};

// A matrix in memory: rows of `width` columns, each `ld` from the next.
template <class P>
struct Block {
  const P* data;
  int64_t width, ld;
};

// A square of PADDING rows and columns becomes its transpose.
template <class P>
void turn(const P* from, int64_t ld, P* to, int64_t to_ld) {
#if defined(CPU_CAPABILITY_AVX512)
  at::vec::transpose_mxn<P, PADDING, PADDING>(from, ld, to, to_ld);
#else
  for (int64_t r = 0; r < PADDING; r++) {
    for (int64_t q = 0; q < PADDING; q++) to[q * to_ld + r] = from[r * ld + q];
  }
#endif
}

// Σ_r left[r]ᵀ·right[r] over all rows: (left.width, right.width) in float32, as a weight's gradient.
template <class P>
Tensor summed_outer(int64_t rows, Block<P> left, Block<P> right) {
  constexpr int64_t CHUNK = 512;  // rows at a time, so that what is packed stays in cache
  constexpr int64_t STRIDE = CHUNK + 32;  // no power of two: rows must not fall on one cache set
  const int64_t chunks = (rows + CHUNK - 1) / CHUNK, m = left.width;
  Tensor turned = unwritten<P>({chunks, m, STRIDE});  // leftᵀ, chunk by chunk
  P* turned_at = turned.template mutable_data_ptr<P>();
  at::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; chunk++) {
      const int64_t start = chunk * CHUNK, count = std::min(CHUNK, rows - start);
      const int64_t even = (count + 1) / 2 * 2;  // a row of zeros ends an odd number
      P* to = turned_at + chunk * m * STRIDE;
      for (int64_t j = 0; j < m; j += PADDING) {
        const P* from = left.data + start * left.ld + j;
        int64_t r = 0;
        for (; r + PADDING <= count; r += PADDING) {
          turn(from + r * left.ld, left.ld, to + j * STRIDE + r, STRIDE);
        }
        for (; r < even; r++) {
          for (int64_t q = 0; q < PADDING; q++) {
            to[(j + q) * STRIDE + r] = r < count ? from[r * left.ld + q] : P(0.f);
          }
        }
      }
    }
  });
  Tensor sum = unwritten<float>({m, right.width});
  float* sum_at = sum.mutable_data_ptr<float>();
  at::parallel_for(0, (right.width + PANEL - 1) / PANEL, 1, [&](int64_t first, int64_t last) {
    Tensor panel = unwritten<P>({CHUNK * PANEL});
    P* panel_at = panel.template mutable_data_ptr<P>();
    for (int64_t j = first * PANEL; j < std::min(last * PANEL, right.width); j += PANEL) {
      const int64_t width = std::min(PANEL, right.width - j);
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t start = chunk * CHUNK, count = std::min(CHUNK, rows - start);
        const int64_t even = count / 2 * 2;
        const P* from = right.data + start * right.ld + j;
        pack_rows(from, right.ld, PAIR<P> == 2 ? even : count, width, panel_at);
        if (PAIR<P> == 2 && even < count) {
          P last_pair[2 * PANEL] = {};
          std::copy_n(from + even * right.ld, width, last_pair);
          pack_rows(last_pair, PANEL, 2, width, panel_at + even * width);
        }
        const int64_t k = PAIR<P> == 2 ? (count + 1) / 2 * 2 : count;
        multiply(m, width, k, turned_at + chunk * m * STRIDE, STRIDE, panel_at, sum_at + j,
                 right.width, chunk > 0);
      }
    }
    at::native::cpublas::brgemm_release(PAIR<P> == 2);
  });
  return sum;
}

// Σ of the rows of d that have the same id: (count, d.width) in float32, as a table's gradient.
template <class P>
Tensor summed_by_id(const Tensor& ids, int64_t count, Block<P> d) {
  Tensor sum = at::zeros({count, d.width}, at::kFloat);
  float* sum_at = sum.mutable_data_ptr<float>();
  const int64_t* id = ids.const_data_ptr<int64_t>();
  at::parallel_for(0, (d.width + PANEL - 1) / PANEL, 1, [&](int64_t first, int64_t last) {
    const int64_t from = first * PANEL, to = std::min(last * PANEL, d.width);
    for (int64_t r = 0; r < ids.numel(); r++) {
      float* row = sum_at + id[r] * d.width;
      for (int64_t j = from; j < to; j += Lane::size()) {
        store(row + j, load(row + j) + load(d.data + r * d.ld + j));
      }
    }
  });
  return sum;
}

}  // namespace carousel
