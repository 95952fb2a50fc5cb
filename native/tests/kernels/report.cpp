#include "report.h"

#include <cmath>
#include <cstdio>

namespace bimacosr::tests {

constexpr int kShown = 3;  // failures of one test

void Report::check(bool holds, const std::string& test, const std::string& what) {
  checks_++;
  if (holds) return;
  failures_++;
  if (test != last_test_) last_test_ = test, shown_ = 0;
  if (shown_++ < kShown)
    std::printf("FAILED %s, %s: %s\n", subject_.c_str(), test.c_str(), what.c_str());
}

void Report::check_near(double value, double expected, double tolerance, const std::string& test,
                        const std::string& what) {
  if (std::abs(value - expected) <= tolerance) {
    checks_++;
    return;
  }
  char text[128];
  std::snprintf(text, sizeof text, ": %.9g, should be %.9g +- %.1g", value, expected, tolerance);
  check(false, test, what + text);
}

}  // namespace bimacosr::tests
