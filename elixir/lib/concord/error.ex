defmodule Concord.Error do
  @moduledoc """
  What went wrong: the kind of failure and a message that says what to do next; `column` is where in an expression the fault
  is, if it is there.

  Opening a store ends like this, and `Concord.stream/1` raises it. The verbs of `Concord` answer `{:error, kind}` and never
  raise for data.
  """

  require Logger

  defexception [:kind, :message, :column]

  @type t :: %__MODULE__{kind: atom(), message: String.t(), column: pos_integer() | nil}

  @doc false
  # The answer of an administrative verb: what is behind an error is for the log.
  def told({:error, {kind, message}}, verb) do
    Logger.warning("Concord.#{verb}: #{kind}: #{message}")
    {:error, kind}
  end

  def told(answer, _verb), do: answer
end
