# A new application that uses Concord.

defmodule Concord.EmbeddingTest do
  # Promise: `{:concord, path: "..."}` in a new Mix application is all the set-up there is. It starts a store by itself,
  # which keeps what was put over a restart, without configuration and without any package.
  use Concord.StoreCase, async: false

  import Concord.Shop, only: [mix: 2, mix: 3]

  @moduletag timeout: 600_000

  test "a new application that names the dependency has a durable store" do
    app = Concord.Shop.new(fresh_dir())

    put = ~s|IO.inspect Concord.put("user:1", %{name: "Alice", at: ~D[2025-10-21]})|
    assert {output, 0} = mix(app, ["run", "-e", put])
    assert output =~ ":ok"
    assert File.dir?(Path.join(app, "data/nonode"))

    assert {output, 0} = mix(app, ["run", "-e", ~s|IO.inspect Concord.get("user:1")|])
    assert output =~ ~s|{:ok, %{at: ~D[2025-10-21], name: "Alice"}}|

    # What cannot be is said when the application starts.
    assert {output, status} = mix(app, ["run", "-e", "1"], [{"CONCORD_DURABILITY", "sometimes"}])
    assert status != 0
    assert output =~ "CONCORD_DURABILITY"
    assert output =~ "sometimes"
  end
end
