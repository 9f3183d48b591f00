defmodule Concord.Store do
  @moduledoc false
  # The process that owns an open store: opens it, closes it, and nothing in between. Callers take the handle from a
  # persistent term and go straight to the native library.

  use GenServer

  alias Concord.{Config, Native}

  @doc """
  Starts the owner of what `open` opens with these options: a store, or a client of one.
  """
  def start_link(options, open \\ &open/1) do
    name = Keyword.get(options, :name, Concord)
    GenServer.start_link(__MODULE__, {name, fn -> open.(options) end}, name: name)
  end

  def child_spec(options) do
    # Closing waits for the writes that are on their way.
    %{
      id: {__MODULE__, Keyword.get(options, :name, Concord)},
      start: {__MODULE__, :start_link, [options]},
      shutdown: 30_000
    }
  end

  @doc """
  The handle of a store; nil when it is not running.
  """
  @compile {:inline, handle: 1}
  def handle(name), do: :persistent_term.get(key(name), nil)

  # The default store has the shorter key, which is found faster.
  @compile {:inline, key: 1}
  defp key(Concord), do: Concord.Store
  defp key(name), do: {Concord.Store, name}

  @impl true
  def init({name, open}) do
    Process.flag(:trap_exit, true)
    close_stale(name)

    case open.() do
      {:ok, handle} ->
        :persistent_term.put(key(name), handle)
        {:ok, %{name: name, handle: handle}}

      {:error, error} ->
        {:stop, {error, []}}
    end
  rescue
    error in ArgumentError -> {:stop, {error, []}}
  end

  @impl true
  def terminate(_reason, %{name: name, handle: handle}), do: close(name, handle)

  # A store whose process was killed is still open.
  defp close_stale(name) do
    with handle when handle != nil <- handle(name), do: close(name, handle)
  end

  # Erased only afterwards: the VM frees an erased term under the feet of a call that runs on a dirty scheduler, as closing
  # does, when nothing else refers to it (OTP 25). Meanwhile calls answer `:closed`.
  defp close(name, handle) do
    :ok = Native.close(handle)
    :persistent_term.erase(key(name))
  end

  defp open(options) do
    config = Config.read(options)

    with {:error, {kind, message}} <- Native.open(Config.to_native(config)) do
      {:error, %Concord.Error{kind: kind, message: explain(kind, message, config)}}
    end
  end

  defp explain(:locked, message, config) do
    message <>
      "; only one process can hold #{config.data_dir}: " <>
      "stop the other one, or give this one a directory of its own (config :concord, data_dir: \"data/\#{node()}\")"
  end

  defp explain(_kind, message, _config), do: message
end
