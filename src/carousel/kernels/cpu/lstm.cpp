// LSTM: one time step, forward and backward. Labels are of math/lstm/equations.md; gates i, f, g, o.
#include "recurrence.h"

namespace carousel {
namespace {

template <class P, template <class> class Factor>
struct Lstm {
  static constexpr bool HAS_CELL = true;
  static constexpr int64_t ACTIVATIONS = 4, KEPT = 4, DA = 4;

  Lstm(const Weights& w, const Sizes& n)
      : n(n),
        gates(padded_weights<P>(w, n).view({4 * n.Hp, n.width()}).t()),
        shift(input_shift(w, n).add_(state_shift(w, n))) {}

  void step(const Step<P>& s) const {
    const int64_t H = n.Hp;
    gates(s.rows, s.read, n.width(), s.a, 4 * H, false, s.reversed);  // (lstm.1)
    for (int64_t m = 0; m < s.rows; m++) {
      const float* a = s.a + m * 4 * H;
      const float* b = shift.const_data_ptr<float>() + (s.ids ? s.ids[m] * 4 * H : 0);
      P* kept = s.kept + m * 4 * H;
      for (int64_t j = 0; j < H; j += Lane::size()) {
        const auto gate = [&](int64_t k) { return load(a + k * H + j) + load(b + k * H + j); };
        const Lane i = sigmoid<P>(gate(0)), f = sigmoid<P>(gate(1));  // (lstm.2)
        const Lane g = tanh<P>(gate(2)), o = sigmoid<P>(gate(3));
        const Lane c = f * load(s.c_prev + m * H + j) + i * g;  // (lstm.3): the carousel
        const Lane h = o * tanh<P>(c);                          // (lstm.4)
        store(s.c + m * H + j, c);
        store(s.h + m * H + j, h);
        store(s.h_next + m * n.width() + j, h);
        store(kept + j, i);
        store(kept + H + j, f);
        store(kept + 2 * H + j, g);
        store(kept + 3 * H + j, o);
      }
    }
  }

  struct Backward {
    Backward(const Weights& w, const Sizes& n, bool wants_dx) : n(n), wants_dx(wants_dx) {
      const Tensor all = padded_weights<P>(w, n).view({4 * n.Hp, n.width()});
      if (wants_dx) to_x = Panels<P>(all.narrow(1, 0, n.Dp));
      to_h = Panels<P>(all.narrow(1, n.Dp, n.Hp));
    }

    void step_backward(const BackwardStep<P>& s) const {
      const int64_t H = n.Hp;
      const Lane one(1.f);
      for (int64_t m = 0; m < s.rows; m++) {
        const P* kept = s.kept + m * 4 * H;
        P* da = s.da + m * 4 * H;
        for (int64_t j = 0; j < H; j += Lane::size()) {
          const Lane i = load(kept + j), f = load(kept + H + j);
          const Lane g = load(kept + 2 * H + j), o = load(kept + 3 * H + j);
          const Lane tanh_c = tanh<P>(load(s.c + m * H + j)), dh = load(s.dh + m * H + j);
          const Lane dc = load(s.dc + m * H + j) + dh * o * (one - tanh_c * tanh_c);  // (lstm.5)
          const Lane each[] = {dc * g * i * (one - i),  // (lstm.6)
                               dc * load(s.c_prev + m * H + j) * f * (one - f),
                               dc * i * (one - g * g), dh * tanh_c * o * (one - o)};
          store(s.dc + m * H + j, dc * f);  // (lstm.8)
          for (int64_t k = 0; k < 4; k++) {
            store(da + k * H + j, each[k]);
            store(s.db + k * H + j, load(s.db + k * H + j) + each[k]);
          }
        }
      }
      to_h(s.rows, s.da, 4 * H, s.dh, H, false);  // (lstm.8)
      if (wants_dx) to_x(s.rows, s.da, 4 * H, s.dx, n.Dp, false);
    }

    Sizes n;
    bool wants_dx;
    Panels<P> to_x, to_h;
  };

  using Gradients = SharedGradients<P>;  // (lstm.7)

  Sizes n;
  Factor<P> gates;
  Tensor shift;
};

const bool is_registered = register_family<Lstm>("lstm");

}  // namespace
}  // namespace carousel
