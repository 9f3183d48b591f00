defmodule Concord.Running do
  @moduledoc false
  # The node that runs on this machine, for the Mix tasks: found by its data directory, reached through the socket there.
  # Never opens a store itself.

  alias Concord.{Client, Config}

  @doc """
  Connects to the running node and answers the name that verbs take as `store:`.

  `dir` is what the command line names; without it the configuration and `CONCORD_DATA_DIR` count, and without these the
  one directory below `data/` in which a node runs.
  """
  @spec connect(Path.t() | nil) :: {:ok, atom()} | {:error, String.t()}
  def connect(dir) do
    # That nobody answers is an answer.
    Process.flag(:trap_exit, true)

    case dir || Application.get_env(:concord, :data_dir) || Config.environment("CONCORD_DATA_DIR") do
      nil -> around()
      dir -> dir |> Path.expand() |> reach()
    end
  end

  defp reach(dir) do
    case start(dir) do
      {:ok, _} -> {:ok, __MODULE__}
      {:error, :noproc, _} -> {:error, "no node runs in #{dir}" <> next()}
      {:error, _, message} -> {:error, "the node in #{dir} cannot be reached: #{message}"}
    end
  end

  defp around do
    dirs = "data/*/concord.sock" |> Path.expand() |> Path.wildcard() |> Enum.map(&Path.dirname/1)

    # A socket may have been left behind.
    case for(dir <- dirs, {:ok, pid} <- [start(dir)], do: {dir, pid, GenServer.stop(pid)}) do
      [] ->
        {:error, "no node runs here: looked below #{Path.expand("data")}" <> next()}

      [{dir, _, :ok}] ->
        reach(dir)

      several ->
        {:error, "several nodes run here; say which: " <> Enum.map_join(several, " or ", &"--data-dir #{elem(&1, 0)}")}
    end
  end

  defp start(dir) do
    case Client.start_link(name: __MODULE__, data_dir: dir) do
      {:ok, pid} -> {:ok, pid}
      {:error, {%Concord.Error{kind: kind, message: message}, _}} -> {:error, kind, message}
    end
  end

  defp next do
    "; start one (mix start, or your application), or name its directory: --data-dir DIR or CONCORD_DATA_DIR. " <>
      "A node with durability: :memory or local_socket: false cannot be reached"
  end
end
