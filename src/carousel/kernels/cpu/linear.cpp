// A linear map z = h·Wᵀ + c of N rows, forward and backward: (mlp.4) and (mlp.8) of math/mlp/equations.md.
// P features in, V out; padded with zeros to multiples of 16. Products are of bf16, and unlike those
// of torch summed and handed over in float32. In float32 torch's own are as quick.
#include <torch/library.h>

#include "recurrence.h"

namespace carousel {
namespace {

// The numbers of a matrix as rows of bf16, zeros around; the matrix itself if that is what it is.
Tensor padded_matrix(const Tensor& matrix, int64_t rows, int64_t columns) {
  const bool fits = matrix.size(0) == rows && matrix.size(1) == columns;
  if (fits) return matrix.to(at::kBFloat16).contiguous();
  Tensor all = at::zeros({rows, columns}, at::kBFloat16);
  all.narrow(0, 0, matrix.size(0)).narrow(1, 0, matrix.size(1)).copy_(matrix);
  return all;
}

Tensor linear(const Tensor& h, const Tensor& weight, const OptionalTensor& bias) {
  const int64_t N = h.size(0), V = weight.size(0), Vp = padded(V), Pp = padded(h.size(1));
  const Tensor read = padded_matrix(h, N, Pp);
  const Panels<BFloat16> to_z(padded_matrix(weight, Vp, Pp).t());
  Tensor z = unwritten<float>({N, V}), c = at::zeros({Vp}, at::kFloat);
  if (bias) c.narrow(0, 0, V).copy_(*bias);
  const BFloat16* read_at = read.const_data_ptr<BFloat16>();
  const float* c_at = c.const_data_ptr<float>();
  float* z_at = z.mutable_data_ptr<float>();
  for_each_tile(N, tile_rows(N), [&](int64_t, int64_t first, int64_t rows) {
    std::vector<float> tile(rows * Vp);
    to_z(rows, read_at + first * Pp, Pp, tile.data(), Vp, false);
    for (int64_t m = 0; m < rows; m++) {
      float* row = tile.data() + m * Vp;
      for (int64_t j = 0; j < Vp; j += Lane::size()) store(row + j, load(row + j) + load(c_at + j));
      std::copy_n(row, V, z_at + (first + m) * V);
    }
  });
  return z;
}

// Gradients of h, in its type, and of W and c in float32.
Tensors linear_backward(const Tensor& dlogits, const Tensor& h, const Tensor& weight) {
  const int64_t N = h.size(0), V = weight.size(0), Vp = padded(V), Pp = padded(h.size(1));
  const int64_t features = h.size(1), rows_at_most = tile_rows(N);
  const Tensor dz = dlogits.to(at::kFloat).contiguous(), read = padded_matrix(h, N, Pp);
  const Panels<BFloat16> to_h(padded_matrix(weight, Vp, Pp));
  Tensor d = unwritten<BFloat16>({N, Vp}), dh = unwritten(h.sizes(), h.scalar_type());
  Tensor dc = at::zeros({(N + rows_at_most - 1) / rows_at_most, Vp}, at::kFloat);
  const float* dz_at = dz.const_data_ptr<float>();
  BFloat16* d_at = d.mutable_data_ptr<BFloat16>();
  float* dc_at = dc.mutable_data_ptr<float>();
  for_each_tile(N, rows_at_most, [&](int64_t tile, int64_t first, int64_t rows) {
    std::vector<float> row(Vp), sum(Vp), dh_tile(rows * Pp);
    for (int64_t m = first; m < first + rows; m++) {
      std::copy_n(dz_at + m * V, V, row.data());
      for (int64_t j = 0; j < Vp; j += Lane::size()) {
        const Lane each = load(row.data() + j);
        store(d_at + m * Vp + j, each);
        store(sum.data() + j, load(sum.data() + j) + each);
      }
    }
    std::copy_n(sum.data(), Vp, dc_at + tile * Vp);
    to_h(rows, d_at + first * Vp, Vp, dh_tile.data(), Pp, false);
    with_data(dh, [&](auto* to) {
      copy_rows(dh_tile.data(), Pp, to + first * features, features, rows, features, features);
    });
  });
  const Block<BFloat16> left{d.const_data_ptr<BFloat16>(), Vp, Vp};
  const Block<BFloat16> right{read.const_data_ptr<BFloat16>(), Pp, Pp};
  const Tensor dweight = summed_outer(N, left, right);
  return {dh, dweight.narrow(0, 0, V).narrow(1, 0, features), dc.sum(0).narrow(0, 0, V)};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(carousel, library) {
  library.def("linear(Tensor h, Tensor weight, Tensor? bias) -> Tensor");
  library.def("linear_backward(Tensor dz, Tensor h, Tensor weight) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(carousel, CPU, library) {
  library.impl("linear", linear);
  library.impl("linear_backward", linear_backward);
}

}  // namespace carousel
