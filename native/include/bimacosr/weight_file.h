// A file of numbers, read in pieces when they are needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace bimacosr {

// It stays the file that it was, though another one may get its name. Safe from several threads,
// and in a child of fork().
class WeightFile {
 public:
  // `path` in UTF-8. Throws std::runtime_error if it cannot be opened.
  explicit WeightFile(const std::string& path);
  ~WeightFile();
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  // `bytes` from byte `offset` on. Throws std::runtime_error if they cannot be read.
  void read(uint64_t offset, void* to, size_t bytes) const;

 private:
  std::string path_;
  int file_;
};

}  // namespace bimacosr
