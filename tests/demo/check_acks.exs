# Counts the acknowledged writes that are there, from Elixir; fails when one is missing.
# Usage: CONCORD_DATA_DIR=dir mix run check_acks.exs acknowledgements-file
[acks_file] = System.argv()
lines = acks_file |> File.read!() |> String.split("\n", trim: true)

Enum.each(lines, fn line ->
  [key, n] = String.split(line, " ")
  expected = {:ok, String.to_integer(n)}

  case Concord.get(key) do
    ^expected -> :ok
    other -> raise "#{key} was acknowledged with #{n}, but reads #{inspect(other)}"
  end
end)

IO.puts(length(lines))
