/* Queue: calls that do not wait, and their completions. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <time.h>

static concord_queue *open_queue(concord_db *db) {
  concord_queue *queue = NULL;
  OK(concord_queue_open(db, &queue));
  return queue;
}

static int readable(concord_queue *queue, int timeout_ms) {
  struct pollfd watched = {concord_queue_fd(queue), POLLIN, 0};
  return poll(&watched, 1, timeout_ms) == 1;
}

static concord_completion next(concord_queue *queue) {
  concord_completion done;
  OK(concord_queue_next(queue, 20000, &done));
  return done;
}

static void every_call_ends_in_one_completion(void) {
  concord_db *db = open_memory();
  concord_queue *queue = open_queue(db);
  concord_completion done;
  concord_bytes keys[2] = {key("a"), key("nobody")};
  concord_put_item puts[2] = {{key("a"), one(), 0}, {key("b"), one(), 60000}};
  concord_touch_item touches[2] = {{key("a"), 5000}, {key("nobody"), 5000}};

  OK(concord_put_async(queue, key("a"), one(), NULL, 1));
  done = next(queue);
  CHECK(done.tag == 1 && done.status == CONCORD_OK && done.revision > 0 && done.message.data == NULL);
  concord_completion_free(&done);

  OK(concord_get_async(queue, key("a"), NULL, 2));
  done = next(queue);
  CHECK(done.tag == 2 && done.status == CONCORD_OK && done.value.len == 1 && done.revision > 0 && done.ttl_ms == 0);
  concord_completion_free(&done);
  CHECK(done.value.data == NULL);
  concord_completion_free(&done);

  OK(concord_increment_async(queue, key("n"), 5, 10, NULL, 3));
  done = next(queue);
  CHECK(done.tag == 3 && done.integer == 15 && done.revision > 0);

  OK(concord_touch_async(queue, key("a"), 60000, NULL, 4));
  done = next(queue);
  CHECK(done.tag == 4 && done.status == CONCORD_OK);
  OK(concord_get_async(queue, key("a"), NULL, 5));
  done = next(queue);
  CHECK(done.ttl_ms > 50000 && done.ttl_ms <= 60000);
  concord_completion_free(&done);

  OK(concord_put_many_async(queue, puts, 2, NULL, 6));
  done = next(queue);
  CHECK(done.tag == 6 && done.status == CONCORD_OK);
  OK(concord_touch_many_async(queue, touches, 2, NULL, 7));
  done = next(queue);
  CHECK(done.tag == 7 && done.value.len == 2 && done.value.data[0] == 1 && done.value.data[1] == 0);
  concord_completion_free(&done);
  OK(concord_delete_many_async(queue, keys, 2, NULL, 8));
  done = next(queue);
  CHECK(done.tag == 8 && done.status == CONCORD_OK);
  OK(concord_delete_async(queue, key("b"), NULL, UINT64_MAX));
  done = next(queue);
  CHECK(done.tag == UINT64_MAX && done.status == CONCORD_OK);
  EXPECT(CONCORD_TIMEOUT, concord_queue_next(queue, 0, &done));
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

static void errors_arrive_with_their_own_words(void) {
  concord_db *db = open_memory();
  concord_queue *queue = open_queue(db);
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  concord_completion done;
  OK(concord_get_async(queue, key("nobody"), NULL, 1));
  done = next(queue);
  CHECK(done.status == CONCORD_NOT_FOUND && done.message.len > 0 && done.value.data == NULL);
  concord_completion_free(&done);
  OK(put_int(db, "a", 1));
  options.condition = CONCORD_CONDITION_ABSENT;
  OK(concord_put_async(queue, key("a"), one(), &options, 2));
  done = next(queue);
  CHECK(done.status == CONCORD_ALREADY_EXISTS && strstr((char *)done.message.data, "exists") != NULL);
  concord_completion_free(&done);
  OK(concord_touch_async(queue, key("nobody"), 5, NULL, 3));
  done = next(queue);
  CHECK(done.status == CONCORD_NOT_FOUND);
  concord_completion_free(&done);
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

/* Promise: a call that is refused at once has no completion. */
static void what_is_refused_at_once_never_completes(void) {
  concord_db *db = open_memory();
  concord_queue *queue = open_queue(db);
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  concord_completion done;
  concord_bytes empty = {NULL, 0};
  EXPECT(CONCORD_INVALID_KEY, concord_put_async(queue, empty, one(), NULL, 1));
  EXPECT(CONCORD_INVALID_VALUE, concord_put_async(queue, key("a"), empty, NULL, 2));
  EXPECT(CONCORD_INVALID_TTL, concord_touch_async(queue, key("a"), 0, NULL, 3));
  EXPECT(CONCORD_BATCH_TOO_LARGE, concord_put_many_async(queue, NULL, 501, NULL, 4));
  options.revision = 4;
  EXPECT(CONCORD_INVALID_CONDITION, concord_put_async(queue, key("a"), one(), &options, 5));
  EXPECT(CONCORD_TIMEOUT, concord_queue_next(queue, 100, &done));
  CHECK(done.tag == 0 && !readable(queue, 0));
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

static void the_descriptor_is_readable_exactly_while_completions_wait(void) {
  concord_db *db = open_memory();
  concord_queue *queue = open_queue(db);
  concord_completion done[8];
  size_t count = 9;
  CHECK(!readable(queue, 0));
  for (int round = 0; round < rounds(200, 10); round++) {
    OK(concord_put_async(queue, key("a"), one(), NULL, 1));
    OK(concord_put_async(queue, key("b"), one(), NULL, 2));
    for (size_t taken = 0; taken < 2; taken += count) {
      CHECK(readable(queue, 20000));
      OK(concord_queue_take(queue, done, 1, &count));
      CHECK(count == 1 && done[0].status == CONCORD_OK);
    }
    CHECK(!readable(queue, 0));
    OK(concord_queue_take(queue, done, 8, &count));
    CHECK(count == 0);
    count = 1;
  }
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

static void thousands_may_be_under_way(void) {
  enum { CALLS = 20000 };
  static uint8_t seen[CALLS];
  concord_db *db = open_memory();
  concord_queue *queue = open_queue(db);
  concord_completion done[256];
  int calls = rounds(CALLS, 500);
  memset(seen, 0, sizeof seen);
  for (int at = 0; at < calls; at++) OK(concord_increment_async(queue, key("n"), 1, 0, NULL, (uint64_t)at));
  for (int taken = 0; taken < calls;) {
    size_t count;
    if (!readable(queue, 20000)) break;
    OK(concord_queue_take(queue, done, 256, &count));
    for (size_t at = 0; at < count; at++) {
      CHECK(done[at].status == CONCORD_OK && seen[done[at].tag]++ == 0);
      concord_completion_free(&done[at]);
    }
    taken += (int)count;
  }
  for (int at = 0; at < calls; at++) CHECK(seen[at] == 1);
  CHECK(get_int(db, "n") == calls);
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

static void closing_with_calls_under_way_is_clean(void) {
  for (int round = 0; round < rounds(30, 3); round++) {
    concord_db *db = open_memory();
    concord_queue *queue = open_queue(db), *other = open_queue(db);
    for (uint64_t at = 0; at < 300; at++) {
      OK(concord_put_async(queue, key("a"), one(), NULL, at));
      OK(concord_put_async(other, key("b"), one(), NULL, at));
      OK(concord_get_async(other, key("zero"), NULL, at + 1000));
    }
    OK(concord_queue_close(queue));
    OK(concord_close(db));
    /* What was under way ended one way or the other, and every one is told. */
    for (uint64_t at = 0; at < 600; at++) {
      concord_completion done = next(other);
      CHECK(done.tag < 300 || done.tag >= 1000);
      concord_completion_free(&done);
    }
    concord_completion done;
    EXPECT(CONCORD_CLOSED, concord_queue_next(other, -1, &done));
    OK(concord_queue_close(other));
  }
}

static void *wait_for_closing(void *queue) {
  concord_completion done;
  EXPECT(CONCORD_CLOSED, concord_queue_next(queue, -1, &done));
  return NULL;
}

static void closing_wakes_who_waits(void) {
  concord_db *db = open_memory();
  concord_queue *queue = open_queue(db), *other = open_queue(db);
  pthread_t waiting, other_waiting;
  struct timespec moment = {0, 50000000};
  CHECK(pthread_create(&waiting, NULL, wait_for_closing, queue) == 0);
  CHECK(pthread_create(&other_waiting, NULL, wait_for_closing, other) == 0);
  nanosleep(&moment, NULL);
  OK(concord_queue_close(queue));
  CHECK(pthread_join(waiting, NULL) == 0);
  OK(concord_close(db)); /* the store closes, its queue not: who waits there learns it too */
  CHECK(pthread_join(other_waiting, NULL) == 0);
  OK(concord_queue_close(other));
}

int main(void) {
  RUN(every_call_ends_in_one_completion);
  RUN(errors_arrive_with_their_own_words);
  RUN(what_is_refused_at_once_never_completes);
  RUN(the_descriptor_is_readable_exactly_while_completions_wait);
  RUN(thousands_may_be_under_way);
  RUN(closing_with_calls_under_way_is_clean);
  RUN(closing_wakes_who_waits);
  return check_report();
}
