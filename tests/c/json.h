/* Json: spans of a text, and steps through the lists and objects that they hold. */
#ifndef CONCORD_TESTS_JSON_H
#define CONCORD_TESTS_JSON_H

#include <stddef.h>
#include <string.h>

/* Part of a line. */
typedef struct {
  const char *data;
  size_t len;
} span;

static inline span none(void) { return (span){NULL, 0}; }
static inline int is(span word, const char *text) { return word.len == strlen(text) && memcmp(word.data, text, word.len) == 0; }
static inline int same_span(span left, span right) {
  return left.len == right.len && memcmp(left.data, right.data, left.len) == 0;
}
static inline int begins(span word, const char *text) {
  return word.len >= strlen(text) && memcmp(word.data, text, strlen(text)) == 0;
}
static inline span after(span word, size_t count) { return (span){word.data + count, word.len - count}; }

/* What stands between the brackets of a list or an object. */
static inline span inside_of(span list) { return list.len < 2 ? none() : (span){list.data + 1, list.len - 2}; }

static inline span trimmed(span text) {
  while (text.len > 0 && *text.data == ' ') text = after(text, 1);
  return text;
}

/* Steps through the inside of a JSON list, or of an object, of whose members `name` is the key. */
static inline int element(span *list, span *name, span *value) {
  size_t at = 0, depth = 0, colon = 0;
  int inside = 0;
  for (; at < list->len; at++) {
    char c = list->data[at];
    if (inside) {
      if (c == '\\') at++;
      else if (c == '"') inside = 0;
    } else if (c == '"') {
      inside = 1;
    } else if (c == '[' || c == '{') {
      depth++;
    } else if (c == ']' || c == '}') {
      depth--;
    } else if (c == ':' && depth == 0 && colon == 0) {
      colon = at;
    } else if (c == ',' && depth == 0) {
      break;
    }
  }
  if (at == 0) return 0;
  *name = trimmed((span){list->data, colon});
  *value = trimmed(colon == 0 ? (span){list->data, at} : (span){list->data + colon + 1, at - colon - 1});
  *list = after(*list, at < list->len && list->data[at] == ',' ? at + 1 : at);
  return 1;
}

static inline span member(span object, const char *wanted) {
  span name, value;
  object = inside_of(object);
  while (element(&object, &name, &value)) {
    if (is(inside_of(name), wanted)) return value;
  }
  return none();
}

#endif
