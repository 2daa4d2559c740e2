// A family of recurrences: its time step, forward and backward, run over a sequence.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "backward.h"
#include "forward.h"
#include "batch_invariant_gemm.h"

namespace carousel {

// A layer that is run one time step at a time, each row for itself (batch_invariant_gemm.h).
template <class P>
struct LayerStep {
  const Sizes n;
  const bool has_cell;
  const int64_t activations, kept;

  LayerStep(const Sizes& n, bool has_cell, int64_t activations, int64_t kept)
      : n(n), has_cell(has_cell), activations(activations), kept(kept) {}
  virtual ~LayerStep() = default;
  virtual void step(const Step<P>& s) const = 0;
};

template <class P, class Cell>
struct LayerStepOf final : LayerStep<P> {
  LayerStepOf(const Weights& w, const Sizes& n)
      : LayerStep<P>(n, Cell::HAS_CELL, Cell::ACTIVATIONS, Cell::KEPT), cell(w, n) {}

  void step(const Step<P>& s) const override { cell.step(s); }

  Cell cell;
};

template <class P>
using MakeLayerStep = std::unique_ptr<LayerStep<P>> (*)(const Weights&, const Sizes&);

template <class P, class Cell>
std::unique_ptr<LayerStep<P>> layer_step(const Weights& w, const Sizes& n) {
  return std::make_unique<LayerStepOf<P, Cell>>(w, n);
}

// A family under the name that ops/ gives it, for float and for bf16 products.
struct Family {
  using Forward = Tensors (*)(const Input&, const Tensors&, const Weights&, bool);
  using Backward = Tensors (*)(const Input&, const Tensor&, const Tensors&, const Caches&,
                               const Weights&, bool);
  Forward forward, forward_bf16;
  Backward backward, backward_bf16;
  MakeLayerStep<float> layer_step;
  MakeLayerStep<BFloat16> layer_step_bf16;
};

std::map<std::string, Family>& families();

template <template <class, template <class> class> class Cell>
struct Packed {
  template <class P>
  using Whole = Cell<P, Panels>;
};

template <template <class, template <class> class> class Cell>
bool register_family(const char* name) {
  return families()
      .emplace(name, Family{&forward<Packed<Cell>::template Whole, float>,
                            &forward<Packed<Cell>::template Whole, BFloat16>,
                            &backward<Packed<Cell>::template Whole, float>,
                            &backward<Packed<Cell>::template Whole, BFloat16>,
                            &layer_step<float, Cell<float, RowPanels>>,
                            &layer_step<BFloat16, Cell<BFloat16, RowPanels>>})
      .second;
}

}  // namespace carousel
