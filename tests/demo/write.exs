# Writes the countries of a CSV file and one value of each kind, from Elixir.
# Usage: CONCORD_DATA_DIR=dir mix run write.exs countries.csv
[csv] = System.argv()

date = fn
  "" -> nil
  text -> Date.from_iso8601!(text)
end

[_header | rows] = csv |> File.read!() |> String.split("\n", trim: true)

countries =
  for row <- rows do
    [code, name, capital, joined, euro] = String.split(row, ",")

    {"country:" <> code,
     %{"name" => name, "capital" => capital, "joined" => date.(joined), "euro" => date.(euro)}}
  end

{:ok, written} = Concord.put_many(countries)

:ok = Concord.put("kind:atom", :running)
:ok = Concord.put("kind:tuple", {:rate, 100, :per_second})
:ok = Concord.put("kind:datetime", ~U[2025-10-21 12:47:27.231034Z])
:ok = Concord.put("kind:big", Integer.pow(2, 100))
:ok = Concord.put("kind:bytes", <<255, 0, 254>>)
:ok = Concord.put("kind:float", 0.1)
:ok = Concord.put("kind:null", nil)
:ok = Concord.put("kind:set", MapSet.new([1, 2, 3]))
:ok = Concord.put("kind:large", String.duplicate("Concord ", 5_000))
:ok = Concord.put("session:ada", %{"user" => "ada"}, ttl: 3600)
{:ok, 1} = Concord.increment("visits")

:ok = Concord.put_new("lock", "elixir")
{:error, :already_exists} = Concord.put_new("lock", "somebody else")

IO.puts("#{map_size(written) + 12}")
