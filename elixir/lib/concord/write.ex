defmodule Concord.Write do
  @moduledoc false
  # Writes: handed to the native library, which returns at once; the answer comes as a message.
  #
  # Each function makes its reference and receives by it, so that the VM looks only at messages newer than
  # the reference, however full the mailbox is.

  alias Concord.Native

  @doc """
  Runs one operation and answers what it answered.
  """
  def run(handle, operation, timeout) do
    reference = make_ref()

    case Native.submit(handle, reference, operation, timeout) do
      {:error, _kind} = refused ->
        refused

      slot ->
        receive do
          {^reference, answer} -> answer
        after
          timeout -> give_up(slot, reference, :unknown_outcome)
        end
    end
  end

  @doc """
  Runs a bulk operation. `{:ok, result}` once it is done; `prepare` makes the result while the disk is busy.
  """
  def run_bulk(handle, operation, timeout, prepare) do
    reference = make_ref()

    case Native.submit(handle, reference, operation, timeout) do
      {:error, _kind} = refused ->
        refused

      slot ->
        result = prepare.()

        answer =
          receive do
            {^reference, answer} -> answer
          after
            timeout -> give_up(slot, reference, :unknown_outcome)
          end

        if answer == :ok, do: {:ok, result}, else: answer
    end
  end

  @doc """
  Runs operations that are on their way together, and answers each one's answer, in order.
  """
  def run_all(handle, operations, timeout) do
    started =
      for operation <- operations do
        reference = make_ref()
        {reference, Native.submit(handle, reference, operation, timeout)}
      end

    deadline = System.monotonic_time(:millisecond) + timeout

    for {reference, slot} <- started do
      case slot do
        {:error, _kind} = refused ->
          refused

        slot ->
          receive do
            {^reference, answer} -> answer
          after
            max(deadline - System.monotonic_time(:millisecond), 0) -> give_up(slot, reference, :unknown_outcome)
          end
      end
    end
  end

  @doc """
  Gives up waiting: either the answer never comes, or it is here in a moment. A write is on its way and may still happen.
  """
  def give_up(slot, reference, error) do
    if Native.cancel(slot) do
      {:error, error}
    else
      receive do
        {^reference, answer} -> answer
      end
    end
  end
end
