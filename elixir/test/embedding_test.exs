# A new application that uses Concord.

defmodule Concord.EmbeddingTest do
  # Promise: `{:concord, path: "..."}` in a new Mix application is all the set-up there is. It starts a store by itself,
  # which keeps what was put over a restart, without configuration and without any package.
  use Concord.StoreCase, async: false

  @moduletag timeout: 600_000

  @package Path.expand("..", __DIR__)

  test "a new application that names the dependency has a durable store" do
    dir = fresh_dir()
    File.mkdir_p!(dir)
    assert {_, 0} = mix(dir, ~w(new shop))
    app = Path.join(dir, "shop")
    File.write!(Path.join(app, "mix.exs"), mixfile())

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

  defp mixfile do
    """
    defmodule Shop.MixProject do
      use Mix.Project

      def project do
        [app: :shop, version: "0.1.0", deps: [{:concord, path: #{inspect(@package)}}]]
      end

      def application, do: [extra_applications: [:logger]]
    end
    """
  end

  # With the library that these tests use already, unless the environment says otherwise.
  defp mix(dir, arguments, more \\ []) do
    library = Path.join(:code.priv_dir(:concord), "native/libconcord_nif.so")
    environment = [{"MIX_ENV", "dev"}, {"CONCORD_NIF_PATH", System.get_env("CONCORD_NIF_PATH") || library} | more]
    System.cmd("mix", arguments, cd: dir, env: environment, stderr_to_stdout: true)
  end
end
