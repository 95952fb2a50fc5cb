#include "bimacosr/pages.h"

#include <cstring>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace bimacosr {

namespace {

constexpr std::align_val_t kAlignment{64};
constexpr size_t kHugePage = size_t{2} << 20;

#ifdef __linux__

constexpr size_t kLarge = size_t{1} << 18;

bool is_mapped(size_t bytes) { return bytes >= kLarge; }

void* map(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // Touched for the first time, a small page costs as much as some layers take for its pixels.
  if (bytes >= 4 * kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  return data;
}

void unmap(void* data, size_t bytes) { munmap(data, bytes); }

// What was there is lost.
void drop(char* begin, char* end) { madvise(begin, end - begin, MADV_DONTNEED); }

#else

bool is_mapped(size_t) { return false; }
void* map(size_t) { return nullptr; }
void unmap(void*, size_t) {}
void drop(char*, char*) {}

#endif

void* take(size_t bytes) {
  if (is_mapped(bytes)) return map(bytes);
  void* data = ::operator new(bytes, kAlignment);
  return std::memset(data, 0, bytes);
}

void give_back(void* data, size_t bytes) {
  if (is_mapped(bytes))
    unmap(data, bytes);
  else
    ::operator delete(data, kAlignment);
}

}  // namespace

Pages::Pages(size_t bytes) : data_(bytes ? take(bytes) : nullptr), size_(bytes) {}

Pages::~Pages() {
  if (data_) give_back(data_, size_);
}

Pages::Pages(Pages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      released_(std::exchange(other.released_, 0)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(released_, other.released_);
  return *this;
}

void Pages::release_before(size_t end) {
  if (!is_mapped(size_)) return;
  // Whole huge pages, counted from the address 0 as the system does; it would have to split others.
  const size_t start = reinterpret_cast<size_t>(data_);
  const size_t whole = (start + end) / kHugePage * kHugePage;
  if (whole <= start + released_) return;
  char* data = static_cast<char*>(data_);
  drop(data + released_, data + (whole - start));
  released_ = whole - start;
}

}  // namespace bimacosr
