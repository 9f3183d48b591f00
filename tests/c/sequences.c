/* Sequences: random calls in random order on handles that other threads open and close meanwhile.
 *
 * usage: sequences [SEED]. The seed is printed, so that a bad run can be had again (as far as threads allow). */
#include "check.h"

#include <pthread.h>
#include <time.h>

enum { THREADS = 4, PLACES = 6 };

static uint64_t seed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static concord_db *dbs[PLACES];
static concord_scan *scans[PLACES];
static concord_queue *queues[PLACES];

/* Handles are taken from and put into the common tables; closed ones stay there, as a careless program's would. */
#define TAKE(table, place) (pthread_mutex_lock(&lock), taken = (void *)(table)[place], pthread_mutex_unlock(&lock), taken)

static uint64_t step(uint64_t *random) {
  *random ^= *random << 13, *random ^= *random >> 7, *random ^= *random << 17;
  return *random;
}

static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  (void)revision, (void)ttl_ms;
  *(size_t *)context += index + value.data[0] + value.data[value.len - 1];
}

/* One random call; answers its status. Arguments are good, bad or of another kind. */
static concord_status any_call(uint64_t *random) {
  uint64_t dice = step(random);
  size_t place = dice % PLACES, len = dice >> 8 & 1023, found = 0;
  char name[8];
  uint8_t junk[16];
  void *taken;
  concord_db *db = TAKE(dbs, place);
  concord_scan *scan = TAKE(scans, place);
  concord_queue *queue = TAKE(queues, place);
  concord_write_options writing = CONCORD_WRITE_OPTIONS_INIT;
  concord_read_options reading = CONCORD_READ_OPTIONS_INIT;
  concord_scan_options scanning = CONCORD_SCAN_OPTIONS_INIT;
  concord_open_options opening = CONCORD_OPEN_OPTIONS_INIT;
  concord_buffer buffer = {NULL, 0};
  concord_record records[2];
  concord_item item;
  concord_completion done;
  concord_status status;
  uint64_t ttl_ms;
  int64_t number;
  for (size_t at = 0; at < sizeof junk; at++) junk[at] = (uint8_t)step(random);
  snprintf(name, sizeof name, "k%u", (unsigned)(dice >> 20) % 20);
  concord_bytes one_key = key(name), value = one();
  if (dice >> 40 == 0 || (dice >> 30 & 15) == 0) value.data = junk, value.len = len % 17;
  if ((dice >> 34 & 15) == 0) one_key.data = junk, one_key.len = len % 17;
  if ((dice >> 38 & 7) == 0) writing.ttl_ms = 1 + len;
  if ((dice >> 41 & 7) == 0) writing.condition = (int32_t)(len % 6), writing.revision = len % 3;
  if ((dice >> 44 & 31) == 0) db = (concord_db *)queue;
  reading.consistency = (int32_t)(dice >> 49 & 7) % 5;
  concord_put_item item_put = {one_key, value, writing.ttl_ms};
  concord_touch_item item_touch = {one_key, len};
  concord_bytes two_keys[2] = {one_key, key("k1")};
  switch (step(random) % 31) {
    case 0: return concord_put(db, one_key, value, &writing);
    case 1: return concord_put_new(db, one_key, value, &writing);
    case 2: return concord_put_if(db, one_key, value, &writing);
    case 3: return concord_delete(db, one_key, &writing);
    case 4: return concord_delete_if(db, one_key, &writing);
    case 5: return concord_increment(db, one_key, (int64_t)dice, 0, &writing, &number);
    case 6: return concord_touch(db, one_key, len, NULL);
    case 7: return concord_ttl(db, one_key, &reading, &ttl_ms);
    case 8: return concord_put_many(db, &item_put, 1, &writing);
    case 9: return concord_delete_many(db, two_keys, 2, NULL);
    case 10: return concord_touch_many(db, &item_touch, 1, NULL, NULL);
    case 11: return concord_read(db, one_key, &reading, look, &found);
    case 12: return concord_read_many(db, two_keys, 2, &reading, look, &found);
    case 13: return concord_get_into(db, one_key, &reading, junk, sizeof junk, &found);
    case 14: return concord_put_async(queue, one_key, value, &writing, dice);
    case 15: return concord_increment_async(queue, one_key, 1, 0, NULL, dice);
    case 16: return concord_get_async(queue, one_key, &reading, dice);
    case 17: return (void)concord_queue_fd(queue), CONCORD_OK;
    case 18:
      status = concord_get(db, one_key, &reading, &buffer);
      concord_buffer_free(&buffer);
      return status;
    case 19:
      status = concord_get_many(db, two_keys, 2, &reading, records);
      if (status == CONCORD_OK) concord_records_free(records, 2);
      return status;
    case 20:
      status = concord_queue_next(queue, (int64_t)(len % 3), &done);
      concord_completion_free(&done);
      return status;
    case 21:
      status = concord_status_json(db, &buffer);
      concord_buffer_free(&buffer);
      return status;
    case 22: {
      /* A scan is for one thread at a time: this one opens it, walks it and closes it, perhaps twice. */
      concord_scan *mine;
      scanning.prefix = key("k");
      status = concord_scan_open(db, &scanning, &mine);
      for (size_t at = 0; status == CONCORD_OK && at <= len % 30; at++) {
        status = concord_scan_next(mine, &item);
        if (status == CONCORD_OK) found += item.key.data[0];
      }
      pthread_mutex_lock(&lock);
      scans[place] = mine;
      pthread_mutex_unlock(&lock);
      concord_scan_close(mine);
      return status;
    }
    case 23: return len % 4 != 0 ? CONCORD_OK : concord_scan_close(scan);
    case 24:
      if (len % 4 != 0) return CONCORD_OK;
      if (len % 8 == 0) return concord_queue_close(queue);
      status = concord_queue_open(db, &queue);
      if (status != CONCORD_OK) return status;
      pthread_mutex_lock(&lock);
      concord_queue *before = queues[place];
      queues[place] = queue;
      pthread_mutex_unlock(&lock);
      concord_queue_close(before);
      return CONCORD_OK;
    case 25: return concord_count(db, NULL, &reading, &ttl_ms);
    case 26: {
      concord_selector selector = CONCORD_SELECTOR_INIT;
      selector.prefix = key("k"), selector.limit = len % 3;
      return len % 2 ? concord_delete_where(db, &selector, &writing, &ttl_ms)
                     : concord_delete_where_async(queue, &selector, &writing, dice);
    }
    case 27: {
      concord_scan *mine;
      if (len % 2) return concord_count_async(queue, NULL, &reading, dice);
      status = concord_scan_open_async(queue, &scanning, dice, &mine);
      if (status == CONCORD_OK && len % 4) concord_scan_more_async(queue, mine, dice);
      if (status == CONCORD_OK) concord_scan_close(mine);
      return status;
    }
    case 28: return concord_wait_ready(db, 1 + len % 3);
    case 29: return concord_cluster_transfer_leadership(db, len % 2, 1 + concord_reads_at_once(db, reading.consistency));
    default:
      if (len % 16 == 0) return concord_close(db);
      if (len % 16 != 1) return CONCORD_OK;
      opening.durability = CONCORD_DURABILITY_MEMORY;
      status = concord_open(NULL, &opening, &db);
      /* What stood there is closed, so that stores do not pile up. */
      pthread_mutex_lock(&lock);
      concord_db *old = dbs[place];
      dbs[place] = db;
      pthread_mutex_unlock(&lock);
      concord_close(old);
      return status;
  }
}

static void *call_at_random(void *context) {
  uint64_t random = seed * 2654435761u + (uint64_t)(uintptr_t)context * 0x9e3779b97f4a7c15u + 1;
  long wrong = 0;
  for (int at = 0; at < rounds(30000, 400); at++) {
    concord_status status = any_call(&random);
    wrong += status == CONCORD_INTERNAL || status < CONCORD_OK || status > CONCORD_COMPACTED;
    if (status == CONCORD_INTERNAL) fprintf(stderr, "internal: %s\n", concord_last_error());
  }
  return (void *)wrong;
}

/* Promise: whatever is called in whatever order, each call ends with a status, and nothing crashes or hangs. */
static void any_sequence_of_calls_ends_well(void) {
  pthread_t threads[THREADS];
  concord_completion done;
  for (size_t place = 0; place < PLACES; place++) {
    dbs[place] = open_memory();
    OK(concord_queue_open(dbs[place], &queues[place]));
  }
  for (uintptr_t at = 0; at < THREADS; at++) {
    CHECK(pthread_create(&threads[at], NULL, call_at_random, (void *)(at + 1)) == 0);
  }
  for (size_t at = 0; at < THREADS; at++) {
    void *wrong;
    CHECK(pthread_join(threads[at], &wrong) == 0 && wrong == NULL);
  }
  for (size_t place = 0; place < PLACES; place++) {
    while (concord_queue_next(queues[place], 0, &done) == CONCORD_OK) concord_completion_free(&done);
    concord_scan_close(scans[place]);
    concord_queue_close(queues[place]);
    concord_close(dbs[place]);
    EXPECT(CONCORD_CLOSED, concord_close(dbs[place]));
  }
}

int main(int count, char **arguments) {
  seed = count > 1 ? strtoull(arguments[1], NULL, 10) : (uint64_t)time(NULL);
  printf("       seed %llu\n", (unsigned long long)seed);
  RUN(any_sequence_of_calls_ends_well);
  return check_report();
}
