// The backward pass of forward.h: steps back through time; after every span of steps, while it is still
// in cache, what they add to the weights' gradients. Labels (bptt.…) are of
// math/recurrence/equations.md.
#pragma once

#include "layer.h"

namespace carousel {

// The backward pass of one step: dh and dc, of the state after it, become those of the state before it.
template <class P>
struct BackwardStep {
  int64_t rows;
  const P* read;
  const P* kept;
  const float* c_prev;
  const float* c;
  float* dh;
  float* dc;
  P* da;           // of what is activated, (rows, DA·Hp): summed into gradients after the span
  float* dx;       // (rows, Dp), or null where nobody asks
  float* db;       // (DA·Hp,): sums of da, of this tile
  float* scratch;  // (rows, Hp)
};

// What a span of time steps leaves for the gradients of the weights.
template <class P>
struct Span {
  int64_t rows;  // of all its steps, T·B
  const int64_t* ids;
  const P* read;
  const P* kept;
  const P* da;
};

// Adds rows of H numbers, of the user's, to rows of Hp.
template <class P>
void add_rows(const P* from, float* to, int64_t rows, const Sizes& n) {
  for (int64_t m = 0; m < rows; m++) {
    int64_t k = 0;
    for (; k + Lane::size() <= n.H; k += Lane::size()) store(to + k, load(to + k) + load(from + k));
    for (; k < n.H; k++) to[k] += static_cast<float>(from[k]);
    from += n.H;
    to += n.Hp;
  }
}

// Sums for the gradient of w_ih, or of the table if the input is ids.
template <class P>
class InputSum {
 public:
  InputSum(const Weights& w, const Sizes& n, int64_t gates) : n(n) {
    if (w.is_table) {
      table_ = at::zeros({w.input.size(0), gates * n.Hp}, at::kFloat);
    } else {
      outer_ = OuterSum<P>(n.Dp, gates * n.Hp);
    }
  }

  void add(const Span<P>& s, Block<P> da) {
    if (outer_) {
      outer_->add(s.rows, {s.read, n.Dp, n.width()}, da);
    } else {
      add_by_id(s.rows, s.ids, da, table_);
    }
  }

  Tensor operator()() const {
    return outer_ ? as_weight((*outer_)(), 0, n.D, n) : as_rows(table_, n);
  }

 private:
  Sizes n;
  std::optional<OuterSum<P>> outer_;
  Tensor table_;
};

// Gradients of w_ih or the table, b_ih, w_hh, b_hh, where x and h take part in the same sums.
template <class P>
class SharedGradients {
 public:
  SharedGradients(const Weights& w, const Sizes& n)
      : n(n), outer_(n.width(), n.gates * n.Hp) {
    if (w.is_table) table_ = at::zeros({w.input.size(0), n.gates * n.Hp}, at::kFloat);
  }

  void add(const Span<P>& s) {
    const Block<P> da{s.da, n.gates * n.Hp, n.gates * n.Hp};
    outer_.add(s.rows, {s.read, n.width(), n.width()}, da);
    if (table_.defined()) add_by_id(s.rows, s.ids, da, table_);
  }

  Tensors operator()(const Tensor& db) const {
    const Tensor input = table_.defined() ? as_rows(table_, n) : as_weight(outer_(), 0, n.D, n);
    return {input, as_rows(db, n), as_weight(outer_(), n.Dp, n.H, n), as_rows(db, n)};
  }

 private:
  Sizes n;
  OuterSum<P> outer_;
  Tensor table_;
};

// Rows of a span: enough to make products of them quick, few enough to stay in cache.
constexpr int64_t SPAN = 1024;

// Gradients of x (empty where not wanted), of the initial state, and of w_ih or the table, b_ih,
// w_hh, b_hh.
template <template <class> class Cell, class P>
Tensors backward(const Input& input, const Tensor& dy, const Tensors& dstate, const Caches& caches,
                 const Weights& weights, bool wants_dx) {
  using C = Cell<P>;
  const Sizes n(dy.size(0), dy.size(1), weights);
  const int64_t W = n.width(), K = C::KEPT * n.Hp, G = C::DA * n.Hp, rows_at_most = tile_rows(n.B);
  wants_dx = wants_dx && !weights.is_table;
  const bool fits = n.D == n.Dp && input.x.scalar_type() == at::kFloat;
  const int64_t span = std::clamp<int64_t>(SPAN / n.B, 1, n.T);
  Tensor da = unwritten<P>({span, n.B, G});
  Tensor dx = wants_dx ? unwritten(input.x.sizes(), input.x.scalar_type()) : unwritten<float>({0});
  Tensor dx_step = unwritten<float>({wants_dx && !fits ? n.B : 0, n.Dp});
  Tensor dh = unwritten<float>({n.B, n.Hp}), dc = unwritten<float>({C::HAS_CELL ? n.B : 0, n.Hp});
  Tensor scratch = unwritten<float>({n.B, n.Hp});
  Tensor db = at::zeros({(n.B + rows_at_most - 1) / rows_at_most, G}, at::kFloat);
  Tensors dstate_0;
  for (const Tensor& part : dstate) dstate_0.push_back(unwritten(part.sizes(), part.scalar_type()));
  const typename C::Backward cell(weights, n, wants_dx);
  typename C::Gradients gradients(weights, n);
  const int64_t* ids = weights.is_table ? input.x.const_data_ptr<int64_t>() : nullptr;
  const P* dy_at = dy.const_data_ptr<P>();
  const P* read_at = caches.read.const_data_ptr<P>();
  const P* kept_at = caches.kept.const_data_ptr<P>();
  const float* cell_at = caches.cell.const_data_ptr<float>();
  P* da_at = da.template mutable_data_ptr<P>();
  float* dh_at = dh.mutable_data_ptr<float>();
  float* dc_at = dc.mutable_data_ptr<float>();
  for (size_t part = 0; part < dstate.size(); part++) {
    with_data(dstate[part], [&](const auto* from) {
      copy_rows(from, n.H, part == 0 ? dh_at : dc_at, n.Hp, n.B, n.H, n.Hp);
    });
  }
  for (int64_t end = n.T; end > 0; end -= std::min(span, end)) {
    const int64_t start = std::max<int64_t>(end - span, 0);
    for_each_tile(n.B, rows_at_most, [&](int64_t tile, int64_t first, int64_t rows) {
      float* dh_tile = dh_at + first * n.Hp;
      float* dc_tile = C::HAS_CELL ? dc_at + first * n.Hp : nullptr;
      std::vector<float> old_dh, old_dc;
      for (int64_t t = end - 1; t >= start; t--) {
        const int64_t row = t * n.B + first;
        P* da_step = da_at + ((t - start) * n.B + first) * G;
        float* dx_tile = !wants_dx ? nullptr
                         : fits    ? dx.mutable_data_ptr<float>() + row * n.D
                                   : dx_step.mutable_data_ptr<float>() + first * n.Dp;
        add_rows(dy_at + row * n.H, dh_tile, rows, n);  // (bptt.3)
        const Held held(input.ended, t, n, first, rows);
        if (held.any()) {
          old_dh.assign(dh_tile, dh_tile + rows * n.Hp);
          if (C::HAS_CELL) old_dc.assign(dc_tile, dc_tile + rows * n.Hp);
        }
        for (int64_t m = 0; held.any() && m < rows; m++) {  // (bptt.9): the step sees nothing of it
          if (!held(m)) continue;
          std::fill_n(dh_tile + m * n.Hp, n.Hp, 0.f);
          if (C::HAS_CELL) std::fill_n(dc_tile + m * n.Hp, n.Hp, 0.f);
          std::fill_n(da_step + m * G, G, P(0.f));
          if (wants_dx) std::fill_n(dx_tile + m * n.Dp, n.Dp, 0.f);
        }
        const float* c_prev = C::HAS_CELL ? cell_at + row * n.Hp : nullptr;
        const float* c = C::HAS_CELL ? cell_at + (row + n.B) * n.Hp : nullptr;
        cell.step_backward({held.running(), read_at + row * W, kept_at + row * K, c_prev, c, dh_tile,
                      dc_tile, da_step, dx_tile, db.mutable_data_ptr<float>() + tile * G,
                      scratch.mutable_data_ptr<float>() + first * n.Hp});
        for (int64_t m = 0; held.any() && m < rows; m++) {
          if (!held(m)) continue;
          std::copy_n(old_dh.data() + m * n.Hp, n.Hp, dh_tile + m * n.Hp);
          if (C::HAS_CELL) std::copy_n(old_dc.data() + m * n.Hp, n.Hp, dc_tile + m * n.Hp);
        }
        if (!wants_dx || fits) continue;
        with_data(dx, [&](auto* to) {
          copy_rows(dx_tile, n.Dp, to + row * n.D, n.D, rows, n.D, n.D);
        });
      }
    });
    const int64_t row = start * n.B;
    gradients.add({(end - start) * n.B, ids ? ids + row : nullptr, read_at + row * W,
                   kept_at + row * K, da_at});
  }
  for (size_t part = 0; part < dstate.size(); part++) {
    with_data(dstate_0[part], [&](auto* to) {
      copy_rows(part == 0 ? dh_at : dc_at, n.Hp, to, n.H, n.B, n.H, n.H);
    });
  }
  Tensors result{dx};
  result.insert(result.end(), dstate_0.begin(), dstate_0.end());
  for (Tensor& part : gradients(db.sum(0))) result.push_back(part);
  return result;
}

}  // namespace carousel
