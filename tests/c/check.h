/* Check: what every C test shares: counting, comparing, opening a store and making values. */
#ifndef CONCORD_TESTS_CHECK_H
#define CONCORD_TESTS_CHECK_H

#include "concord.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_passed, check_failed, check_broken;

/* Judges one thing; a test goes on after a failure. */
#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
      check_broken = 1;                                                                      \
    }                                                                                        \
  } while (0)

/* Judges a status and says what came instead. */
#define EXPECT(wanted, call)                                                                 \
  do {                                                                                       \
    concord_status check_status = (call);                                                    \
    if (check_status != (wanted)) {                                                          \
      fprintf(stderr, "%s:%d: %s answered %s, not %s: %s\n", __FILE__, __LINE__, #call,      \
              concord_error_name(check_status), concord_error_name(wanted), concord_last_error()); \
      check_broken = 1;                                                                      \
    }                                                                                        \
  } while (0)

#define OK(call) EXPECT(CONCORD_OK, call)

/* Runs one test, whose name is its promise. */
#define RUN(test)                                                                            \
  do {                                                                                       \
    check_broken = 0;                                                                        \
    test();                                                                                  \
    check_broken ? check_failed++ : check_passed++;                                          \
    printf("%s %s\n", check_broken ? "FAILED" : "ok    ", #test);                            \
  } while (0)

/* Last line of every test program; run.sh adds them up. */
static inline int check_report(void) {
  printf("== %d passed, %d failed\n", check_passed, check_failed);
  fflush(stdout);
  return check_failed == 0 ? 0 : 1;
}

/* Under valgrind everything is thirty times slower: loops are shortened there. */
static inline int rounds(int usual, int slow) { return getenv("CONCORD_TEST_SLOW") != NULL ? slow : usual; }

static inline concord_db *open_memory(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db = NULL;
  options.durability = CONCORD_DURABILITY_MEMORY;
  OK(concord_open(NULL, &options, &db));
  return db;
}

static inline concord_bytes key(const char *text) { return concord_str(text); }

static inline concord_bytes view(concord_buffer buffer) {
  concord_bytes bytes;
  bytes.data = buffer.data;
  bytes.len = buffer.len;
  return bytes;
}

/* The number 1, encoded; a value for tests that care about other things. */
static inline concord_bytes one(void) {
  static const uint8_t bytes[] = {0x01};
  concord_bytes value = {bytes, 1};
  return value;
}

static inline concord_status put_int(const concord_db *db, const char *name, int64_t number) {
  concord_buffer value;
  OK(concord_value_from_int(number, &value));
  concord_status status = concord_put(db, key(name), view(value), NULL);
  concord_buffer_free(&value);
  return status;
}

/* What an integer key holds; -1 when that cannot be said. */
static inline int64_t get_int(const concord_db *db, const char *name) {
  concord_buffer value;
  int64_t number = -1;
  if (concord_get(db, key(name), NULL, &value) == CONCORD_OK) {
    OK(concord_value_as_int(view(value), &number));
    concord_buffer_free(&value);
  }
  return number;
}

static inline int same(concord_bytes bytes, const void *data, size_t len) {
  return bytes.len == len && (len == 0 || memcmp(bytes.data, data, len) == 0);
}

static inline int same_text(concord_bytes bytes, const char *text) { return same(bytes, text, strlen(text)); }

#endif
