defmodule Concord.Read do
  @moduledoc false
  # Reads. What this node knows for certain is read in place; what other nodes must confirm is started, and its answer
  # comes as a message, as those of writes do.

  alias Concord.{Native, Write}

  @doc """
  Reads `:value`, `:ttl`, `:value_ttl` or `:record` of a key.
  """
  def run(handle, key, shape, level, timeout) do
    case Native.read(handle, key, shape, level, timeout) do
      :waits -> wait(handle, key, shape, level, timeout)
      answer -> answer
    end
  end

  @doc """
  The same after the native library said that this read waits for other nodes.
  """
  def wait(handle, key, shape, level, timeout) do
    # Made in the function that receives by it, so that the VM looks only at messages newer than the reference.
    reference = make_ref()

    case Native.start_read(handle, reference, key, shape != :ttl, level, timeout) do
      {:error, _kind} = refused ->
        refused

      slot ->
        answer =
          receive do
            {^reference, answer} -> answer
          after
            timeout -> Write.give_up(slot, reference, :timeout)
          end

        with {:ok, {encoded, ttl, revision}} <- answer, do: shaped(shape, encoded, ttl, revision)
    end
  end

  @doc """
  Runs a read of many keys, `read.(handle, level, timeout)`.

  It would wait on one of the VM's few threads for blocking calls, which files need too. So a read of one key goes first
  where other nodes must be asked: it waits by message, and when nobody answers no thread is held. That key, `probe`, is
  one that the caller must be allowed to read; it need not be there. Nil when nothing is read.
  """
  def run_many(handle, nil, read, level, timeout), do: read.(handle, level, timeout)

  def run_many(handle, probe, read, level, timeout) do
    started = System.monotonic_time(:millisecond)

    with :waits <- Native.read(handle, probe, :ttl, level, timeout),
         {:error, kind} when kind != :not_found <- wait(handle, probe, :ttl, level, timeout) do
      {:error, kind}
    else
      _ -> read.(handle, level, max(started + timeout - System.monotonic_time(:millisecond), 1))
    end
  end

  defp shaped(:ttl, _encoded, ttl, _revision), do: {:ok, ttl}

  defp shaped(shape, encoded, ttl, revision) do
    case {Native.decode(encoded), shape} do
      {{:ok, _} = found, :value} -> found
      {{:ok, value}, :value_ttl} -> {:ok, {value, ttl}}
      {{:ok, value}, :record} -> {:ok, %{value: value, ttl: ttl, revision: revision}}
      # It was checked when it was written.
      {{:error, _}, _} -> {:error, :corrupt}
    end
  end
end
