defmodule Concord.Error do
  @moduledoc """
  A store that could not be opened: the kind of failure and a message that says what to do next.

  Only opening a store ends like this. The verbs of `Concord` answer `{:error, kind}` and never raise for data.
  """

  defexception [:kind, :message]

  @type t :: %__MODULE__{kind: atom(), message: String.t()}
end
