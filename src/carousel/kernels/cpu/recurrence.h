// The time loop of ops/recurrence.py, fused: one thread takes a slice of the batch through the whole
// sequence, so that threads never meet inside it and what a step touches stays in cache.
// T time steps, B sequences, D input features, H units; D and H padded with zeros to multiples of 16,
// which stay exactly zero in every family. State is float32, always; P is the type of the products,
// float or bf16, whose sums are float32 too. Labels (bptt.…) are of math/recurrence/equations.md.
#pragma once

#include <ATen/ops/cat.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "products.h"

namespace carousel {

using Tensors = std::vector<Tensor>;
using OptionalTensor = std::optional<Tensor>;

// A layer as the user has it: weights (G·H, ·), biases (G·H,) or none, gates as torch orders them.
// `input` is w_ih; or where the input is ids, the table (R, G·H) of their projections, b_ih included.
struct Weights {
  Tensor input, w_hh;
  OptionalTensor b_ih, b_hh;
  bool is_table;
};

// What a sequence is run on: x (T, B, D) or ids (T, B), and where a sequence is over (T, B), or none.
struct Input {
  Tensor x;
  OptionalTensor ended;
};

struct Sizes {
  int64_t T, B, D, H, Dp, Hp, gates;

  Sizes(int64_t steps, int64_t batch, const Weights& w)
      : T(steps),
        B(batch),
        D(w.is_table ? 0 : w.input.size(1)),
        H(w.w_hh.size(1)),
        Dp(padded(D)),
        Hp(padded(H)),
        gates(w.w_hh.size(0) / H) {}

  int64_t width() const { return Dp + Hp; }  // of [x_t | h_{t-1}], which most products read
};

// What a forward pass keeps for its reverse; without one, two time steps' worth, in turns.
struct Caches {
  Tensor read;  // (T + 1, B, Dp + Hp) of P: [x_t | h_{t-1}]
  Tensor kept;  // (T, B, KEPT·Hp) of P: what the family's reverse asks for
  Tensor cell;  // (T + 1, B, Hp) in float32: the LSTM's c
};

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
};

// The reverse of it: dh and dc, of the state after the step, become those of the state before it.
template <class P>
struct Reverse {
  int64_t rows;
  const P* read;
  const P* kept;
  const float* c_prev;
  const float* c;
  float* dh;
  float* dc;
  P* da;           // of what is activated, (rows, DA·Hp): summed into gradients after the loop
  float* dx;       // (rows, Dp), or null where nobody asks
  float* db;       // (DA·Hp,): sums of da, of this tile
  float* scratch;  // (rows, Hp)
};

template <class P>
at::TensorOptions type_of() {
  return at::TensorOptions().dtype(c10::CppTypeToScalarType<P>::value);
}

// (G, Hp, Dp + Hp) of P: [w_ih | w_hh] gate by gate, zeros around.
template <class P>
Tensor padded_weights(const Weights& w, const Sizes& n) {
  const bool fits = n.D == n.Dp && n.H == n.Hp;
  Tensor all = fits ? unwritten<P>({n.gates, n.Hp, n.width()})
                    : at::zeros({n.gates, n.Hp, n.width()}, type_of<P>());
  if (!w.is_table) all.narrow(1, 0, n.H).narrow(2, 0, n.D).copy_(w.input.view({n.gates, n.H, n.D}));
  all.narrow(1, 0, n.H).narrow(2, n.Dp, n.H).copy_(w.w_hh.view({n.gates, n.H, n.H}));
  return all;
}

// (R or 1, G, Hp) in float32: what the input's side adds to the products, for each id if there are.
inline Tensor input_shift(const Weights& w, const Sizes& n) {
  Tensor all = at::zeros({w.is_table ? w.input.size(0) : 1, n.gates, n.Hp}, at::kFloat);
  if (w.is_table) all.narrow(2, 0, n.H).copy_(w.input.view({-1, n.gates, n.H}));
  if (w.b_ih) all.narrow(2, 0, n.H).add_(w.b_ih->view({n.gates, n.H}));
  return all;
}

// (G, Hp) in float32: what the state's side adds.
inline Tensor state_shift(const Weights& w, const Sizes& n) {
  Tensor all = at::zeros({n.gates, n.Hp}, at::kFloat);
  if (w.b_hh) all.narrow(1, 0, n.H).copy_(w.b_hh->view({n.gates, n.H}));
  return all;
}

// Splits the batch: a share for each thread, in tiles none of which leaves the cache.
constexpr int64_t TILE = 64;

inline int64_t tile_rows(int64_t batch) {
  const int64_t threads = std::max<int64_t>(1, at::get_num_threads());
  const int64_t share = (batch + threads - 1) / threads;
  const int64_t parts = (share + TILE - 1) / TILE;
  return (share + parts - 1) / parts;
}

template <class F>
void for_each_tile(int64_t batch, int64_t rows, const F& run) {
  at::parallel_for(0, (batch + rows - 1) / rows, 1, [&](int64_t first, int64_t last) {
    for (int64_t tile = first; tile < last; tile++) {
      run(tile, tile * rows, std::min(rows, batch - tile * rows));
    }
    at::native::cpublas::brgemm_release(true);
  });
}

// Rows of `count` numbers become rows of another type and distance, with zeros up to `whole`.
template <class To, class From>
void copy_rows(const From* from, int64_t from_ld, To* to, int64_t to_ld, int64_t rows,
               int64_t count, int64_t whole) {
  for (int64_t m = 0; m < rows; m++) {
    const From* source = from + m * from_ld;
    To* target = to + m * to_ld;
    int64_t k = 0;
    for (; k + Lane::size() <= count; k += Lane::size()) store(target + k, load(source + k));
    for (; k < count; k++) target[k] = static_cast<To>(static_cast<float>(source[k]));
    std::fill(target + count, target + whole, To(0.f));
  }
}

// Calls f with a pointer of the tensor's own type, float or bf16.
template <class F>
void with_data(const Tensor& tensor, const F& f) {
  if (tensor.scalar_type() == at::kFloat) {
    f(tensor.mutable_data_ptr<float>());
  } else {
    f(tensor.mutable_data_ptr<BFloat16>());
  }
}

// Which rows of a tile are held at a time step: their sequences are over. (bptt.8), m = 1
class Held {
 public:
  Held(const OptionalTensor& ended, int64_t t, const Sizes& n, int64_t first, int64_t rows)
      : at_(ended ? ended->const_data_ptr<bool>() + t * n.B + first : nullptr), running_(rows) {
    while (at_ && running_ > 0 && at_[running_ - 1]) running_--;
    any_ = running_ < rows;
    for (int64_t m = 0; at_ && m < running_; m++) any_ = any_ || at_[m];
  }

  bool any() const { return any_; }
  bool operator()(int64_t m) const { return at_[m]; }
  int64_t running() const { return running_; }  // all rows from here on are held

 private:
  const bool* at_;
  int64_t running_;
  bool any_;
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

// Gradients of x (empty where not wanted), of the initial state, and of w_ih or the table, b_ih,
// w_hh, b_hh.
template <template <class> class Cell, class P>
Tensors backward(const Input& input, const Tensor& dy, const Tensors& dstate, const Caches& caches,
                 const Weights& weights, bool wants_dx) {
  using C = Cell<P>;
  const Sizes n(dy.size(0), dy.size(1), weights);
  const int64_t W = n.width(), K = C::KEPT * n.Hp, G = C::DA * n.Hp, rows_at_most = tile_rows(n.B);
  wants_dx = wants_dx && !weights.is_table;
  Tensor da = unwritten<P>({n.T, n.B, G});
  Tensor dx = wants_dx ? unwritten(input.x.sizes(), input.x.scalar_type()) : unwritten<float>({0});
  Tensor db = at::zeros({(n.B + rows_at_most - 1) / rows_at_most, G}, at::kFloat);
  Tensors dstate_0;
  for (const Tensor& part : dstate) dstate_0.push_back(unwritten(part.sizes(), part.scalar_type()));
  const typename C::Back cell(weights, n, wants_dx);
  const P* dy_at = dy.const_data_ptr<P>();
  const P* read_at = caches.read.const_data_ptr<P>();
  const P* kept_at = caches.kept.const_data_ptr<P>();
  const float* cell_at = caches.cell.const_data_ptr<float>();
  P* da_at = da.template mutable_data_ptr<P>();
  float* db_at = db.mutable_data_ptr<float>();
  for_each_tile(n.B, rows_at_most, [&](int64_t tile, int64_t first, int64_t rows) {
    std::vector<float> dh(rows * n.Hp), dc(C::HAS_CELL ? rows * n.Hp : 0), scratch(rows * n.Hp);
    std::vector<float> dx_tile(wants_dx ? rows * n.Dp : 0), old_dh, old_dc;
    for (size_t part = 0; part < dstate.size(); part++) {
      with_data(dstate[part], [&](const auto* from) {
        float* to = part == 0 ? dh.data() : dc.data();
        copy_rows(from + first * n.H, n.H, to, n.Hp, rows, n.H, n.Hp);
      });
    }
    for (int64_t t = n.T - 1; t >= 0; t--) {
      const int64_t row = t * n.B + first;
      add_rows(dy_at + row * n.H, dh.data(), rows, n);  // (bptt.3)
      const Held held(input.ended, t, n, first, rows);
      if (held.any()) old_dh = dh, old_dc = dc;
      for (int64_t m = 0; held.any() && m < rows; m++) {  // (bptt.9): the step sees nothing of it
        if (!held(m)) continue;
        std::fill_n(dh.data() + m * n.Hp, n.Hp, 0.f);
        if (C::HAS_CELL) std::fill_n(dc.data() + m * n.Hp, n.Hp, 0.f);
        std::fill_n(da_at + (row + m) * G, G, P(0.f));
        if (wants_dx) std::fill_n(dx_tile.data() + m * n.Dp, n.Dp, 0.f);
      }
      const float* c_prev = C::HAS_CELL ? cell_at + row * n.Hp : nullptr;
      const float* c = C::HAS_CELL ? cell_at + (row + n.B) * n.Hp : nullptr;
      cell.reverse({held.running(), read_at + row * W, kept_at + row * K, c_prev, c, dh.data(),
                    dc.data(), da_at + row * G, dx_tile.data(), db_at + tile * G, scratch.data()});
      for (int64_t m = 0; held.any() && m < rows; m++) {
        if (!held(m)) continue;
        std::copy_n(old_dh.data() + m * n.Hp, n.Hp, dh.data() + m * n.Hp);
        if (C::HAS_CELL) std::copy_n(old_dc.data() + m * n.Hp, n.Hp, dc.data() + m * n.Hp);
      }
      if (!wants_dx) continue;
      with_data(dx, [&](auto* to) {
        copy_rows(dx_tile.data(), n.Dp, to + row * n.D, n.D, rows, n.D, n.D);
      });
    }
    for (size_t part = 0; part < dstate.size(); part++) {
      const float* from = part == 0 ? dh.data() : dc.data();
      with_data(dstate_0[part], [&](auto* to) {
        copy_rows(from, n.Hp, to + first * n.H, n.H, rows, n.H, n.H);
      });
    }
  });
  Tensors result{dx};
  result.insert(result.end(), dstate_0.begin(), dstate_0.end());
  for (Tensor& part : C::weight_gradients(n, input, weights, caches, da, db.sum(0))) {
    result.push_back(part);
  }
  return result;
}

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

// The columns of a cache that hold `count` parts of Hp from part `first` on.
template <class P>
Block<P> parts(const Tensor& cache, int64_t first, int64_t count, const Sizes& n) {
  return {cache.const_data_ptr<P>() + first * n.Hp, count * n.Hp, cache.size(2)};
}

template <class P>
Block<P> read_x(const Tensor& read, const Sizes& n) {
  return {read.const_data_ptr<P>(), n.Dp, n.width()};
}

template <class P>
Block<P> read_h(const Tensor& read, const Sizes& n) {
  return {read.const_data_ptr<P>() + n.Dp, n.Hp, n.width()};
}

// Of a sum (features, gates·Hp) those features, without padding, as a weight (gates, H, count).
inline Tensor as_weight(const Tensor& sum, int64_t first, int64_t count, const Sizes& n) {
  const Tensor part = sum.narrow(0, first, count).view({count, -1, n.Hp}).narrow(2, 0, n.H);
  return part.permute({1, 2, 0});
}

// Of sums (rows, gates·Hp) all, without padding, as rows of a table or biases (rows, gates, H).
inline Tensor as_rows(const Tensor& sum, const Sizes& n) {
  return sum.view({-1, sum.size(-1) / n.Hp, n.Hp}).narrow(2, 0, n.H);
}

// A family under the name that ops/ gives it, for float and for bf16 products.
struct Family {
  using Forward = Tensors (*)(const Input&, const Tensors&, const Weights&, bool);
  using Backward = Tensors (*)(const Input&, const Tensor&, const Tensors&, const Caches&,
                               const Weights&, bool);
  Forward forward, forward_bf16;
  Backward backward, backward_bf16;
};

std::map<std::string, Family>& families();

template <template <class> class Cell>
bool enter(const char* name) {
  return families()
      .emplace(name, Family{&forward<Cell, float>, &forward<Cell, BFloat16>,
                            &backward<Cell, float>, &backward<Cell, BFloat16>})
      .second;
}

}  // namespace carousel
