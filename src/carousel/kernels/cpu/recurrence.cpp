// The operators through which Python reaches the kernels of every family.
#include "recurrence.h"

#include <torch/library.h>

namespace carousel {

std::map<std::string, Family>& families() {
  static std::map<std::string, Family> all;
  return all;
}

namespace {

bool is_ids(const Tensor& x) {
  return x.scalar_type() == at::kLong;
}

OptionalTensor whole(const OptionalTensor& tensor) {
  return tensor ? OptionalTensor(tensor->contiguous()) : OptionalTensor();
}

Tensors whole(at::TensorList tensors) {
  Tensors all;
  for (const Tensor& tensor : tensors) all.push_back(tensor.contiguous());
  return all;
}

Input as_input(const Tensor& x, const OptionalTensor& ended, const Tensor& w_input) {
  if (is_ids(x)) {
    TORCH_CHECK_INDEX(x.min().item<int64_t>() >= 0 && x.max().item<int64_t>() < w_input.size(0),
                      "an id is outside the table of ", w_input.size(0), " rows");
  }
  return {x.contiguous(), whole(ended)};
}

Weights as_weights(const Tensor& x, const Tensor& w_input, const OptionalTensor& b_ih,
                   const Tensor& w_hh, const OptionalTensor& b_hh) {
  return {w_input.contiguous(), w_hh.contiguous(), whole(b_ih), whole(b_hh), is_ids(x)};
}

// y, the parts of the last state, and if they are to be kept, the caches: read, kept, cell.
Tensors recurrence(const std::string& family, const Tensor& x, const OptionalTensor& ended,
                   at::TensorList state, const Tensor& w_input, const OptionalTensor& b_ih,
                   const Tensor& w_hh, const OptionalTensor& b_hh, at::ScalarType compute_dtype,
                   bool is_kept) {
  const Family& known = families().at(family);
  const auto run = compute_dtype == at::kBFloat16 ? known.forward_bf16 : known.forward;
  return run(as_input(x, ended, w_input), whole(state), as_weights(x, w_input, b_ih, w_hh, b_hh),
             is_kept);
}

// dx, the parts of the initial state's gradient, then of w_input, b_ih, w_hh, b_hh, in float32 and
// of as many numbers as those.
Tensors recurrence_backward(const std::string& family, const Tensor& x, const OptionalTensor& ended,
                            const Tensor& dy, at::TensorList dstate, at::TensorList caches,
                            const Tensor& w_input, const OptionalTensor& b_ih, const Tensor& w_hh,
                            const OptionalTensor& b_hh, bool wants_dx) {
  const Family& known = families().at(family);
  const at::ScalarType compute_dtype = caches[0].scalar_type();
  const auto run = compute_dtype == at::kBFloat16 ? known.backward_bf16 : known.backward;
  Tensors all = run({x.contiguous(), whole(ended)}, dy.to(compute_dtype).contiguous(), whole(dstate),
                    {caches[0], caches[1], caches[2]}, as_weights(x, w_input, b_ih, w_hh, b_hh),
                    wants_dx);
  const size_t first = 1 + dstate.size();
  all[first] = all[first].reshape(w_input.sizes());
  all[first + 1] = all[first + 1].reshape({w_hh.size(0)});
  all[first + 2] = all[first + 2].reshape(w_hh.sizes());
  all[first + 3] = all[first + 3].reshape({w_hh.size(0)});
  // A gradient is its parameter's alone: who scales or adds to one in place means no other.
  if (all[first + 3].is_alias_of(all[first + 1])) all[first + 3] = all[first + 3].clone();
  return all;
}

void poison(bool is_on) {
  is_poisoned() = is_on;
}

void limit_idle_memory(int64_t bytes) {
  Pool::shared().limit_idle(bytes);
}

std::vector<int64_t> memory_usage() {
  const Pool::Usage usage = Pool::shared().usage();
  return {int64_t(usage.live), int64_t(usage.idle), int64_t(usage.allocations)};
}

}  // namespace

TORCH_LIBRARY(carousel, library) {
  library.def(
      "recurrence(str family, Tensor x, Tensor? ended, Tensor[] state, Tensor w_input, "
      "Tensor? b_ih, Tensor w_hh, Tensor? b_hh, ScalarType compute_dtype, bool is_kept) -> Tensor[]");
  library.def(
      "recurrence_backward(str family, Tensor x, Tensor? ended, Tensor dy, Tensor[] dstate, "
      "Tensor[] caches, Tensor w_input, Tensor? b_ih, Tensor w_hh, Tensor? b_hh, bool wants_dx) "
      "-> Tensor[]");
  library.def("poison(bool is_on) -> ()", poison);
  library.def("limit_idle_memory(int bytes) -> ()", limit_idle_memory);
  library.def("memory_usage() -> int[]", memory_usage);
}

TORCH_LIBRARY_IMPL(carousel, CPU, library) {
  library.impl("recurrence", recurrence);
  library.impl("recurrence_backward", recurrence_backward);
}

}  // namespace carousel
