// Memory that is all zero at first. Where it is large it comes straight from the system: it is
// there only once it is written, and given back at once or piece by piece. The common allocator
// would keep what is freed.
#pragma once

#include <cstddef>

namespace bimacosr {

class Pages {
 public:
  Pages() = default;
  // Throws std::bad_alloc if there is no such room.
  explicit Pages(size_t bytes);
  ~Pages();
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;

  void* data() const { return data_; }
  size_t size() const { return size_; }

  // What lies before `end` is not needed any more, and is lost. Systems other than Linux keep its
  // room until the end.
  void release_before(size_t end);

 private:
  void* data_ = nullptr;
  size_t size_ = 0, released_ = 0;
};

}  // namespace bimacosr
