// Matrix products of float32 or bf16 numbers, summed in float32: oneDNN's brgemm on packed panels.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/zeros.h>

#include "simd.h"
#include "allocator.h"

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

// A square of PADDING rows and columns becomes its transpose.
template <class P>
void transpose_block(const P* from, int64_t ld, P* to, int64_t to_ld) {
#if defined(CPU_CAPABILITY_AVX512)
  at::vec::transpose_mxn<P, PADDING, PADDING>(from, ld, to, to_ld);
#else
  for (int64_t r = 0; r < PADDING; r++) {
    for (int64_t q = 0; q < PADDING; q++) to[q * to_ld + r] = from[r * ld + q];
  }
#endif
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

// The same of the transpose: row n of w becomes column n of the panel. n is a multiple of PADDING.
template <class P>
void pack_columns(const P* w, int64_t ld, int64_t k, int64_t n, P* panel) {
  const auto* from = reinterpret_cast<const float*>(w);  // a pair of bf16 moves as one
  auto* to = reinterpret_cast<float*>(panel);
  const int64_t rows = k / PAIR<P>, from_ld = ld / PAIR<P>;
  for (int64_t j = 0; j < n; j += PADDING) {
    int64_t r = 0;
    for (; r + PADDING <= rows; r += PADDING) transpose_block(from + j * from_ld + r, from_ld, to + r * n + j, n);
    for (; r < rows; r++) {
      for (int64_t q = j; q < j + PADDING; q++) to[r * n + q] = from[q * from_ld + r];
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

  // c (m, N) = a (m, K) · this, or added to it. (RowPanels reads the last argument.)
  void operator()(int64_t m, const P* a, int64_t lda, float* c, int64_t ldc, bool is_added,
                  bool = false) const {
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

// Σ_r left[r]ᵀ·right[r] over rows that come in turns: (left width, right width) in float32, as a
// weight's gradient.
template <class P>
class OuterSum {
 public:
  OuterSum(int64_t left, int64_t right) : sum_(unwritten<float>({left, right})) {}

  void add(int64_t rows, Block<P> left, Block<P> right) {
    for (int64_t start = 0; start < rows; start += MOST) {
      const int64_t count = std::min(MOST, rows - start);
      transpose(count, {left.data + start * left.ld, left.width, left.ld});
      multiply_all(count, {right.data + start * right.ld, right.width, right.ld});
      is_begun_ = true;
    }
  }

  const Tensor& operator()() const { return sum_; }

 private:
  static constexpr int64_t MOST = 1024;  // rows at a time, so that what is packed stays in cache
  static constexpr int64_t WIDTH = 128;  // of a panel
  static constexpr int64_t STRIDE = MOST + 32;  // no power of two: rows must not fall on one cache set

  // transposed_ = leftᵀ; a column of zeros ends an odd number.
  void transpose(int64_t count, Block<P> left) {
    if (!transposed_.defined()) transposed_ = unwritten<P>({left.width, STRIDE});
    P* to = transposed_.template mutable_data_ptr<P>();
    at::parallel_for(0, left.width / PADDING, 1, [&](int64_t first, int64_t last) {
      for (int64_t j = first * PADDING; j < last * PADDING; j += PADDING) {
        int64_t r = 0;
        for (; r + PADDING <= count; r += PADDING) {
          transpose_block(left.data + r * left.ld + j, left.ld, to + j * STRIDE + r, STRIDE);
        }
        for (; r < count + count % 2; r++) {
          for (int64_t q = 0; q < PADDING; q++) {
            to[(j + q) * STRIDE + r] = r < count ? left.data[r * left.ld + j + q] : P(0.f);
          }
        }
      }
    });
  }

  void multiply_all(int64_t count, Block<P> right) {
    const P* transposed = transposed_.template const_data_ptr<P>();
    float* sum = sum_.mutable_data_ptr<float>();
    const int64_t m = sum_.size(0), even = count / PAIR<P> * PAIR<P>;
    const int64_t k = (count + PAIR<P> - 1) / PAIR<P> * PAIR<P>;
    at::parallel_for(0, (right.width + WIDTH - 1) / WIDTH, 1, [&](int64_t first, int64_t last) {
      Tensor panel = unwritten<P>({k * WIDTH});
      P* packed = panel.template mutable_data_ptr<P>();
      for (int64_t j = first * WIDTH; j < std::min(last * WIDTH, right.width); j += WIDTH) {
        const int64_t width = std::min(WIDTH, right.width - j);
        pack_rows(right.data + j, right.ld, even, width, packed);
        if (even < count) {
          P last_pair[2 * WIDTH] = {};
          std::copy_n(right.data + even * right.ld + j, width, last_pair);
          pack_rows(last_pair, WIDTH, 2, width, packed + even * width);
        }
        multiply(m, width, k, transposed, STRIDE, packed, sum + j, right.width, is_begun_);
      }
      at::native::cpublas::brgemm_release(PAIR<P> == 2);
    });
  }

  Tensor sum_, transposed_;
  bool is_begun_ = false;
};

template <class P>
Tensor summed_outer(int64_t rows, Block<P> left, Block<P> right) {
  OuterSum<P> sum(left.width, right.width);
  sum.add(rows, left, right);
  return sum();
}

// Adds the rows of d to those of sum (rows of a table, d.width) that their ids name.
template <class P>
void add_by_id(int64_t rows, const int64_t* ids, Block<P> d, const Tensor& sum) {
  float* sum_at = sum.mutable_data_ptr<float>();
  at::parallel_for(0, (d.width + PANEL - 1) / PANEL, 1, [&](int64_t first, int64_t last) {
    const int64_t from = first * PANEL, to = std::min(last * PANEL, d.width);
    for (int64_t r = 0; r < rows; r++) {
      float* row = sum_at + ids[r] * d.width;
      for (int64_t j = from; j < to; j += Lane::size()) {
        store(row + j, load(row + j) + load(d.data + r * d.ld + j));
      }
    }
  });
}

}  // namespace carousel
