// The time loop of ops/recurrence.py, fused: one thread takes a slice of the batch through the whole
// sequence, so that threads never meet inside it and what a step touches stays in cache.
// State is float32, always; P is the type of the products, float or bf16, whose sums are float32 too.
// Labels (bptt.…) are of math/recurrence/equations.md.
#pragma once

#include "layer.h"

namespace carousel {

// One time step of the rows of a tile.
template <class P>
struct Step {
  int64_t rows;
  const int64_t* ids;  // of the rows' shifts; null: all have the first
  const P* read;       // [x_t | h_{t-1}], each row `width` from the next
  P* h_next;           // h_t as the next step reads it, in the same distance
  float* h;            // h_{t-1}, becomes h_t: (rows, Hp)
  const float* c_prev;
  float* c;
  P* kept;
  float* a;  // scratch for products, (rows, ACTIVATIONS·Hp)
  bool reversed = false;  // the order in which weights are read (batch_invariant_gemm.h)
};

// Runs T steps of a Cell: y (T, B, H) of P, the state after the last, and the caches if kept.
template <template <class> class Cell, class P>
Tensors forward(const Input& input, const Tensors& state, const Weights& weights, bool is_kept) {
  using C = Cell<P>;
  const Sizes n(input.x.size(0), input.x.size(1), weights);
  const int64_t W = n.width(), K = C::KEPT * n.Hp;
  const int64_t slots = is_kept ? n.T + 1 : 2, kept_slots = is_kept ? n.T : 1;
  Tensor y = unwritten<P>({n.T, n.B, n.H});
  Tensor read = unwritten<P>({slots, n.B, W});
  Tensor kept = unwritten<P>({kept_slots, n.B, K});
  Tensor cells = unwritten<float>({C::HAS_CELL ? slots : 0, n.B, n.Hp});
  Tensors last;
  for (const Tensor& part : state) last.push_back(unwritten(part.sizes(), part.scalar_type()));
  const C cell(weights, n);
  const int64_t* ids = weights.is_table ? input.x.const_data_ptr<int64_t>() : nullptr;
  P* y_at = y.template mutable_data_ptr<P>();
  P* read_at = read.template mutable_data_ptr<P>();
  P* kept_at = kept.template mutable_data_ptr<P>();
  float* cell_at = cells.mutable_data_ptr<float>();
  for_each_tile(n.B, tile_rows(n.B), [&](int64_t, int64_t first, int64_t rows) {
    std::vector<float> a(rows * C::ACTIVATIONS * n.Hp), h(rows * n.Hp), old_h;
    const auto read_of = [&](int64_t t) { return read_at + (t % slots * n.B + first) * W; };
    const auto cell_of = [&](int64_t t) -> float* {
      return C::HAS_CELL ? cell_at + (t % slots * n.B + first) * n.Hp : nullptr;
    };
    for (size_t part = 0; part < state.size(); part++) {
      with_data(state[part], [&](const auto* from) {
        copy_rows(from + first * n.H, n.H, part == 0 ? h.data() : cell_of(0), n.Hp, rows, n.H, n.Hp);
      });
    }
    copy_rows(h.data(), n.Hp, read_of(0) + n.Dp, W, rows, n.Hp, n.Hp);
    for (int64_t t = 0; t < n.T; t++) {
      const int64_t row = t * n.B + first;
      if (!ids) {
        with_data(input.x, [&](const auto* x) {
          copy_rows(x + row * n.D, n.D, read_of(t), W, rows, n.D, n.Dp);
        });
      }
      const Held held(input.ended, t, n, first, rows);
      if (held.any()) old_h = h;
      P* next = read_of(t + 1) + n.Dp;
      P* keep = kept_at + (t % kept_slots * n.B + first) * K;
      cell.step({held.running(), ids ? ids + row : nullptr, read_of(t), next, h.data(), cell_of(t),
                 cell_of(t + 1), keep, a.data()});
      std::fill(keep + held.running() * K, keep + rows * K, P(0.f));  // numbers, to be times zero
      for (int64_t m = 0; held.any() && m < rows; m++) {
        if (!held(m)) continue;
        std::copy_n(old_h.data() + m * n.Hp, n.Hp, h.data() + m * n.Hp);
        std::copy_n(read_of(t) + n.Dp + m * W, n.Hp, next + m * W);
        if (C::HAS_CELL) std::copy_n(cell_of(t) + m * n.Hp, n.Hp, cell_of(t + 1) + m * n.Hp);
      }
      for (int64_t m = 0; m < rows; m++) std::copy_n(next + m * W, n.H, y_at + (row + m) * n.H);
    }
    for (size_t part = 0; part < last.size(); part++) {
      const float* from = part == 0 ? h.data() : cell_of(n.T);
      with_data(last[part], [&](auto* to) {
        copy_rows(from, n.Hp, to + first * n.H, n.H, rows, n.H, n.H);
      });
    }
  });
  Tensors result{y};
  result.insert(result.end(), last.begin(), last.end());
  if (is_kept) result.insert(result.end(), {read, kept, cells});
  return result;
}

}  // namespace carousel
