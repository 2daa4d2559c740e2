// Cross-entropy of a softmax, row by row in one pass: ops/cross_entropy.py in float32.
// Labels are of math/mlp/equations.md. N rows of V logits.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "simd.h"
#include "allocator.h"

namespace carousel {
namespace {

// All numbers of a lane put together, halves onto halves.
template <class F>
float folded(Lane lane, const F& join) {
  float each[Lane::size()];
  lane.store(each);
  for (int64_t half = Lane::size() / 2; half > 0; half /= 2) {
    for (int64_t k = 0; k < half; k++) each[k] = join(each[k], each[k + half]);
  }
  return each[0];
}

constexpr int64_t ROWS = 256;  // that a thread takes at least

// Of one row of logits: p in e, padded to `size` numbers, and -log p of the target.
float loss_of(const float* z, int64_t V, int64_t target, float* e, int64_t size) {
  std::copy_n(z, V, e);
  std::fill(e + V, e + size, -std::numeric_limits<float>::infinity());  // of probability 0
  Lane most = load(e), totals(0.f);
  for (int64_t j = Lane::size(); j < size; j += Lane::size()) {
    most = at::vec::maximum(most, load(e + j));
  }
  const float highest = folded(most, [](float a, float b) { return std::max(a, b); });
  for (int64_t j = 0; j < size; j += Lane::size()) {
    const Lane power = (load(e + j) - Lane(highest)).exp();
    store(e + j, power);
    totals = totals + power;
  }
  const float total = folded(totals, [](float a, float b) { return a + b; });
  const Lane share(1.f / total);
  for (int64_t j = 0; j < size; j += Lane::size()) store(e + j, load(e + j) * share);
  return std::log(total) - (z[target] - highest);  // (ce.1)
}

std::tuple<Tensor, Tensor> cross_entropy(const Tensor& logits, const Tensor& targets) {
  const int64_t N = logits.size(0), V = logits.size(1), size = padded(V);
  TORCH_CHECK_INDEX(targets.min().item<int64_t>() >= 0 && targets.max().item<int64_t>() < V,
                    "a target is outside the ", V, " classes");
  const Tensor whole = logits.contiguous(), classes = targets.contiguous();
  Tensor losses = unwritten<float>({N}), p = unwritten<float>({N, V});
  const float* z = whole.const_data_ptr<float>();
  const int64_t* target = classes.const_data_ptr<int64_t>();
  float* losses_at = losses.mutable_data_ptr<float>();
  float* p_at = p.mutable_data_ptr<float>();
  at::parallel_for(0, N, ROWS, [&](int64_t first, int64_t last) {
    std::vector<float> e(size);
    for (int64_t row = first; row < last; row++) {
      losses_at[row] = loss_of(z + row * V, V, target[row], e.data(), size);
      std::copy_n(e.data(), V, p_at + row * V);
    }
  });
  return {losses, p};
}

Tensor cross_entropy_backward(const Tensor& dlosses, const Tensor& p, const Tensor& targets) {
  const int64_t N = p.size(0), V = p.size(1);
  const Tensor given = dlosses.contiguous(), classes = targets.contiguous();
  Tensor dlogits = unwritten<float>({N, V});
  const float* dloss = given.const_data_ptr<float>();
  const float* p_at = p.const_data_ptr<float>();
  const int64_t* target = classes.const_data_ptr<int64_t>();
  float* to = dlogits.mutable_data_ptr<float>();
  at::parallel_for(0, N, ROWS, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++) {
      const Lane scale(dloss[row]);
      int64_t j = row * V;
      for (; j + Lane::size() <= (row + 1) * V; j += Lane::size()) {
        store(to + j, load(p_at + j) * scale);
      }
      for (; j < (row + 1) * V; j++) to[j] = p_at[j] * dloss[row];
      const int64_t here = row * V + target[row];
      to[here] = (p_at[here] - 1.f) * dloss[row];  // (ce.2)
    }
  });
  return dlogits;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(carousel, library) {
  library.def("cross_entropy(Tensor logits, Tensor targets) -> (Tensor, Tensor)");
  library.def("cross_entropy_backward(Tensor dlosses, Tensor p, Tensor targets) -> Tensor");
}

TORCH_LIBRARY_IMPL(carousel, CPU, library) {
  library.impl("cross_entropy", cross_entropy);
  library.impl("cross_entropy_backward", cross_entropy_backward);
}

}  // namespace carousel
