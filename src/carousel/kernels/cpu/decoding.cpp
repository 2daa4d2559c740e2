// Autoregressive decoding without Python: ids through the layers to logits, the stages of sampling,
// the next id. Each thread takes some sequences through all the steps of a call, so that threads never
// wait for each other; a sequence does not depend on the rest of the batch (batch_invariant_gemm.h).
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include "sampling.h"
#include "recurrence.h"

namespace carousel {
namespace {

// TokenSequence.progress of generation/token_sequence.py, (4,) int64, field by field.
struct Progress {
  int64_t num_read, num_tokens, limit, has_failed;
};
static_assert(sizeof(Progress) == 4 * sizeof(int64_t));

// A TokenSequence, in the same tensors, and what its request and its state add.
struct Sequence {
  int64_t* ids;
  Progress* progress;
  float* log_p;  // null if no log-probabilities were requested
  int64_t* top_ids;
  float* top_log_p;
  int64_t num_top, prompt, window;
  int32_t* counts;  // (V,) occurrences of each id in the repetition window
  float* state;     // (layers, parts, Hp)
  uint64_t seed, sample;
  Stages settings;
  int64_t capacity;  // of ids

  // Whether no step is left: all is read but the last id, or there is no room for another.
  bool is_done() const {
    return progress->has_failed || progress->num_read + 1 >= std::min(progress->limit, capacity);
  }
};

// A model with its packed weights, whatever the type of its matrix products.
struct Decoder : torch::CustomClassHolder {
  virtual int64_t state_size() const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual void decode(std::vector<Sequence>& sequences, int64_t steps,
                      const int32_t* interrupted) const = 0;
};

template <class P>
class DecoderOf final : public Decoder {
 public:
  DecoderOf(MakeLayerStep<P> make, const std::vector<Weights>& layers, const Tensor& w_out,
            const OptionalTensor& b_out)
      : V_(w_out.size(0)), Vp_(padded(V_)) {
    for (const Weights& w : layers) {
      layers_.push_back(make(w, Sizes(1, 1, w)));
      const LayerStep<P>& layer = *layers_.back();
      state_size_ += (1 + layer.has_cell) * layer.n.Hp;
      widest_ = std::max(widest_, std::max(layer.activations, layer.kept) * layer.n.Hp);
    }
    const int64_t H = layers_.back()->n.H, Hp = layers_.back()->n.Hp;
    Tensor whole = at::zeros({Hp, Vp_}, type_of<P>());
    whole.narrow(0, 0, H).narrow(1, 0, V_).copy_(w_out.t());
    to_logits_ = RowPanels<P>(whole);
    bias_ = at::zeros({Vp_}, at::kFloat);
    if (b_out) bias_.narrow(0, 0, V_).copy_(*b_out);
  }

  int64_t state_size() const override { return state_size_; }
  int64_t vocab_size() const override { return V_; }

  void decode(std::vector<Sequence>& sequences, int64_t steps,
              const int32_t* interrupted) const override {
    const int64_t count = sequences.size(), groups = std::min<int64_t>(at::get_num_threads(), count);
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; group++) {
        const int64_t first = group * count / groups, last = (group + 1) * count / groups;
        for (int64_t done = 0; done < steps; done += STRIDE) {
          if (done > 0 && __atomic_load_n(interrupted, __ATOMIC_RELAXED)) break;
          std::vector<Sequence*> left;
          for (int64_t m = first; m < last; m++) {
            if (!sequences[m].is_done()) left.push_back(&sequences[m]);
          }
          const int64_t number = left.size();
          for (int64_t m = 0; m < number; m += TILE) {
            const int64_t most = std::min(STRIDE, steps - done);
            decode_tile(left.data() + m, std::min(TILE, number - m), most);
          }
        }
      }
    });
  }

 private:
  // The state of one layer for a tile of sequences.
  struct Rows {
    std::vector<P> read;       // (M, Dp + Hp): [x_t | h_{t-1}]
    std::vector<float> h, c;  // (M, Hp)
  };

  // TILE sequences run STRIDE steps, so that what they write to stays in cache; then the next ones.
  static constexpr int64_t TILE = 12, STRIDE = 8;

  void decode_tile(Sequence* const* sequences, int64_t M, int64_t steps) const {
    std::vector<Rows> rows = load_state(sequences, M);
    std::vector<bool> is_done(M);  // its row is computed with the others and ignored
    std::vector<float> a(M * widest_), logits(M * Vp_);
    std::vector<P> kept(M * widest_), top(M * layers_.back()->n.Hp);
    std::vector<int64_t> ids(M), wanted;
    Distribution distribution(V_);
    for (int64_t step = 0; step < steps; step++) {
      const bool reversed = step % 2 == 0;
      for (int64_t m = 0; m < M; m++) ids[m] = sequences[m]->ids[sequences[m]->progress->num_read];
      for (size_t l = 0; l < layers_.size(); l++) {
        const LayerStep<P>& layer = *layers_[l];
        const Sizes& n = layer.n;
        Rows& own = rows[l];
        if (l > 0) {
          const Sizes& below = layers_[l - 1]->n;
          for (int64_t m = 0; m < M; m++) {
            std::copy_n(rows[l - 1].read.data() + m * below.width() + below.Dp, n.Dp,
                        own.read.data() + m * n.width());
          }
        }
        layer.step({M, l == 0 ? ids.data() : nullptr, own.read.data(), own.read.data() + n.Dp,
                    own.h.data(), own.c.data(), own.c.data(), kept.data(), a.data(), reversed});
      }
      wanted.clear();
      for (int64_t m = 0; m < M; m++) {
        Sequence& s = *sequences[m];
        if (is_done[m]) continue;
        const int64_t next = ++s.progress->num_read;
        if (next == s.progress->num_tokens || s.log_p) wanted.push_back(m);
      }
      const Sizes& n = layers_.back()->n;
      for (size_t k = 0; k < wanted.size(); k++) {
        std::copy_n(rows.back().read.data() + wanted[k] * n.width() + n.Dp, n.Hp,
                    top.data() + k * n.Hp);
      }
      to_logits_(wanted.size(), top.data(), n.Hp, logits.data(), Vp_, false, reversed);
      for (size_t k = 0; k < wanted.size(); k++) {
        float* z = logits.data() + k * Vp_;
        const float* b = bias_.const_data_ptr<float>();
        for (int64_t j = 0; j < Vp_; j += Lane::size()) store(z + j, load(z + j) + load(b + j));
        choose(*sequences[wanted[k]], z, distribution);
      }
      for (int64_t m = 0; m < M; m++) {
        if (is_done[m] || (step + 1 < steps && !sequences[m]->is_done())) continue;
        store_state(rows, m, sequences[m]->state);
        is_done[m] = true;
      }
    }
  }

  // Draws the next id if all known ones are read, and sets the log-probabilities if requested.
  void choose(Sequence& s, const float* logits, Distribution& distribution) const {
    const int64_t next = s.progress->num_read;
    if (!distribution.begin(logits)) {
      s.progress->num_read--;
      s.progress->has_failed = 1;
      return;
    }
    if (s.log_p) {
      const std::vector<int64_t>& ranked = distribution.rank(s.num_top);
      for (int64_t r = 0; r < s.num_top; r++) {
        s.top_ids[next * s.num_top + r] = ranked[r];
        s.top_log_p[next * s.num_top + r] = distribution.log_p()[ranked[r]];
      }
      if (next < s.progress->num_tokens) s.log_p[next] = distribution.log_p()[s.ids[next]];
    }
    if (next < s.progress->num_tokens) return;
    const std::vector<double> own = s.log_p ? distribution.log_p() : std::vector<double>();
    distribution.shape(s.counts, s.settings);
    const int64_t id = distribution.draw(uniform(s.seed, s.sample, next - s.prompt));
    if (s.log_p) s.log_p[next] = own[id];
    s.ids[next] = id;
    s.progress->num_tokens++;
    s.counts[id]++;
    if (next >= s.window) s.counts[s.ids[next - s.window]]--;
  }

  std::vector<Rows> load_state(Sequence* const* sequences, int64_t M) const {
    std::vector<Rows> rows;
    int64_t offset = 0;
    for (const auto& layer : layers_) {
      const Sizes& n = layer->n;
      Rows own{std::vector<P>(M * n.width()), std::vector<float>(M * n.Hp),
               std::vector<float>(layer->has_cell ? M * n.Hp : 0)};
      for (int64_t m = 0; m < M; m++) {
        const float* from = sequences[m]->state + offset;
        std::copy_n(from, n.Hp, own.h.data() + m * n.Hp);
        if (layer->has_cell) std::copy_n(from + n.Hp, n.Hp, own.c.data() + m * n.Hp);
      }
      copy_rows(own.h.data(), n.Hp, own.read.data() + n.Dp, n.width(), M, n.Hp, n.Hp);
      offset += (1 + layer->has_cell) * n.Hp;
      rows.push_back(std::move(own));
    }
    return rows;
  }

  void store_state(const std::vector<Rows>& rows, int64_t m, float* to) const {
    for (size_t l = 0; l < rows.size(); l++) {
      const int64_t Hp = layers_[l]->n.Hp;
      to = std::copy_n(rows[l].h.data() + m * Hp, Hp, to);
      if (layers_[l]->has_cell) to = std::copy_n(rows[l].c.data() + m * Hp, Hp, to);
    }
  }

  int64_t V_, Vp_, state_size_ = 0, widest_ = 0;
  std::vector<std::unique_ptr<LayerStep<P>>> layers_;
  RowPanels<P> to_logits_;
  Tensor bias_;
};

template <class P>
c10::intrusive_ptr<Decoder> made(MakeLayerStep<P> make, const std::vector<Weights>& layers,
                                 const Tensor& w_out, const OptionalTensor& b_out) {
  return c10::make_intrusive<DecoderOf<P>>(make, layers, w_out, b_out);
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
c10::intrusive_ptr<Decoder> make_decoder(const std::string& family, const Tensor& embedding,
                                         Tensors w_ih, Tensors w_hh,
                                         std::vector<OptionalTensor> b_ih,
                                         std::vector<OptionalTensor> b_hh, const Tensor& w_out,
                                         const OptionalTensor& b_out,
                                         at::ScalarType compute_dtype) {
  const at::NoGradGuard no_grad;
  std::vector<Weights> layers;
  layers.push_back({project_embedding(embedding, w_ih[0], b_ih[0]), w_hh[0].contiguous(),
                    std::nullopt, b_hh[0], true});
  for (size_t l = 1; l < w_ih.size(); l++) {
    layers.push_back({w_ih[l].contiguous(), w_hh[l].contiguous(), b_ih[l], b_hh[l], false});
  }
  const Family& known = families().at(family);
  return compute_dtype == at::kBFloat16 ? made<BFloat16>(known.layer_step_bf16, layers, w_out, b_out)
                                  : made<float>(known.layer_step, layers, w_out, b_out);
}

Stages stages_of(const double* row) {
  return {row[0], row[1], int64_t(row[2]), row[3], row[4]};
}

// Runs `steps` steps of each sequence, fewer if it is complete or full before, or if interrupted is set.
// For each: the tensors of its TokenSequence; counts and state; in `numbers` (M, 4) int64 the length of
// the prompt, the repetition window, seed and sample; in `settings` (M, 5) float64 those of the stages.
void decode(const c10::intrusive_ptr<Decoder>& decoder, Tensors ids, Tensors progress, Tensors log_p,
            Tensors top_ids, Tensors top_log_p, Tensors counts, Tensors state, const Tensor& numbers,
            const Tensor& settings, int64_t steps, const Tensor& interrupted) {
  std::vector<Sequence> sequences;
  for (size_t m = 0; m < ids.size(); m++) {
    const int64_t* n = numbers.const_data_ptr<int64_t>() + 4 * m;
    sequences.push_back(
        {ids[m].mutable_data_ptr<int64_t>(),
         reinterpret_cast<Progress*>(progress[m].mutable_data_ptr<int64_t>()),
         log_p[m].numel() ? log_p[m].mutable_data_ptr<float>() : nullptr,
         top_ids[m].mutable_data_ptr<int64_t>(), top_log_p[m].mutable_data_ptr<float>(),
         top_ids[m].size(1), n[0], n[1], counts[m].mutable_data_ptr<int32_t>(),
         state[m].mutable_data_ptr<float>(), uint64_t(n[2]), uint64_t(n[3]),
         stages_of(settings.const_data_ptr<double>() + 5 * m), ids[m].numel()});
  }
  decoder->decode(sequences, steps, interrupted.const_data_ptr<int32_t>());
}

int64_t state_size(const c10::intrusive_ptr<Decoder>& decoder) {
  return decoder->state_size();
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
  library.class_<Decoder>("Decoder");
  library.def("make_decoder", make_decoder);
  library.def("state_size", state_size);
  library.def("decode", decode);
  library.def("choose", choose);
  library.def("uniform", philox);
}

}  // namespace carousel
