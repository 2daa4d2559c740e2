// A layer and what it runs on: sizes, padding, and how a batch is shared among threads.
// T time steps, B sequences, D input features, H units; D and H padded with zeros to multiples of 16,
// which stay exactly zero in every family.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "gemm.h"

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

// What a forward pass keeps for the backward pass; without one, two time steps' worth, in turns.
struct Caches {
  Tensor read;  // (T + 1, B, Dp + Hp) of P: [x_t | h_{t-1}]
  Tensor kept;  // (T, B, KEPT·Hp) of P: what the family's backward step reads
  Tensor cell;  // (T + 1, B, Hp) in float32: the LSTM's c
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

// Of a sum (features, gates·Hp) those features, without padding, as a weight (gates, H, count).
inline Tensor as_weight(const Tensor& sum, int64_t first, int64_t count, const Sizes& n) {
  const Tensor part = sum.narrow(0, first, count).view({count, -1, n.Hp}).narrow(2, 0, n.H);
  return part.permute({1, 2, 0});
}

// Of sums (rows, gates·Hp) all, without padding, as rows of a table or biases (rows, gates, H).
inline Tensor as_rows(const Tensor& sum, const Sizes& n) {
  return sum.view({-1, sum.size(-1) / n.Hp, n.Hp}).narrow(2, 0, n.H);
}

}  // namespace carousel
