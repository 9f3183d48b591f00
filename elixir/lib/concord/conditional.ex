defmodule Concord.Conditional do
  @moduledoc false
  # Conditional writes: finds the one condition among the options, and runs predicates.
  #
  # A predicate runs here, in the caller, on the current value; the write then happens only if the record has not
  # changed since. If it has, the predicate is asked again.

  alias Concord.{Options, Read, Write}

  @conditions [:expected, :condition, :revision]

  @doc """
  Runs the write that `operation` makes of a condition. What the options say is checked by the native library, in the order
  of all verbs: token, key, lifetime, condition.
  """
  def run(key, options, operation) do
    with {:ok, handle} <- Options.handle(options) do
      timeout = Options.timeout(options)

      case condition(options) do
        {:predicate, predicate} ->
          # Refused for want of a condition, if for nothing else: then the predicate may be asked.
          with {:error, :missing_condition} <- Write.run(handle, operation.({:refused, :missing_condition}), timeout) do
            deadline = System.monotonic_time(:millisecond) + timeout
            ask(key, predicate, operation, handle, timeout, deadline)
          end

        condition ->
          Write.run(handle, operation.(condition), timeout)
      end
    end
  end

  defp condition(options) do
    case options |> Keyword.take(@conditions) |> Enum.uniq_by(&elem(&1, 0)) do
      [] -> {:refused, :missing_condition}
      [expected: :absent] -> :absent
      [expected: value] -> {:expected, value}
      [condition: predicate] when is_function(predicate, 1) -> {:predicate, predicate}
      [condition: expression] when is_binary(expression) -> {:where, expression}
      [revision: revision] when is_integer(revision) and revision >= 0 -> {:revision, revision}
      [_] -> {:refused, :invalid_condition}
      _ -> {:refused, :conflicting_conditions}
    end
  end

  # At the level of the leader: what is decided on should be as fresh as what it is compared with.
  defp ask(key, predicate, operation, handle, timeout, deadline) do
    with {:ok, %{value: value, revision: revision}} <- Read.run(handle, key, :record, :leader, timeout) do
      if predicate.(value) do
        case Write.run(handle, operation.({:revision, revision}), timeout) do
          {:error, :condition_failed} -> ask_again(key, predicate, operation, handle, deadline)
          answer -> answer
        end
      else
        {:error, :condition_failed}
      end
    end
  end

  defp ask_again(key, predicate, operation, handle, deadline) do
    case deadline - System.monotonic_time(:millisecond) do
      timeout when timeout > 0 -> ask(key, predicate, operation, handle, timeout, deadline)
      _ -> {:error, :timeout}
    end
  end
end
