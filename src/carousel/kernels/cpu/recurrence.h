// A family of recurrences: its time step and the reverse of it, run over a sequence.
#pragma once

#include <map>
#include <string>

#include "backward.h"
#include "forward.h"

namespace carousel {

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
