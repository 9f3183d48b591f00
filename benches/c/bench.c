/* Bench: what a C program pays for a read and a write, beside what it would pay without a store.
 *
 * Prints one JSON object a line: {"id","name","value","unit","baseline","ratio"}. Every result is checked. */
#define _POSIX_C_SOURCE 200809L
#include "concord.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 100000, VALUE = 100, ROUNDS = 7, READS = 200000, SLOTS = 1 << 18, KEY_MAX = 24 };

#define CHECK(condition)                                                                                  \
  do {                                                                                                    \
    if (!(condition)) {                                                                                   \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, concord_last_error());          \
      exit(1);                                                                                            \
    }                                                                                                     \
  } while (0)

/* The baseline: an open-addressing hash table, the least that any program would do instead. */
typedef struct {
  char key[KEY_MAX];
  size_t key_len;
  uint8_t value[VALUE];
} slot;

static slot *table;

static uint64_t hash_of(const char *key, size_t len) {
  uint64_t hash = 1469598103934665603u;
  for (size_t at = 0; at < len; at++) hash = (hash ^ (uint8_t)key[at]) * 1099511628211u;
  return hash ^ hash >> 32;
}

static slot *find(const char *key, size_t len) {
  size_t at = hash_of(key, len) & (SLOTS - 1);
  while (table[at].key_len != 0 && (table[at].key_len != len || memcmp(table[at].key, key, len) != 0)) {
    at = (at + 1) & (SLOTS - 1);
  }
  return &table[at];
}

static char keys[KEYS][KEY_MAX];
static size_t key_lens[KEYS];
static uint8_t values[KEYS][VALUE];
static uint32_t order[READS];

static concord_bytes key_at(uint32_t at) {
  concord_bytes key = {(const uint8_t *)keys[at], key_lens[at]};
  return key;
}

/* The last byte of every value tells its key, so that checking a result touches no other memory. */
static uint8_t mark_of(uint32_t at) { return (uint8_t)(at * 2654435761u >> 24); }

static double now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

/* One round of every way to read, READS calls each; the results land in `ns` and are ns a call. */
static double read_table(void) {
  uint8_t copy[VALUE];
  double begin = now_ns();
  for (uint32_t at = 0; at < READS; at++) {
    uint32_t which = order[at];
    slot *found = find(keys[which], key_lens[which]);
    CHECK(found->key_len != 0);
    memcpy(copy, found->value, VALUE);
    CHECK(copy[VALUE - 1] == mark_of(which));
  }
  return (now_ns() - begin) / READS;
}

static double read_get(const concord_db *db) {
  double begin = now_ns();
  for (uint32_t at = 0; at < READS; at++) {
    concord_buffer value;
    CHECK(concord_get(db, key_at(order[at]), NULL, &value) == CONCORD_OK);
    CHECK(value.len == VALUE && value.data[VALUE - 1] == mark_of(order[at]));
    concord_buffer_free(&value);
  }
  return (now_ns() - begin) / READS;
}

static double read_get_into(const concord_db *db) {
  uint8_t copy[VALUE];
  double begin = now_ns();
  for (uint32_t at = 0; at < READS; at++) {
    size_t len;
    CHECK(concord_get_into(db, key_at(order[at]), NULL, copy, sizeof copy, &len) == CONCORD_OK);
    CHECK(len == VALUE && copy[VALUE - 1] == mark_of(order[at]));
  }
  return (now_ns() - begin) / READS;
}

static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  (void)index, (void)revision, (void)ttl_ms;
  *(uint8_t *)context = value.data[value.len - 1];
}

static double read_in_place(const concord_db *db) {
  uint8_t last;
  double begin = now_ns();
  for (uint32_t at = 0; at < READS; at++) {
    CHECK(concord_read(db, key_at(order[at]), NULL, look, &last) == CONCORD_OK);
    CHECK(last == mark_of(order[at]));
  }
  return (now_ns() - begin) / READS;
}

static void print(const char *id, const char *name, double value, double baseline) {
  printf("{\"id\":\"%s\",\"name\":\"%s\",\"value\":%.1f,\"unit\":\"ns\",\"baseline\":%.1f,\"ratio\":%.2f}\n", id, name,
         value, baseline, value / baseline);
}

static void fill(concord_db *db) {
  uint32_t random = 12345;
  for (uint32_t at = 0; at < KEYS; at++) {
    key_lens[at] = (size_t)snprintf(keys[at], KEY_MAX, "key:%08u", at);
    values[at][0] = 0x58; /* a byte string of VALUE - 2 bytes: VALUE bytes in all */
    values[at][1] = VALUE - 2;
    for (size_t byte = 2; byte < VALUE; byte++) {
      random = random * 1664525u + 1013904223u;
      values[at][byte] = (uint8_t)(random >> 24);
    }
    values[at][VALUE - 1] = mark_of(at);
    slot *into = find(keys[at], key_lens[at]);
    memcpy(into->key, keys[at], KEY_MAX);
    memcpy(into->value, values[at], VALUE);
    into->key_len = key_lens[at];
  }
  for (uint32_t begin = 0; begin < KEYS; begin += 500) {
    concord_put_item items[500];
    for (uint32_t at = 0; at < 500; at++) {
      items[at].key = key_at(begin + at);
      items[at].value.data = values[begin + at];
      items[at].value.len = VALUE;
      items[at].ttl_ms = 0;
    }
    CHECK(concord_put_many(db, items, 500, NULL) == CONCORD_OK);
  }
}

/* Which keys the rounds read: any of the first `among`, in no order that a machine could foresee. */
static void choose(uint32_t among) {
  uint32_t random = 54321;
  for (uint32_t at = 0; at < READS; at++) {
    random = random * 1664525u + 1013904223u;
    order[at] = (uint32_t)(((uint64_t)random * among) >> 32);
  }
}

static double put_ns(concord_db *db) {
  enum { PUTS = 20000 };
  double begin = now_ns();
  for (uint32_t at = 0; at < PUTS; at++) {
    concord_bytes value = {values[at], VALUE};
    CHECK(concord_put(db, key_at(at), value, NULL) == CONCORD_OK);
  }
  return (now_ns() - begin) / PUTS;
}

typedef struct {
  double table, get, into, place;
} figures;

/* Medians of several rounds, each way of reading in turn. */
static figures measure(const concord_db *db) {
  double ways[4][ROUNDS];
  for (int round = 0; round < ROUNDS; round++) {
    ways[0][round] = read_table();
    ways[1][round] = read_get(db);
    ways[2][round] = read_get_into(db);
    ways[3][round] = read_in_place(db);
  }
  for (size_t way = 0; way < 4; way++) qsort(ways[way], ROUNDS, sizeof(double), by_value);
  figures medians = {ways[0][ROUNDS / 2], ways[1][ROUNDS / 2], ways[2][ROUNDS / 2], ways[3][ROUNDS / 2]};
  return medians;
}

int main(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db;
  table = calloc(SLOTS, sizeof *table);
  CHECK(table != NULL);
  options.durability = CONCORD_DURABILITY_MEMORY;
  CHECK(concord_open(NULL, &options, &db) == CONCORD_OK);
  fill(db);
  choose(KEYS);
  figures all = measure(db);
  print("P7c_100k", "C get of 100 B, any of 100,000 keys (outside the caches)", all.get, all.table);
  print("P7c_100k_into", "C get_into of 100 B, any of 100,000 keys", all.into, all.table);
  print("P7c_100k_read", "C read in place of 100 B, any of 100,000 keys", all.place, all.table);
  choose(1000);
  figures hot = measure(db);
  print("P7c", "C get of 100 B, any of 1,000 keys", hot.get, hot.table);
  print("P7c_read", "C read in place of 100 B, any of 1,000 keys", hot.place, hot.table);
  print("P7c_put", "C put of 100 B, in memory, one thread", put_ns(db), all.table);
  CHECK(concord_close(db) == CONCORD_OK);
  free(table);
  return 0;
}
