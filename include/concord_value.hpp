// concord_value.hpp: what concord.hpp is made of: errors, lifetimes, and values. Include concord.hpp.
#ifndef CONCORD_VALUE_HPP
#define CONCORD_VALUE_HPP

#include "concord.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace concord {

// What went wrong: a status to decide by, words to read.
class Error : public std::runtime_error {
 public:
  Error(concord_status status, const std::string &message, std::size_t column = 0)
      : std::runtime_error(std::string(concord_error_name(status)) + ": " + message), status_(status), column_(column) {}

  concord_status status() const noexcept { return status_; }

  // Where the fault of an expression or a pattern is: which character, the first is 1; 0 when there is no place.
  std::size_t column() const noexcept { return column_; }

  // Whether the same call may succeed later without any change by the caller.
  bool is_retryable() const noexcept { return concord_error_is_retryable(status_); }

 private:
  concord_status status_;
  std::size_t column_;
};

// A lifetime; none means for ever.
using Ttl = std::optional<std::chrono::milliseconds>;

namespace detail {

inline void check(concord_status status) {
  if (status != CONCORD_OK) throw Error(status, concord_last_error(), concord_last_error_column());
}

// True when it is there, false when it is missing, otherwise an exception.
inline bool found(concord_status status) {
  if (status == CONCORD_NOT_FOUND) return false;
  check(status);
  return true;
}

inline concord_bytes bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t *>(text.data()), text.size()};
}

inline std::string_view view(concord_bytes bytes) noexcept {
  return {reinterpret_cast<const char *>(bytes.data), bytes.len};
}

// A TTL of zero or less is an error here, not "for ever".
inline std::uint64_t milliseconds(Ttl ttl) {
  if (!ttl) return 0;
  if (ttl->count() <= 0) throw Error(CONCORD_INVALID_TTL, "a TTL is a positive duration");
  return static_cast<std::uint64_t>(ttl->count());
}

// Less than zero is the shortest wait, not the default that 0 stands for.
inline std::uint64_t waiting(std::chrono::milliseconds timeout) noexcept {
  return timeout.count() < 0 ? 1 : static_cast<std::uint64_t>(timeout.count());
}

inline Ttl ttl_of(std::uint64_t ttl_ms) {
  return ttl_ms == 0 ? Ttl() : Ttl(std::chrono::milliseconds(ttl_ms));
}

}  // namespace detail

// One encoded value, owned.
class Value {
 public:
  // Takes over what the library allocated.
  explicit Value(concord_buffer buffer) noexcept : buffer_(buffer) {}

  // A copy of bytes that are one encoded value already.
  static Value from_encoded(std::string_view encoded) {
    detail::check(concord_value_check(detail::bytes(encoded)));
    Value value{concord_buffer{nullptr, 0}};
    value.copy_.assign(encoded);
    return value;
  }

  Value(Value &&other) noexcept
      : buffer_(std::exchange(other.buffer_, concord_buffer{nullptr, 0})), copy_(std::move(other.copy_)) {}
  Value &operator=(Value &&other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(copy_, other.copy_);
    return *this;
  }
  Value(const Value &) = delete;
  Value &operator=(const Value &) = delete;
  ~Value() { concord_buffer_free(&buffer_); }

  // The encoded bytes, valid as long as this value.
  std::string_view encoded() const noexcept {
    if (buffer_.data == nullptr) return copy_;
    return {reinterpret_cast<const char *>(buffer_.data), buffer_.len};
  }

  concord_type type() const { return take<concord_type>(concord_value_type); }
  bool is_null() const { return type() == CONCORD_TYPE_NULL; }

  // Each throws CONCORD_INVALID_VALUE when the value is of another type.
  bool as_bool() const { return take<bool>(concord_value_as_bool); }
  std::int64_t as_int() const { return take<std::int64_t>(concord_value_as_int); }
  double as_double() const { return take<double>(concord_value_as_double); }
  std::string as_text() const { return std::string(detail::view(take<concord_bytes>(concord_value_as_text))); }
  std::string as_bytes() const { return std::string(detail::view(take<concord_bytes>(concord_value_as_bytes))); }

  std::string to_json() const {
    concord_buffer json;
    detail::check(concord_value_to_json(detail::bytes(encoded()), &json));
    Value owner(json);
    return std::string(owner.encoded());
  }

 private:
  template <typename T>
  T take(concord_status (*function)(concord_bytes, T *)) const {
    T result{};
    detail::check(function(detail::bytes(encoded()), &result));
    return result;
  }

  concord_buffer buffer_;
  std::string copy_;
};

namespace detail {

template <typename Make>
Value made(Make make) {
  concord_buffer buffer;
  check(make(&buffer));
  return Value(buffer);
}

}  // namespace detail

// Making values.
inline Value null() { return detail::made(concord_value_from_null); }
inline Value boolean(bool value) {
  return detail::made([&](concord_buffer *out) { return concord_value_from_bool(value, out); });
}
inline Value integer(std::int64_t value) {
  return detail::made([&](concord_buffer *out) { return concord_value_from_int(value, out); });
}
inline Value real(double value) {
  return detail::made([&](concord_buffer *out) { return concord_value_from_double(value, out); });
}
inline Value text(std::string_view value) {
  return detail::made([&](concord_buffer *out) { return concord_value_from_text(detail::bytes(value), out); });
}
inline Value bytes(std::string_view value) {
  return detail::made([&](concord_buffer *out) { return concord_value_from_bytes(detail::bytes(value), out); });
}
inline Value json(std::string_view value) {
  return detail::made([&](concord_buffer *out) { return concord_value_from_json(detail::bytes(value), out); });
}

}  // namespace concord

#endif  // CONCORD_VALUE_HPP
