defmodule Concord.Conditional do
  @moduledoc false
  # Conditional writes: finds the one condition among the options, and runs predicates.
  #
  # A predicate runs here, in the caller, on the current value; the write then happens only if the record has not
  # changed since. If it has, the predicate is asked again.

  alias Concord.{Options, Read, Store, Write}

  @conditions [:expected, :condition, :revision]

  @doc """
  Runs the write that `operation` makes of a condition.
  """
  def run(key, options, operation) do
    with :ok <- check_key(key),
         :ok <- check_ttl(Keyword.get(options, :ttl)),
         {:ok, condition} <- condition(options) do
      store = Options.store(options)
      timeout = Options.timeout(options)

      case condition do
        {:predicate, predicate} ->
          deadline = System.monotonic_time(:millisecond) + timeout
          ask(key, predicate, operation, store, timeout, deadline)

        condition ->
          Write.run(store, operation.(condition), timeout)
      end
    end
  end

  defp condition(options) do
    case options |> Keyword.take(@conditions) |> Enum.uniq_by(&elem(&1, 0)) do
      [] -> {:error, :missing_condition}
      [expected: :absent] -> {:ok, :absent}
      [expected: value] -> {:ok, {:expected, value}}
      [condition: predicate] when is_function(predicate, 1) -> {:ok, {:predicate, predicate}}
      [revision: revision] when is_integer(revision) and revision >= 0 -> {:ok, {:revision, revision}}
      [_] -> {:error, :invalid_condition}
      _ -> {:error, :conflicting_conditions}
    end
  end

  defp ask(key, predicate, operation, store, timeout, deadline) do
    with {:ok, %{value: value, revision: revision}} <- record(key, store, timeout) do
      if predicate.(value) do
        case Write.run(store, operation.({:revision, revision}), timeout) do
          {:error, :condition_failed} -> ask_again(key, predicate, operation, store, deadline)
          answer -> answer
        end
      else
        {:error, :condition_failed}
      end
    end
  end

  defp ask_again(key, predicate, operation, store, deadline) do
    case deadline - System.monotonic_time(:millisecond) do
      timeout when timeout > 0 -> ask(key, predicate, operation, store, timeout, deadline)
      _ -> {:error, :timeout}
    end
  end

  # At the level of the leader: what is decided on should be as fresh as what it is compared with.
  defp record(key, store, timeout) do
    case Store.handle(store) do
      nil -> {:error, :noproc}
      handle -> Read.run(handle, key, :record, :leader, timeout)
    end
  end

  defp check_key(key) when is_binary(key) and byte_size(key) in 1..1024, do: :ok
  defp check_key(_key), do: {:error, :invalid_key}

  defp check_ttl(ttl) when ttl in [nil, :infinity] or (is_integer(ttl) and ttl > 0), do: :ok
  defp check_ttl(_ttl), do: {:error, :invalid_ttl}
end
