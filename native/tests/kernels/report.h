// Collects what failed; a test that fails goes on, and says what it saw.
#pragma once

#include <string>

namespace bimacosr::tests {

class Report {
 public:
  explicit Report(std::string subject) : subject_(std::move(subject)) {}

  // Prints the first failures of `test` only; all are counted.
  void check(bool holds, const std::string& test, const std::string& what);
  // |value - expected| <= tolerance, which a value that is no number never is
  void check_near(double value, double expected, double tolerance, const std::string& test,
                  const std::string& what);

  int checks() const { return checks_; }
  int failures() const { return failures_; }

 private:
  std::string subject_, last_test_;
  int checks_ = 0, failures_ = 0, shown_ = 0;
};

}  // namespace bimacosr::tests
