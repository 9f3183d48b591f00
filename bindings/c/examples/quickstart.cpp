// Quickstart: a durable store in C++17.
//
// c++ -std=c++17 quickstart.cpp $(pkg-config --cflags --libs concord_kv) -o quickstart && ./quickstart DIRECTORY
#include <concord.hpp>

#include <iostream>

int main(int count, char **arguments) try {
  using namespace std::chrono_literals;
  concord::Db db = count > 1 ? concord::Db(arguments[1]) : concord::Db();  // without a directory: in memory

  db.put("user:1", concord::json(R"({"name":"Ada","admin":true})"));  // on disk when this returns
  if (auto user = db.get("user:1")) std::cout << "user 1 is " << user->to_json() << "\n";

  std::cout << "this is visit " << db.increment("visits") << "\n";

  bool ours = db.put_new("lock:report", concord::text("worker-7"), concord::WriteOptions().with_ttl(60s));
  std::cout << (ours ? "the lock is ours for a minute" : "somebody else has the lock") << "\n";

  auto scan = db.scan();
  while (auto item = scan.next()) std::cout << "- " << item->key << "\n";
  return 0;
} catch (const concord::Error &error) {
  std::cerr << error.what() << "\n";
  return 1;
}
