/* Threads: eight at once on one handle, and closing while others call. */
#include "check.h"

#include <pthread.h>
#include <sched.h>

enum { THREADS = 8 };

typedef struct {
  concord_db *db;
  int number, count, wrong;
} job;

static int at_once(void *(*work)(void *), concord_db *db, int count) {
  pthread_t threads[THREADS];
  job jobs[THREADS];
  int wrong = 0;
  for (int at = 0; at < THREADS; at++) {
    jobs[at] = (job){db, at, count, 0};
    CHECK(pthread_create(&threads[at], NULL, work, &jobs[at]) == 0);
  }
  for (int at = 0; at < THREADS; at++) {
    CHECK(pthread_join(threads[at], NULL) == 0);
    wrong += jobs[at].wrong;
  }
  return wrong;
}

static void *write_and_read(void *context) {
  job *mine = context;
  char name[32];
  for (int at = 0; at < mine->count; at++) {
    snprintf(name, sizeof name, "t%d:%d", mine->number, at % 10);
    concord_buffer value;
    int64_t number = -1;
    mine->wrong += concord_value_from_int(at, &value) != CONCORD_OK;
    mine->wrong += concord_put(mine->db, key(name), view(value), NULL) != CONCORD_OK;
    concord_buffer_free(&value);
    mine->wrong += concord_get(mine->db, key(name), NULL, &value) != CONCORD_OK;
    mine->wrong += concord_value_as_int(view(value), &number) != CONCORD_OK || number != at;
    concord_buffer_free(&value);
    mine->wrong += concord_increment(mine->db, key("shared"), 1, 0, NULL, NULL) != CONCORD_OK;
  }
  return NULL;
}

static void eight_threads_share_a_handle(void) {
  concord_db *db = open_memory();
  int count = rounds(300, 20);
  CHECK(at_once(write_and_read, db, count) == 0);
  CHECK(get_int(db, "shared") == THREADS * count);
  OK(concord_close(db));
}

/* Each thread has a last error of its own. */
static void *fail_my_way(void *context) {
  job *mine = context;
  concord_buffer value;
  for (int at = 0; at < mine->count; at++) {
    if (mine->number % 2 == 0) {
      mine->wrong += concord_get(mine->db, key("nobody"), NULL, &value) != CONCORD_NOT_FOUND;
      mine->wrong += strstr(concord_last_error(), "does not exist") == NULL;
    } else {
      mine->wrong += concord_touch(mine->db, key("a"), 0, NULL) != CONCORD_INVALID_TTL;
      mine->wrong += strstr(concord_last_error(), "TTL") == NULL;
    }
  }
  return NULL;
}

static void the_last_error_is_the_thread_s_own(void) {
  concord_db *db = open_memory();
  CHECK(at_once(fail_my_way, db, rounds(2000, 50)) == 0);
  OK(concord_close(db));
}

static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  (void)index, (void)revision, (void)ttl_ms;
  *(int *)context = value.len == 1 && value.data[0] == 1;
}

/* Everything that a program does with a store, until it is closed under its hands. */
static void *until_closed(void *context) {
  job *mine = context;
  for (int closed = 0; !closed;) {
    concord_buffer value;
    concord_scan *scan;
    concord_item item;
    concord_queue *queue;
    int right = 0;
    concord_status status = CONCORD_OK;
    switch (mine->number % 4) {
      case 0: status = concord_read(mine->db, key("a"), NULL, look, &right);
        mine->wrong += status == CONCORD_OK && !right;
        break;
      case 1: status = concord_get(mine->db, key("a"), NULL, &value);
        concord_buffer_free(&value);
        break;
      case 2: status = concord_put(mine->db, key("a"), one(), NULL);
        break;
      default: status = concord_scan_open(mine->db, NULL, &scan);
        if (status == CONCORD_OK) {
          while ((status = concord_scan_next(scan, &item)) == CONCORD_OK) {
          }
          if (status == CONCORD_NOT_FOUND) status = CONCORD_OK;
          mine->wrong += concord_scan_close(scan) != CONCORD_OK;
        }
        if (status == CONCORD_OK && (status = concord_queue_open(mine->db, &queue)) == CONCORD_OK) {
          concord_put_async(queue, key("a"), one(), NULL, 1);
          mine->wrong += concord_queue_close(queue) != CONCORD_OK;
        }
    }
    closed = status == CONCORD_CLOSED || status == CONCORD_UNKNOWN_OUTCOME;
    if (!closed && status != CONCORD_OK) {
      fprintf(stderr, "%s: %s\n", concord_error_name(status), concord_last_error());
      mine->wrong++;
      closed = 1;
    }
  }
  return NULL;
}

static void *close_soon(void *context) {
  job *mine = context;
  for (int at = 0; at < mine->count; at++) sched_yield();
  concord_status status = concord_close(mine->db);
  mine->wrong = status != CONCORD_OK && status != CONCORD_CLOSED;
  mine->count = status == CONCORD_OK;
  return NULL;
}

/* Promise: of several closers one succeeds, whoever calls meanwhile gets an answer or "closed", nothing crashes. */
static void closing_while_others_call_is_safe(void) {
  for (int round = 0; round < rounds(100, 4); round++) {
    concord_db *db = open_memory();
    pthread_t users[THREADS], closers[2];
    job using[THREADS], closing[2];
    OK(concord_put(db, key("a"), one(), NULL));
    for (int at = 0; at < THREADS; at++) {
      using[at] = (job){db, at, 0, 0};
      CHECK(pthread_create(&users[at], NULL, until_closed, &using[at]) == 0);
    }
    for (int at = 0; at < 2; at++) {
      closing[at] = (job){db, at, round % 20, 0};
      CHECK(pthread_create(&closers[at], NULL, close_soon, &closing[at]) == 0);
    }
    for (int at = 0; at < 2; at++) CHECK(pthread_join(closers[at], NULL) == 0);
    for (int at = 0; at < THREADS; at++) CHECK(pthread_join(users[at], NULL) == 0);
    CHECK(closing[0].wrong == 0 && closing[1].wrong == 0 && closing[0].count + closing[1].count == 1);
    for (int at = 0; at < THREADS; at++) CHECK(using[at].wrong == 0);
  }
}

static void close_from_within(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  (void)index, (void)revision, (void)ttl_ms;
  OK(concord_close(context));
  EXPECT(CONCORD_CLOSED, concord_put(context, key("a"), one(), NULL));
  CHECK(value.len == 1 && value.data[0] == 1); /* still there */
}

/* The header forbids it; it must be no crash all the same. */
static void a_callback_that_closes_its_store_harms_nothing(void) {
  concord_db *db = open_memory();
  OK(concord_put(db, key("a"), one(), NULL));
  OK(concord_read(db, key("a"), NULL, close_from_within, db));
  EXPECT(CONCORD_CLOSED, concord_close(db));
}

static void *open_and_close(void *context) {
  job *mine = context;
  for (int at = 0; at < mine->count; at++) {
    concord_db *db;
    concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
    options.durability = CONCORD_DURABILITY_MEMORY;
    mine->wrong += concord_open(NULL, &options, &db) != CONCORD_OK;
    mine->wrong += put_int(db, "a", at) != CONCORD_OK || get_int(db, "a") != at;
    mine->wrong += concord_close(db) != CONCORD_OK;
  }
  return NULL;
}

static void many_stores_open_and_close_at_once(void) { CHECK(at_once(open_and_close, NULL, rounds(25, 2)) == 0); }

int main(void) {
  RUN(eight_threads_share_a_handle);
  RUN(the_last_error_is_the_thread_s_own);
  RUN(closing_while_others_call_is_safe);
  RUN(a_callback_that_closes_its_store_harms_nothing);
  RUN(many_stores_open_and_close_at_once);
  return check_report();
}
