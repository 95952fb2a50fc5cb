#include "bimacosr/weight_file.h"

#include <algorithm>
#include <stdexcept>

#include <fcntl.h>
#ifdef _WIN32
#include <io.h>

#include <filesystem>
#include <mutex>
#else
#include <cerrno>

#include <unistd.h>
#endif

namespace bimacosr {

namespace {

constexpr size_t kMostAtOnce = size_t{1} << 30;  // systems take no more than about twice this

#ifdef _WIN32

int open_file(const std::string& path) {
  const std::u8string text(path.begin(), path.end());
  return _wopen(std::filesystem::path(text).c_str(), _O_RDONLY | _O_BINARY);
}

void close_file(int file) { _close(file); }

// Bytes read, 0 at the end of the file, below 0 if it fails.
long long read_some(int file, uint64_t offset, void* to, size_t bytes) {
  static std::mutex one_at_a_time;  // the place in a file is shared
  const std::lock_guard lock(one_at_a_time);
  if (_lseeki64(file, static_cast<long long>(offset), SEEK_SET) < 0) return -1;
  return _read(file, to, static_cast<unsigned>(bytes));
}

#else

int open_file(const std::string& path) { return open(path.c_str(), O_RDONLY | O_CLOEXEC); }

void close_file(int file) { close(file); }

long long read_some(int file, uint64_t offset, void* to, size_t bytes) {
  ssize_t count;
  do count = pread(file, to, bytes, static_cast<off_t>(offset));
  while (count < 0 && errno == EINTR);
  return count;
}

#endif

}  // namespace

WeightFile::WeightFile(const std::string& path) : path_(path), file_(open_file(path)) {
  if (file_ < 0) throw std::runtime_error(path + " cannot be opened");
}

WeightFile::~WeightFile() { close_file(file_); }

void WeightFile::read(uint64_t offset, void* to, size_t bytes) const {
  for (char* at = static_cast<char*>(to); bytes > 0;) {
    const long long count = read_some(file_, offset, at, std::min(bytes, kMostAtOnce));
    if (count <= 0) throw std::runtime_error(path_ + " cannot be read to its end");
    at += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<size_t>(count);
  }
}

}  // namespace bimacosr
