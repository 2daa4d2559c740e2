// Texts written without Python: ids through the layers to logits, the stages of sampling, the next id.
// Each thread takes some of the texts through all the steps of a call, so that threads never meet; a
// text's numbers do not depend on who else is in the batch (rows.h).
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include "draw.h"
#include "recurrence.h"

namespace carousel {
namespace {

// A text as generation/request.py has it: the same tensors.
struct Draft {
  int64_t* ids;
  int64_t* place;  // how many are read; how many stand; how many will; whether the logits were none
  float* log_p;    // null where nobody asks
  int64_t* best;
  float* best_log_p;
  int64_t alternatives, prompt, window;
  int32_t* counts;  // (V,) how often each id stands in the window
  float* state;     // (layers, parts, Hp), one after the other
  uint64_t seed, sample;
  Stages stages;
  int64_t room;  // of ids

  // Whether the model reads no more of it: all is read but the last id, or there is no room.
  bool is_over() const { return place[3] != 0 || place[0] + 1 >= std::min(place[2], room); }
};

// What writes, whatever the type of its products.
struct Machine : torch::CustomClassHolder {
  virtual int64_t state_size() const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual void write(std::vector<Draft>& drafts, int64_t steps,
                     const int32_t* interrupted) const = 0;
};

template <class P>
class MachineOf final : public Machine {
 public:
  MachineOf(MakeWalker<P> make, const std::vector<Weights>& layers, const Tensor& w_out,
            const OptionalTensor& b_out)
      : V_(w_out.size(0)), Vp_(padded(V_)) {
    for (const Weights& w : layers) {
      walkers_.push_back(make(w, Sizes(1, 1, w)));
      const Walker<P>& layer = *walkers_.back();
      state_size_ += (1 + layer.has_cell) * layer.n.Hp;
      widest_ = std::max(widest_, std::max(layer.activations, layer.kept) * layer.n.Hp);
    }
    const int64_t H = walkers_.back()->n.H, Hp = walkers_.back()->n.Hp;
    Tensor whole = at::zeros({Hp, Vp_}, type_of<P>());
    whole.narrow(0, 0, H).narrow(1, 0, V_).copy_(w_out.t());
    to_logits_ = RowPanels<P>(whole);
    bias_ = at::zeros({Vp_}, at::kFloat);
    if (b_out) bias_.narrow(0, 0, V_).copy_(*b_out);
  }

  int64_t state_size() const override { return state_size_; }
  int64_t vocab_size() const override { return V_; }

  void write(std::vector<Draft>& drafts, int64_t steps,
             const int32_t* interrupted) const override {
    const int64_t count = drafts.size(), groups = std::min<int64_t>(at::get_num_threads(), count);
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; group++) {
        const int64_t first = group * count / groups, last = (group + 1) * count / groups;
        for (int64_t done = 0; done < steps; done += SPELL) {
          if (done > 0 && __atomic_load_n(interrupted, __ATOMIC_RELAXED)) break;
          std::vector<Draft*> left;
          for (int64_t m = first; m < last; m++) {
            if (!drafts[m].is_over()) left.push_back(&drafts[m]);
          }
          const int64_t number = left.size();
          for (int64_t m = 0; m < number; m += TILE) {
            const int64_t most = std::min(SPELL, steps - done);
            write_some(left.data() + m, std::min(TILE, number - m), most);
          }
        }
      }
    });
  }

 private:
  // What a layer holds of the texts of a group.
  struct Rows {
    std::vector<P> read;       // (M, Dp + Hp): [x_t | h_{t-1}]
    std::vector<float> h, c;  // (M, Hp)
  };

  // Few texts go on together for a few steps, so that what they write to stays in cache; then the
  // next ones do.
  static constexpr int64_t TILE = 12, SPELL = 8;

  void write_some(Draft* const* drafts, int64_t M, int64_t steps) const {
    std::vector<Rows> rows = taken_up(drafts, M);
    std::vector<bool> is_over(M);  // its row goes on with the others, and nobody looks at it
    std::vector<float> a(M * widest_), logits(M * Vp_);
    std::vector<P> kept(M * widest_), top(M * walkers_.back()->n.Hp);
    std::vector<int64_t> ids(M), asking;
    Distribution distribution(V_);
    for (int64_t step = 0; step < steps; step++) {
      is_from_last = !is_from_last;
      for (int64_t m = 0; m < M; m++) ids[m] = drafts[m]->ids[drafts[m]->place[0]];
      for (size_t l = 0; l < walkers_.size(); l++) {
        const Walker<P>& layer = *walkers_[l];
        const Sizes& n = layer.n;
        Rows& own = rows[l];
        if (l > 0) {
          const Sizes& below = walkers_[l - 1]->n;
          for (int64_t m = 0; m < M; m++) {
            std::copy_n(rows[l - 1].read.data() + m * below.width() + below.Dp, n.Dp,
                        own.read.data() + m * n.width());
          }
        }
        layer.step({M, l == 0 ? ids.data() : nullptr, own.read.data(), own.read.data() + n.Dp,
                    own.h.data(), own.c.data(), own.c.data(), kept.data(), a.data()});
      }
      asking.clear();
      for (int64_t m = 0; m < M; m++) {
        Draft& d = *drafts[m];
        if (is_over[m]) continue;
        const int64_t next = ++d.place[0];
        if (next == d.place[1] || d.log_p) asking.push_back(m);
      }
      const Sizes& n = walkers_.back()->n;
      for (size_t k = 0; k < asking.size(); k++) {
        std::copy_n(rows.back().read.data() + asking[k] * n.width() + n.Dp, n.Hp,
                    top.data() + k * n.Hp);
      }
      to_logits_(asking.size(), top.data(), n.Hp, logits.data(), Vp_, false);
      for (size_t k = 0; k < asking.size(); k++) {
        float* z = logits.data() + k * Vp_;
        const float* b = bias_.const_data_ptr<float>();
        for (int64_t j = 0; j < Vp_; j += Lane::size()) store(z + j, load(z + j) + load(b + j));
        choose(*drafts[asking[k]], z, distribution);
      }
      for (int64_t m = 0; m < M; m++) {
        if (is_over[m] || (step + 1 < steps && !drafts[m]->is_over())) continue;
        put_down(rows, m, drafts[m]->state);
        is_over[m] = true;
      }
    }
  }

  // Draws the id after all that stand, if one is due, and notes the chances of what stands there.
  void choose(Draft& d, const float* logits, Distribution& distribution) const {
    const int64_t next = d.place[0];
    if (!distribution.begin(logits)) {
      d.place[0]--;  // what was read has told nothing
      d.place[3] = 1;
      return;
    }
    if (d.log_p) {
      const std::vector<int64_t>& ranked = distribution.rank(d.alternatives);
      for (int64_t r = 0; r < d.alternatives; r++) {
        d.best[next * d.alternatives + r] = ranked[r];
        d.best_log_p[next * d.alternatives + r] = distribution.log_p()[ranked[r]];
      }
      if (next < d.place[1]) d.log_p[next] = distribution.log_p()[d.ids[next]];
    }
    if (next < d.place[1]) return;
    const std::vector<double> own = d.log_p ? distribution.log_p() : std::vector<double>();
    distribution.shape(d.counts, d.stages);
    const int64_t id = distribution.draw(uniform(d.seed, d.sample, next - d.prompt));
    if (d.log_p) d.log_p[next] = own[id];
    d.ids[next] = id;
    d.place[1]++;
    d.counts[id]++;
    if (next >= d.window) d.counts[d.ids[next - d.window]]--;
  }

  std::vector<Rows> taken_up(Draft* const* drafts, int64_t M) const {
    std::vector<Rows> rows;
    int64_t offset = 0;
    for (const auto& layer : walkers_) {
      const Sizes& n = layer->n;
      Rows own{std::vector<P>(M * n.width()), std::vector<float>(M * n.Hp),
               std::vector<float>(layer->has_cell ? M * n.Hp : 0)};
      for (int64_t m = 0; m < M; m++) {
        const float* from = drafts[m]->state + offset;
        std::copy_n(from, n.Hp, own.h.data() + m * n.Hp);
        if (layer->has_cell) std::copy_n(from + n.Hp, n.Hp, own.c.data() + m * n.Hp);
      }
      copy_rows(own.h.data(), n.Hp, own.read.data() + n.Dp, n.width(), M, n.Hp, n.Hp);
      offset += (1 + layer->has_cell) * n.Hp;
      rows.push_back(std::move(own));
    }
    return rows;
  }

  void put_down(const std::vector<Rows>& rows, int64_t m, float* to) const {
    for (size_t l = 0; l < rows.size(); l++) {
      const int64_t Hp = walkers_[l]->n.Hp;
      to = std::copy_n(rows[l].h.data() + m * Hp, Hp, to);
      if (walkers_[l]->has_cell) to = std::copy_n(rows[l].c.data() + m * Hp, Hp, to);
    }
  }

  int64_t V_, Vp_, state_size_ = 0, widest_ = 0;
  std::vector<std::unique_ptr<Walker<P>>> walkers_;
  RowPanels<P> to_logits_;
  Tensor bias_;
};

template <class P>
c10::intrusive_ptr<Machine> made(MakeWalker<P> make, const std::vector<Weights>& layers,
                                 const Tensor& w_out, const OptionalTensor& b_out) {
  return c10::make_intrusive<MachineOf<P>>(make, layers, w_out, b_out);
}

// (V, G): what each id brings to the gates of the first layer, from the embedding (V, D). torch's own
// product would depend on the number of threads in its last bits, and so would every text.
Tensor project_embedding(const Tensor& embedding, const Tensor& w_ih, const OptionalTensor& b_ih) {
  const int64_t V = embedding.size(0), D = embedding.size(1), Dp = padded(D);
  const int64_t G = w_ih.size(0), Gp = padded(G);
  Tensor left = at::zeros({V, Dp}, at::kFloat), right = at::zeros({Dp, Gp}, at::kFloat);
  left.narrow(1, 0, D).copy_(embedding);
  right.narrow(0, 0, D).narrow(1, 0, G).copy_(w_ih.t());
  Tensor projected = unwritten<float>({V, Gp});
  const RowPanels<float> panels(right);
  const float* from = left.const_data_ptr<float>();
  float* to = projected.mutable_data_ptr<float>();
  at::parallel_for(0, V, 16, [&](int64_t first, int64_t last) {
    panels(last - first, from + first * Dp, Dp, to + first * Gp, Gp, false);
  });
  const Tensor table = projected.narrow(1, 0, G);
  return b_ih ? at::add(table, *b_ih) : table.contiguous();
}

// Of each layer w_ih, w_hh and their biases; the first one reads the embedding of an id.
c10::intrusive_ptr<Machine> machine(const std::string& family, const Tensor& embedding,
                                    Tensors w_ih, Tensors w_hh, std::vector<OptionalTensor> b_ih,
                                    std::vector<OptionalTensor> b_hh, const Tensor& w_out,
                                    const OptionalTensor& b_out, at::ScalarType product) {
  const at::NoGradGuard no_grad;
  std::vector<Weights> layers;
  layers.push_back({project_embedding(embedding, w_ih[0], b_ih[0]), w_hh[0].contiguous(),
                    std::nullopt, b_hh[0], true});
  for (size_t l = 1; l < w_ih.size(); l++) {
    layers.push_back({w_ih[l].contiguous(), w_hh[l].contiguous(), b_ih[l], b_hh[l], false});
  }
  const Family& known = families().at(family);
  return product == at::kBFloat16 ? made<BFloat16>(known.walker_bf16, layers, w_out, b_out)
                                  : made<float>(known.walker, layers, w_out, b_out);
}

Stages stages_of(const double* row) {
  return {row[0], row[1], int64_t(row[2]), row[3], row[4]};
}

// Goes on with texts for so many steps, each to its end or that of its room at most, or until
// interrupted is set. Of each text: the tensors of a
// Draft; counts and state; in `numbers` (M, 4) int64 the length of its prompt, its repetition window,
// its seed and sample; in `stages` (M, 5) float64 what they are told.
void write(const c10::intrusive_ptr<Machine>& machine, Tensors ids, Tensors place, Tensors log_p,
           Tensors best, Tensors best_log_p, Tensors counts, Tensors state, const Tensor& numbers,
           const Tensor& stages, int64_t steps, const Tensor& interrupted) {
  std::vector<Draft> drafts;
  for (size_t m = 0; m < ids.size(); m++) {
    const int64_t* n = numbers.const_data_ptr<int64_t>() + 4 * m;
    drafts.push_back({ids[m].mutable_data_ptr<int64_t>(), place[m].mutable_data_ptr<int64_t>(),
                      log_p[m].numel() ? log_p[m].mutable_data_ptr<float>() : nullptr,
                      best[m].mutable_data_ptr<int64_t>(), best_log_p[m].mutable_data_ptr<float>(),
                      best[m].size(1), n[0], n[1], counts[m].mutable_data_ptr<int32_t>(),
                      state[m].mutable_data_ptr<float>(), uint64_t(n[2]), uint64_t(n[3]),
                      stages_of(stages.const_data_ptr<double>() + 5 * m), ids[m].numel()});
  }
  machine->write(drafts, steps, interrupted.const_data_ptr<int32_t>());
}

int64_t state_size(const c10::intrusive_ptr<Machine>& machine) {
  return machine->state_size();
}

// For each row of logits (B, V): the id that u draws, and log p after the stages (B, V); id -1 where
// the logits define no distribution.
std::tuple<Tensor, Tensor> choose(const Tensor& logits, const Tensor& counts, const Tensor& stages,
                                  const Tensor& u) {
  const int64_t B = logits.size(0), V = logits.size(1);
  Tensor ids = unwritten({B}, at::kLong), after = unwritten({B, V}, at::kDouble);
  at::parallel_for(0, B, 8, [&](int64_t begin, int64_t end) {
    Distribution distribution(V);
    for (int64_t m = begin; m < end; m++) {
      int64_t& id = ids.mutable_data_ptr<int64_t>()[m];
      id = -1;
      if (!distribution.begin(logits.const_data_ptr<float>() + m * V)) continue;
      distribution.shape(counts.const_data_ptr<int32_t>() + m * V,
                         stages_of(stages.const_data_ptr<double>() + 5 * m));
      id = distribution.draw(u.const_data_ptr<double>()[m]);
      distribution.normalise();
      std::copy_n(distribution.log_p().data(), V, after.mutable_data_ptr<double>() + m * V);
    }
  });
  return {ids, after};
}

double philox(int64_t seed, int64_t sample, int64_t t) {
  return uniform(seed, sample, t);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(carousel, library) {
  library.class_<Machine>("Machine");
  library.def("machine", machine);
  library.def("state_size", state_size);
  library.def("write", write);
  library.def("choose", choose);
  library.def("uniform", philox);
}

}  // namespace carousel
