# Writes from eight processes until killed, and notes each acknowledged write in a file.
# Usage: CONCORD_DATA_DIR=dir mix run load.exs pid-file acknowledgements-file
[pid_file, acks_file] = System.argv()
File.write!(pid_file, System.pid())

write = fn lane ->
  {:ok, acks} = File.open(acks_file, [:append, :raw, :binary])

  Enum.each(Stream.iterate(1, &(&1 + 1)), fn n ->
    key = "load:elixir:#{lane}:#{n}"
    :ok = Concord.put(key, n)
    # One system call after the acknowledgement: what stands in the file was promised.
    :ok = :file.write(acks, "#{key} #{n}\n")
  end)
end

Enum.each(1..8, fn lane -> spawn_link(fn -> write.(lane) end) end)
Process.sleep(:infinity)
