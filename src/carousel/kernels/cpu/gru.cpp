// GRU, with the reset gate after or before the recurrent product: one time step, forward and backward.
// Labels are of math/gru/equations.md; torch's gates are r, z, n.
#include <ATen/ops/cat.h>

#include "recurrence.h"

namespace carousel {
namespace {

// The candidate's two sums stay apart, since r multiplies the second alone. What is activated:
// a_n (of x), a_r, a_z (of both), u_n (of h); so the first three are what x takes part in, and the
// last three what h does.
template <class P, template <class> class Factor>
struct Gru {
  static constexpr bool HAS_CELL = false;
  static constexpr int64_t ACTIVATIONS = 4, KEPT = 4, DA = 4;

  Gru(const Weights& w, const Sizes& n) : n(n), shift(shifts(w, n)) {
    const Tensor all = padded_weights<P>(w, n);  // (3, Hp, Dp + Hp)
    if (n.Dp > 0) a_n = Factor<P>(all[2].narrow(1, 0, n.Dp).t());
    a_rz = Factor<P>(all.narrow(0, 0, 2).view({2 * n.Hp, n.width()}).t());
    u_n = Factor<P>(all[2].narrow(1, n.Dp, n.Hp).t());
  }

  static Tensor shifts(const Weights& w, const Sizes& n) {
    const Tensor of_x = input_shift(w, n), of_h = state_shift(w, n);
    const Tensor rz = of_x.narrow(1, 0, 2).add(of_h.narrow(0, 0, 2));
    const Tensor u = of_h.narrow(0, 2, 1).expand({of_x.size(0), 1, n.Hp});
    return at::cat({of_x.narrow(1, 2, 1), rz, u}, 1);  // (R or 1, 4, Hp)
  }

  void step(const Step<P>& s) const {
    const int64_t H = n.Hp, W = n.width();
    const Lane one(1.f);
    if (n.Dp > 0) a_n(s.rows, s.read, W, s.a, 4 * H, false, s.reversed);  // (gru.1)
    a_rz(s.rows, s.read, W, s.a + H, 4 * H, false, s.reversed);
    u_n(s.rows, s.read + n.Dp, W, s.a + 3 * H, 4 * H, false, s.reversed);
    for (int64_t m = 0; m < s.rows; m++) {
      const float* a = s.a + m * 4 * H;
      const float* b = shift.const_data_ptr<float>() + (s.ids ? s.ids[m] * 4 * H : 0);
      P* kept = s.kept + m * 4 * H;
      for (int64_t j = 0; j < H; j += Lane::size()) {
        const auto sum = [&](int64_t k) { return load(a + k * H + j) + load(b + k * H + j); };
        const Lane u = sum(3), r = sigmoid<P>(sum(1)), z = sigmoid<P>(sum(2));  // (gru.2)
        const Lane n_t = tanh<P>((n.Dp > 0 ? sum(0) : load(b + j)) + r * u);    // (gru.3)
        const Lane h = (one - z) * n_t + z * load(s.h + m * H + j);             // (gru.4)
        store(s.h + m * H + j, h);
        store(s.h_next + m * W + j, h);
        store(kept + j, n_t);
        store(kept + H + j, r);
        store(kept + 2 * H + j, z);
        store(kept + 3 * H + j, u);
      }
    }
  }

  struct Backward {
    Backward(const Weights& w, const Sizes& n, bool wants_dx) : n(n), wants_dx(wants_dx) {
      const Tensor all = padded_weights<P>(w, n);
      if (wants_dx) {
        const Tensor reordered = at::cat({all.narrow(0, 2, 1), all.narrow(0, 0, 2)});  // n, r, z
        to_x = Panels<P>(reordered.view({3 * n.Hp, n.width()}).narrow(1, 0, n.Dp));
      }
      to_h = Panels<P>(all.view({3 * n.Hp, n.width()}).narrow(1, n.Dp, n.Hp));
    }

    void step_backward(const BackwardStep<P>& s) const {
      const int64_t H = n.Hp, W = n.width();
      const Lane one(1.f);
      for (int64_t m = 0; m < s.rows; m++) {
        const P* kept = s.kept + m * 4 * H;
        P* da = s.da + m * 4 * H;
        for (int64_t j = 0; j < H; j += Lane::size()) {
          const Lane n_t = load(kept + j), r = load(kept + H + j);
          const Lane z = load(kept + 2 * H + j), u = load(kept + 3 * H + j);
          const Lane dh = load(s.dh + m * H + j), h_prev = load(s.read + m * W + n.Dp + j);
          const Lane dn = dh * (one - z) * (one - n_t * n_t);  // (gru.5)
          const Lane each[] = {dn, dn * u * r * (one - r),     // (gru.6)
                               dh * (h_prev - n_t) * z * (one - z), dn * r};  // (gru.7)
          store(s.dh + m * H + j, dh * z);  // (gru.9)
          for (int64_t k = 0; k < 4; k++) {
            store(da + k * H + j, each[k]);
            store(s.db + k * H + j, load(s.db + k * H + j) + each[k]);
          }
        }
      }
      to_h(s.rows, s.da + H, 4 * H, s.dh, H, true);  // (gru.9)
      if (wants_dx) to_x(s.rows, s.da, 4 * H, s.dx, n.Dp, false);
    }

    Sizes n;
    bool wants_dx;
    Panels<P> to_x, to_h;
  };

  class Gradients {  // (gru.8)
   public:
    Gradients(const Weights& w, const Sizes& n) : n(n), of_x(w, n, 3), of_h(n.Hp, 3 * n.Hp) {}

    void add(const Span<P>& s) {
      of_x.add(s, {s.da, 3 * n.Hp, 4 * n.Hp});
      of_h.add(s.rows, {s.read + n.Dp, n.Hp, n.width()}, {s.da + n.Hp, 3 * n.Hp, 4 * n.Hp});
    }

    Tensors operator()(const Tensor& db) const {
      const Tensor b = as_rows(db, n), input = of_x();
      return {reordered(input, n.Dp > 0 ? 0 : 1), reordered(b.narrow(1, 0, 3), 1),
              as_weight(of_h(), 0, n.H, n), b.narrow(1, 1, 3)};
    }

   private:
    static Tensor reordered(const Tensor& gates, int64_t axis) {  // n, r, z to r, z, n
      return at::cat({gates.narrow(axis, 1, 2), gates.narrow(axis, 0, 1)}, axis);
    }

    Sizes n;
    InputSum<P> of_x;
    OuterSum<P> of_h;
  };

  Sizes n;
  Tensor shift;
  Factor<P> a_n, a_rz, u_n;
};

// The reset gate multiplies what the candidate reads of h, so that its product waits for r.
template <class P, template <class> class Factor>
struct GruResetBefore {
  static constexpr bool HAS_CELL = false;
  static constexpr int64_t ACTIVATIONS = 3, KEPT = 4, DA = 3;

  GruResetBefore(const Weights& w, const Sizes& n)
      : n(n), shift(input_shift(w, n).add_(state_shift(w, n))) {
    const Tensor all = padded_weights<P>(w, n);
    a_rz = Factor<P>(all.narrow(0, 0, 2).view({2 * n.Hp, n.width()}).t());
    if (n.Dp > 0) a_n = Factor<P>(all[2].narrow(1, 0, n.Dp).t());
    u_n = Factor<P>(all[2].narrow(1, n.Dp, n.Hp).t());
  }

  void step(const Step<P>& s) const {
    const int64_t H = n.Hp, W = n.width();
    const Lane one(1.f);
    const auto shift_of = [&](int64_t m) {
      return shift.const_data_ptr<float>() + (s.ids ? s.ids[m] * 3 * H : 0);
    };
    a_rz(s.rows, s.read, W, s.a, 3 * H, false, s.reversed);  // (gru.1)
    if (n.Dp > 0) a_n(s.rows, s.read, W, s.a + 2 * H, 3 * H, false, s.reversed);
    for (int64_t m = 0; m < s.rows; m++) {
      const float* a = s.a + m * 3 * H;
      const float* b = shift_of(m);
      P* kept = s.kept + m * 4 * H;
      for (int64_t j = 0; j < H; j += Lane::size()) {
        const Lane r = sigmoid<P>(load(a + j) + load(b + j));  // (gru.2)
        store(kept + j, r);
        store(kept + H + j, sigmoid<P>(load(a + H + j) + load(b + H + j)));
        store(kept + 3 * H + j, r * load(s.h + m * H + j));
      }
    }
    u_n(s.rows, s.kept + 3 * H, 4 * H, s.a + 2 * H, 3 * H, n.Dp > 0, s.reversed);
    for (int64_t m = 0; m < s.rows; m++) {
      const float* a = s.a + m * 3 * H;
      const float* b = shift_of(m);
      P* kept = s.kept + m * 4 * H;
      for (int64_t j = 0; j < H; j += Lane::size()) {
        const Lane n_t = tanh<P>(load(a + 2 * H + j) + load(b + 2 * H + j));  // (gru.10)
        const Lane z = sigmoid<P>(load(a + H + j) + load(b + H + j));
        const Lane h = (one - z) * n_t + z * load(s.h + m * H + j);  // (gru.4)
        store(s.h + m * H + j, h);
        store(s.h_next + m * W + j, h);
        store(kept + 2 * H + j, n_t);
      }
    }
  }

  struct Backward {
    Backward(const Weights& w, const Sizes& n, bool wants_dx) : n(n), wants_dx(wants_dx) {
      const Tensor all = padded_weights<P>(w, n);
      const Tensor whole = all.view({3 * n.Hp, n.width()});
      if (wants_dx) to_x = Panels<P>(whole.narrow(1, 0, n.Dp));
      to_h = Panels<P>(whole.narrow(0, 0, 2 * n.Hp).narrow(1, n.Dp, n.Hp));
      to_read = Panels<P>(whole.narrow(0, 2 * n.Hp, n.Hp).narrow(1, n.Dp, n.Hp));
    }

    void step_backward(const BackwardStep<P>& s) const {
      const int64_t H = n.Hp, W = n.width();
      const Lane one(1.f);
      for (int64_t m = 0; m < s.rows; m++) {
        const P* kept = s.kept + m * 4 * H;
        P* da = s.da + m * 3 * H;
        for (int64_t j = 0; j < H; j += Lane::size()) {
          const Lane z = load(kept + H + j), n_t = load(kept + 2 * H + j);
          const Lane dh = load(s.dh + m * H + j), h_prev = load(s.read + m * W + n.Dp + j);
          const Lane dn = dh * (one - z) * (one - n_t * n_t);          // (gru.5)
          const Lane dz = dh * (h_prev - n_t) * z * (one - z);         // (gru.12)
          store(s.dh + m * H + j, dh * z);                             // (gru.14)
          store(da + H + j, dz);
          store(da + 2 * H + j, dn);
          store(s.db + H + j, load(s.db + H + j) + dz);
          store(s.db + 2 * H + j, load(s.db + 2 * H + j) + dn);
        }
      }
      to_read(s.rows, s.da + 2 * H, 3 * H, s.scratch, H, false);  // (gru.11)
      for (int64_t m = 0; m < s.rows; m++) {
        for (int64_t j = 0; j < H; j += Lane::size()) {
          const Lane r = load(s.kept + m * 4 * H + j), dread = load(s.scratch + m * H + j);
          const Lane dr = dread * load(s.read + m * W + n.Dp + j) * r * (one - r);  // (gru.12)
          store(s.dh + m * H + j, load(s.dh + m * H + j) + dread * r);              // (gru.14)
          store(s.da + m * 3 * H + j, dr);
          store(s.db + j, load(s.db + j) + dr);
        }
      }
      to_h(s.rows, s.da, 3 * H, s.dh, H, true);  // (gru.14)
      if (wants_dx) to_x(s.rows, s.da, 3 * H, s.dx, n.Dp, false);
    }

    Sizes n;
    bool wants_dx;
    Panels<P> to_x, to_h, to_read;
  };

  class Gradients {  // (gru.13)
   public:
    Gradients(const Weights& w, const Sizes& n)
        : n(n), of_x(w, n, 3), of_h(n.Hp, 2 * n.Hp), of_read(n.Hp, n.Hp) {}

    void add(const Span<P>& s) {
      const int64_t H = n.Hp;
      of_x.add(s, {s.da, 3 * H, 3 * H});
      of_h.add(s.rows, {s.read + n.Dp, H, n.width()}, {s.da, 2 * H, 3 * H});
      of_read.add(s.rows, {s.kept + 3 * H, H, 4 * H}, {s.da + 2 * H, H, 3 * H});
    }

    Tensors operator()(const Tensor& db) const {
      const Tensor rz = as_weight(of_h(), 0, n.H, n), n_t = as_weight(of_read(), 0, n.H, n);
      return {of_x(), as_rows(db, n), at::cat({rz, n_t}), as_rows(db, n)};
    }

   private:
    Sizes n;
    InputSum<P> of_x;
    OuterSum<P> of_h, of_read;
  };

  Sizes n;
  Tensor shift;
  Factor<P> a_n, a_rz, u_n;
};

const bool gru_is_registered = register_family<Gru>("gru") && register_family<GruResetBefore>("gru_reset_before");

}  // namespace
}  // namespace carousel
