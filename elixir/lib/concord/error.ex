defmodule Concord.Error do
  @moduledoc """
  A store that could not be opened: the kind of failure and a message that says what to do next.

  Only opening a store ends like this. The verbs of `Concord` answer `{:error, kind}` and never raise for data.
  """

  require Logger

  defexception [:kind, :message]

  @type t :: %__MODULE__{kind: atom(), message: String.t()}

  @doc false
  # The answer of an administrative verb: what is behind an error is for the log.
  def told({:error, {kind, message}}, verb) do
    Logger.warning("Concord.#{verb}: #{kind}: #{message}")
    {:error, kind}
  end

  def told(answer, _verb), do: answer
end
