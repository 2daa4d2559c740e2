// The stages of ops/sampling.py, for one row of logits: the same in the same order, in float64.
// Labels are of math/sampling/equations.md.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace carousel {

struct Stages {
  double repetition_penalty, temperature;
  int64_t top_k;  // 0: all
  double top_p, min_p;
};

using DoubleLane = at::vec::Vectorized<double>;
constexpr double NEVER = -std::numeric_limits<double>::infinity();  // log p of what is taken away

// The distribution of the next id over V of them, as logarithms; from the second stage on up to a
// constant, since only ratios matter but to (sampling.6). What the stages need is used again.
class Distribution {
 public:
  explicit Distribution(int64_t vocab_size)
      : V_(vocab_size), log_p_(padded(vocab_size), NEVER), p_(log_p_), ids_(vocab_size) {}

  // The model's own. False if the logits define no distribution.
  bool begin(const float* logits) {
    for (int64_t i = 0; i < V_; i++) log_p_[i] = logits[i];
    if (!std::isfinite(greatest())) return false;
    normalise();
    return true;
  }

  // counts: how often each id stands in the repetition window.
  void shape(const int32_t* counts, const Stages& s) {
    if (s.repetition_penalty != 1) {  // (sampling.2)
      for (int64_t i = 0; i < V_; i++) {
        if (counts[i] > 0) log_p_[i] *= s.repetition_penalty;
      }
    }
    if (s.temperature == 0) {  // (sampling.4)
      const double most = greatest();
      const auto best = std::find(log_p_.begin(), log_p_.end(), most);
      std::fill(log_p_.begin(), best, NEVER);
      std::fill(best + 1, log_p_.end(), NEVER);
    } else if (s.temperature != 1) {  // (sampling.3)
      const DoubleLane most(greatest()), temperature(s.temperature);
      each([&](DoubleLane z) { return (z - most) / temperature; });  // 0 for the best: T may be tiny
    }
    if (s.top_k > 0 && s.top_k < V_) keep_top(s.top_k);
    if (s.top_p < 1) keep_mass(s.top_p);
    if (s.min_p > 0) {  // (sampling.7)
      keep_from(greatest() + std::log(s.min_p));
    }
  }

  // (sampling.8)
  int64_t draw(double u) {
    const double bound = u * exponentiate().total;
    double before = 0;
    for (size_t i = 0; i < p_.size(); i += DoubleLane::size()) {
      const double own = sum_of(DoubleLane::loadu(p_.data() + i));
      if (before + own <= bound) {
        before += own;
        continue;
      }
      for (size_t id = i; id < i + DoubleLane::size(); id++) {
        if ((before += p_[id]) > bound) return id;
      }  // else rounding: the bound lies at the end of this lane, and the next id follows
    }
    int64_t id = V_ - 1;  // rounding has left the bound above the sum
    while (p_[id] == 0) id--;
    return id;
  }

  // The k likeliest ids, the likeliest first, the lower of equals first; k ≤ V.
  const std::vector<int64_t>& rank(int64_t k) {
    std::iota(ids_.begin(), ids_.end(), 0);
    const auto is_before = [this](int64_t i, int64_t j) {
      return log_p_[i] > log_p_[j] || (log_p_[i] == log_p_[j] && i < j);
    };
    std::partial_sort(ids_.begin(), ids_.begin() + k, ids_.end(), is_before);
    return ids_;
  }

  const std::vector<double>& log_p() const { return log_p_; }

  // (sampling.1)
  void normalise() {
    const auto [most, total] = exponentiate();
    const DoubleLane greatest_lane(most), log_total(std::log(total));
    each([&](DoubleLane z) { return z - greatest_lane - log_total; });  // the greatest may be huge
  }

 private:
  static int64_t padded(int64_t size) {
    return (size + DoubleLane::size() - 1) / DoubleLane::size() * DoubleLane::size();
  }

  template <class F>
  void each(F change) {
    for (size_t i = 0; i < log_p_.size(); i += DoubleLane::size()) {
      change(DoubleLane::loadu(log_p_.data() + i)).store(log_p_.data() + i);
    }
  }

  void keep_from(double least) {
    each([&](DoubleLane z) { return DoubleLane::blendv(DoubleLane(NEVER), z, z >= DoubleLane(least)); });
  }

  double greatest() const {
    DoubleLane most(NEVER);
    for (size_t i = 0; i < log_p_.size(); i += DoubleLane::size()) {
      most = at::vec::maximum(most, DoubleLane::loadu(log_p_.data() + i));  // none stays none
    }
    double parts[DoubleLane::size()];
    most.store(parts);
    double all = parts[0];
    for (double part : parts) all = part > all || std::isnan(part) ? part : all;
    return all;
  }

  static double sum_of(DoubleLane lane) {
    double parts[DoubleLane::size()];
    lane.store(parts);
    return std::accumulate(parts, parts + DoubleLane::size(), 0.0);
  }

  struct Scale {
    double most, total;
  };

  // p = exp(log p - the greatest). Returns the greatest, and the sum of p.
  Scale exponentiate() {
    const double most = greatest();
    DoubleLane total(0.0);
    for (size_t i = 0; i < p_.size(); i += DoubleLane::size()) {
      const DoubleLane p = (DoubleLane::loadu(log_p_.data() + i) - DoubleLane(most)).exp();
      p.store(p_.data() + i);
      total = total + p;
    }
    return {most, sum_of(total)};
  }

  int64_t count_from(double least) const {
    DoubleLane count(0.0);
    for (size_t i = 0; i < log_p_.size(); i += DoubleLane::size()) {
      const DoubleLane is_counted = DoubleLane::loadu(log_p_.data() + i) >= DoubleLane(least);
      count = count + DoubleLane::blendv(DoubleLane(0.0), DoubleLane(1.0), is_counted);
    }
    return sum_of(count);
  }

  void keep_top(int64_t k) {  // (sampling.5)
    double high = greatest(), low = high - 64;
    for (int halving = 0; halving < 40; halving++) {  // where no two tie, a number between is found
      const double middle = 0.5 * (low + high);
      const int64_t count = count_from(middle);
      if (count == k) {
        keep_from(middle);
        return;
      }
      (count > k ? low : high) = middle;
    }
    rank(k);
    p_ = log_p_;
    std::fill(log_p_.begin(), log_p_.end(), NEVER);
    for (int64_t r = 0; r < k; r++) log_p_[ids_[r]] = p_[ids_[r]];
  }

  void keep_mass(double mass) {  // (sampling.6)
    rank(V_);
    exponentiate();
    const double whole = std::accumulate(p_.begin(), p_.begin() + V_, 0.0);
    double before = 0;
    for (const int64_t i : ids_) {
      if (before >= mass * whole) log_p_[i] = NEVER;
      before += p_[i];
    }
  }

  int64_t V_;
  std::vector<double> log_p_, p_;
  std::vector<int64_t> ids_;
};

// (sampling.9): the first word of the block of Philox4x64-10 at counter (t, n, 0, 0), key (seed, 0).
inline double uniform(uint64_t seed, uint64_t n, uint64_t t) {
  uint64_t c[4] = {t, n, 0, 0}, key[2] = {seed, 0};
  for (int round = 0; round < 10; round++) {
    const auto left = static_cast<unsigned __int128>(0xD2E7470EE14C6C93) * c[0];
    const auto right = static_cast<unsigned __int128>(0xCA5A826395121157) * c[2];
    const uint64_t next[4] = {uint64_t(right >> 64) ^ c[1] ^ key[0], uint64_t(right),
                              uint64_t(left >> 64) ^ c[3] ^ key[1], uint64_t(left)};
    std::copy_n(next, 4, c);
    key[0] += 0x9E3779B97F4A7C15;
    key[1] += 0xBB67AE8584CAA73B;
  }
  return (c[0] >> 11) * 0x1p-53;
}

}  // namespace carousel
