// Vanilla RNN, with tanh or ReLU: one time step, forward and backward. Labels are of math/rnn/equations.md.
#include "recurrence.h"

namespace carousel {
namespace {

// h of a, and the slope there.
struct Tanh {
  template <class P>
  static std::pair<Lane, Lane> of(Lane a) {
    const Lane h = carousel::tanh<P>(a);  // (rnn.2)
    return {h, Lane(1.f) - h * h};
  }
};

struct Relu {
  template <class P>
  static std::pair<Lane, Lane> of(Lane a) {  // (rnn.3); no number stays none
    const Lane zero(0.f), is_positive = Lane::blendv(zero, Lane(1.f), a > zero);
    return {at::vec::maximum(a, zero), is_positive};
  }
};

template <class Activation, class P, template <class> class Factor>
struct Rnn {
  static constexpr bool HAS_CELL = false;
  static constexpr int64_t ACTIVATIONS = 1, KEPT = 1, DA = 1;

  Rnn(const Weights& w, const Sizes& n)
      : n(n),
        sum(padded_weights<P>(w, n).view({n.Hp, n.width()}).t()),
        shift(input_shift(w, n).add_(state_shift(w, n))) {}

  void step(const Step<P>& s) const {
    const int64_t H = n.Hp;
    sum(s.rows, s.read, n.width(), s.a, H, false, s.reversed);  // (rnn.1)
    for (int64_t m = 0; m < s.rows; m++) {
      const float* b = shift.const_data_ptr<float>() + (s.ids ? s.ids[m] * H : 0);
      for (int64_t j = 0; j < H; j += Lane::size()) {
        const auto [h, slope] = Activation::template of<P>(load(s.a + m * H + j) + load(b + j));
        store(s.h + m * H + j, h);
        store(s.h_next + m * n.width() + j, h);
        store(s.kept + m * H + j, slope);
      }
    }
  }

  struct Backward {
    Backward(const Weights& w, const Sizes& n, bool wants_dx) : n(n), wants_dx(wants_dx) {
      const Tensor all = padded_weights<P>(w, n).view({n.Hp, n.width()});
      if (wants_dx) to_x = Panels<P>(all.narrow(1, 0, n.Dp));
      to_h = Panels<P>(all.narrow(1, n.Dp, n.Hp));
    }

    void step_backward(const BackwardStep<P>& s) const {
      const int64_t H = n.Hp;
      for (int64_t m = 0; m < s.rows; m++) {
        for (int64_t j = 0; j < H; j += Lane::size()) {
          const Lane da = load(s.dh + m * H + j) * load(s.kept + m * H + j);  // (rnn.4)
          store(s.da + m * H + j, da);
          store(s.db + j, load(s.db + j) + da);
        }
      }
      to_h(s.rows, s.da, H, s.dh, H, false);  // (rnn.6)
      if (wants_dx) to_x(s.rows, s.da, H, s.dx, n.Dp, false);
    }

    Sizes n;
    bool wants_dx;
    Panels<P> to_x, to_h;
  };

  using Gradients = SharedGradients<P>;  // (rnn.5)

  Sizes n;
  Factor<P> sum;
  Tensor shift;
};

template <class P, template <class> class Factor>
using RnnTanh = Rnn<Tanh, P, Factor>;
template <class P, template <class> class Factor>
using RnnRelu = Rnn<Relu, P, Factor>;

const bool rnn_is_registered = register_family<RnnTanh>("rnn_tanh") && register_family<RnnRelu>("rnn_relu");

}  // namespace
}  // namespace carousel
