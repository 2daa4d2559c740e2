// Buffers that return to a pool when their last tensor is freed: asking the system for fresh pages at
// every step would cost up to a fifth of it. A tensor owns its buffer as any other does, so graphs
// that are kept, run twice, or interleaved hold theirs.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>

namespace carousel {

using at::Tensor;

class Pool final : public c10::Allocator {
 public:
  static Pool& shared() {
    static Pool* pool = new Pool;  // never destroyed: tensors may outlive every static object
    return *pool;
  }

  c10::DataPtr allocate(size_t bytes) override {
    const size_t size = (bytes + GRAIN - 1) / GRAIN * GRAIN;
    void* block = size == 0 ? nullptr : taken(size);
    return {block, block, &Pool::give_back, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Pool::give_back; }

  void copy_data(void* to, const void* from, std::size_t count) const override {
    default_copy_data(to, from, count);
  }

 private:
  static constexpr size_t GRAIN = 4096, HEADER = 64;  // before a block stands its size

  static void* whole(void* block) { return static_cast<char*>(block) - HEADER; }

  void* taken(size_t size) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = idle_.lower_bound(size);
      if (found != idle_.end() && found->first <= size + size / 4) {
        void* block = found->second;
        idle_bytes_ -= found->first;
        idle_.erase(found);
        return block;
      }
    }
    void* memory = std::aligned_alloc(HEADER, size + HEADER);
    TORCH_CHECK(memory, "not enough memory: you tried to allocate ", size, " bytes");
    *static_cast<size_t*>(memory) = size;
    return static_cast<char*>(memory) + HEADER;
  }

  static void give_back(void* block) {
    if (!block) return;
    const size_t size = *static_cast<size_t*>(whole(block));
    Pool& pool = shared();
    const std::lock_guard lock(pool.mutex_);
    static const size_t most = size_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 8;
    if (pool.idle_bytes_ + size > most) {  // no more than that lies idle
      std::free(whole(block));
      return;
    }
    pool.idle_.emplace(size, block);
    pool.idle_bytes_ += size;
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> idle_;
  size_t idle_bytes_ = 0;
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
