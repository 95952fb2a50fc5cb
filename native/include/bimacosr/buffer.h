// Memory aligned to a cache line, that grows and is zero where nothing was written.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace bimacosr {

template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) { reserve(count); }

  // Room for `count` values. What was there is lost when it grows.
  void reserve(size_t count) {
    if (count <= size_) return;
    const size_t bytes = (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset();
    size_ = 0;
    data_.reset(static_cast<T*>(::operator new(bytes, std::align_val_t(kAlignment))));
    std::memset(static_cast<void*>(data_.get()), 0, bytes);
    size_ = count;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  static constexpr size_t kAlignment = 64;
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace bimacosr
