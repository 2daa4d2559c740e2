// Buffers that return to a pool when their last tensor is freed: asking the system for fresh pages at
// every step would cost up to a fifth of it. A tensor owns its buffer as any other does, so graphs
// that are kept, run twice, or interleaved hold theirs.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace carousel {

using at::Tensor;

// How much the pool keeps. A loop that repeats a step needs at its fullest what the last step held at
// its fullest, and between two steps all of that is idle: so live and idle bytes together may be what
// was live at the peak, and a quarter more, because a block serves requests that are up to a quarter
// smaller. Such a loop finds every block in the pool. With sequences of varying length the pool
// never holds more than the longest needed, and not a set of blocks for each length. A peak counts
// until sixteen times as much has been requested after it, once or twice over; what one long sequence
// needed is then freed, the blocks that were unused for longest first. FLOOR is too little to matter.
// Idle bytes are limited, too: by default to an eighth of the machine's memory; kernels/fused.py sets
// an eighth of what the process may use, which in a container is less.
class Pool final : public c10::Allocator {
 public:
  struct Usage {
    size_t live, idle, allocations;  // bytes, bytes, and how often the system was asked for a block
  };

  static Pool& shared() {
    static Pool* pool = new Pool;  // never destroyed: tensors may outlive every static object
    return *pool;
  }

  c10::DataPtr allocate(size_t bytes) override {
    const size_t size = (bytes + GRAIN - 1) / GRAIN * GRAIN;
    void* block = size == 0 ? nullptr : acquire(size);
    return {block, block, &Pool::release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Pool::release; }

  void copy_data(void* to, const void* from, std::size_t count) const override {
    default_copy_data(to, from, count);
  }

  Usage usage() {
    const std::lock_guard lock(mutex_);
    return {live_bytes_, idle_bytes_, allocations_};
  }

  void limit_idle(size_t bytes) {
    Blocks surplus;
    {
      const std::lock_guard lock(mutex_);
      idle_limit_ = bytes;
      surplus = remove_surplus();
    }
    free_all(surplus);
  }

 private:
  static constexpr size_t GRAIN = 4096, HEADER = 64;  // before a block stands its size
  static constexpr size_t FLOOR = size_t(16) << 20, PEAKS = 16;
  static constexpr int64_t NEWEST = std::numeric_limits<int64_t>::min();

  using Blocks = std::vector<void*>;

  // A child of fork has the mutex as it was: it must not be locked by a thread that the child lacks.
  Pool() {
    pthread_atfork([] { shared().mutex_.lock(); }, [] { shared().mutex_.unlock(); },
                   [] { shared().mutex_.unlock(); });
  }

  static void* with_header(void* block) { return static_cast<char*>(block) - HEADER; }
  static size_t& size_of(void* block) { return *static_cast<size_t*>(with_header(block)); }

  void* acquire(size_t size) {
    void* block = nullptr;
    Blocks surplus;
    {
      const std::lock_guard lock(mutex_);
      const auto fit = idle_.lower_bound({size, NEWEST});
      if (fit != idle_.end() && fit->first.first <= size + size / 4) {
        block = remove(fit);
        size = size_of(block);
      }
      live_bytes_ += size;
      note_peak(size);
      if (!block) {
        allocations_++;
        surplus = remove_surplus();
      }
    }
    free_all(surplus);  // before more is allocated
    return block ? block : allocate_block(size);
  }

  void* allocate_block(size_t size) {
    void* memory = std::aligned_alloc(HEADER, size + HEADER);
    if (!memory) {
      {
        const std::lock_guard lock(mutex_);
        live_bytes_ -= size;
      }
      TORCH_CHECK(false, "not enough memory: you tried to allocate ", size, " bytes");
    }
    void* block = static_cast<char*>(memory) + HEADER;
    size_of(block) = size;
    return block;
  }

  static void release(void* block) {
    if (!block) return;
    Pool& pool = shared();
    Blocks surplus;
    {
      const std::lock_guard lock(pool.mutex_);
      const size_t size = size_of(block);
      const int64_t turn = ++pool.turn_;
      pool.idle_.emplace(Key{size, -turn}, block);
      pool.by_age_.emplace(turn, size);
      pool.live_bytes_ -= size;
      pool.idle_bytes_ += size;
      surplus = pool.remove_surplus();
    }
    free_all(surplus);
  }

  static void free_all(const Blocks& blocks) {
    for (void* block : blocks) std::free(with_header(block));
  }

  using Key = std::pair<size_t, int64_t>;  // of an idle block: its size, and minus its turn

  void* remove(std::map<Key, void*>::iterator entry) {
    void* block = entry->second;
    by_age_.erase(-entry->first.second);
    idle_bytes_ -= entry->first.first;
    idle_.erase(entry);
    return block;
  }

  void note_peak(size_t requested) {
    peak_ = std::max(peak_, live_bytes_);
    requested_ += requested;
    if (requested_ > PEAKS * recent_peak()) {
      previous_peak_ = std::exchange(peak_, live_bytes_);
      requested_ = 0;
    }
  }

  size_t recent_peak() const { return std::max(peak_, previous_peak_); }

  Blocks remove_surplus() {
    const size_t most = std::max(FLOOR, recent_peak() + recent_peak() / 4);
    Blocks surplus;
    while (!idle_.empty() && (idle_bytes_ > idle_limit_ || live_bytes_ + idle_bytes_ > most)) {
      const auto oldest = by_age_.begin();
      surplus.push_back(remove(idle_.find({oldest->second, -oldest->first})));
    }
    return surplus;
  }

  std::mutex mutex_;
  std::map<Key, void*> idle_;  // of one size, the newest first: it may still be in cache
  std::map<int64_t, size_t> by_age_;  // their sizes, the oldest first
  size_t live_bytes_ = 0, idle_bytes_ = 0, allocations_ = 0;
  size_t idle_limit_ = size_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 8;
  size_t peak_ = 0, previous_peak_ = 0;  // of live bytes: since the last period began, and in it
  size_t requested_ = 0;                 // bytes, in this period
  int64_t turn_ = 0;
};

// Whether a new tensor's numbers are none at all, so that a test sees whoever reads what nobody wrote.
inline std::atomic<bool>& is_poisoned() {
  static std::atomic<bool> it_is = std::getenv("CAROUSEL_KERNELS_POISON") != nullptr;
  return it_is;
}

// A new tensor, its numbers whatever stood there.
inline Tensor unwritten(at::IntArrayRef sizes, at::ScalarType type) {
  const c10::DispatchKeySet keys(c10::DispatchKey::CPU);
  Tensor tensor = at::detail::empty_generic(sizes, &Pool::shared(), keys, type, std::nullopt);
  if (is_poisoned()) tensor.fill_(std::numeric_limits<double>::quiet_NaN());
  return tensor;
}

template <class P>
Tensor unwritten(at::IntArrayRef sizes) {
  return unwritten(sizes, c10::CppTypeToScalarType<P>::value);
}

}  // namespace carousel
