# Member: the member of the mixed cluster that is an Elixir VM. It obeys lines of its standard input, see drive.py.
# Usage: CONCORD_DATA_DIR=... CONCORD_LISTEN=... CONCORD_SEEDS=... CONCORD_COOKIE=... mix run member.exs

defmodule Member do
  @wait_ms 20_000

  # The same values, by the same names, are in member.c and member.py.
  @zoo %{
    "text" => "Ομόνοια 🎉",
    "empty" => "",
    "large" => String.duplicate("Concord ", 500),
    "bytes" => <<255, 0, 254>>,
    "null" => nil,
    "true" => true,
    "int" => -25,
    "int64" => 9_223_372_036_854_775_807,
    "big" => Integer.pow(2, 100),
    "float" => 0.1,
    "whole" => 1.0,
    "vast" => 1.0e300,
    "list" => [1, [2.5, "three"], nil],
    "map" => %{"id" => 7, "name" => "Ann", "tags" => ["x", "y"]},
    "atom" => :running,
    "tuple" => {:ok, 1},
    "date" => ~D[2024-02-29],
    "time" => ~T[23:59:59.000005],
    "instant" => ~U[2025-10-21 12:47:27.231034Z],
    "naive" => ~N[2025-10-21 12:47:27.231034]
  }

  def run do
    IO.puts("ok #{System.pid()}")

    for line <- IO.stream(:stdio, :line) do
      [verb | argument] = String.split(line)

      case obey(verb, argument) do
        {:ok, number} -> IO.puts("ok #{number}")
        {:error, kind} -> IO.puts("error #{kind}")
      end
    end

    :ok = Application.stop(:concord)
  end

  defp obey("ready", []) do
    with :ok <- Concord.Cluster.await_ready(@wait_ms),
         {:ok, status} <- Concord.status(),
         do: {:ok, status.cluster.node_id}
  end

  defp obey("leader", []) do
    with {:ok, status} <- Concord.status(), do: {:ok, status.cluster.leader || 0}
  end

  defp obey("lead", [node]) do
    with :ok <- Concord.Cluster.transfer_leadership(String.to_integer(node), timeout: @wait_ms), do: {:ok, 0}
  end

  defp obey("write", [prefix]) do
    with {:ok, _} <- Concord.put_many(for {name, value} <- @zoo, do: {prefix <> name, value}), do: {:ok, map_size(@zoo)}
  end

  defp obey("check", [prefix]) do
    keys = for {name, _} <- @zoo, do: prefix <> name

    with {:ok, found} <- Concord.get_many(keys, consistency: :strong, timeout: @wait_ms) do
      case for {name, value} <- @zoo, found[prefix <> name] !== {:ok, value}, do: prefix <> name do
        [] -> {:ok, map_size(@zoo)}
        [wrong | _] -> {:error, "wrong #{wrong} is #{inspect(found[wrong])}"}
      end
    end
  end

  defp obey("count", []), do: Concord.increment("count")

  # Everything that this node itself holds, after a read that has brought it up to date.
  defp obey("dump", []) do
    with {:ok, _} <- Concord.get("count", consistency: :strong, timeout: @wait_ms),
         {:ok, all} <- Concord.get_all(consistency: :eventual) do
      for {key, value} <- Enum.sort(all) do
        {:ok, bytes} = Concord.Native.encode(value)
        IO.puts("#{key}\t#{Base.encode16(bytes, case: :lower)}")
      end

      {:ok, map_size(all)}
    end
  end
end

Member.run()
