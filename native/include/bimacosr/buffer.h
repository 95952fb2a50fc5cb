// Memory aligned to a cache line, that grows and is zero where nothing was written.
#pragma once

#include <cstddef>

#include "bimacosr/pages.h"

namespace bimacosr {

template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) { reserve(count); }

  // Room for `count` values. What was there is lost when it grows.
  void reserve(size_t count) {
    if (count <= size()) return;
    pages_ = {};
    pages_ = Pages(count * sizeof(T));
  }

  T* data() { return static_cast<T*>(pages_.data()); }
  const T* data() const { return static_cast<const T*>(pages_.data()); }
  size_t size() const { return pages_.size() / sizeof(T); }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }

 private:
  Pages pages_;
};

}  // namespace bimacosr
