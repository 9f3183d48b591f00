defmodule Concord.Secret do
  @moduledoc false
  # Secrets among options. Supervisors show the options of their children in reports, so text becomes a function before it
  # gets there; a function is shown without what it holds.

  @secrets [:cluster_cookie, :cookie, :token]

  @doc """
  The same options with their secrets in functions.
  """
  def hide(options) do
    Enum.map(options, fn
      {key, text} when key in @secrets and is_binary(text) -> {key, fn -> text end}
      other -> other
    end)
  end

  @doc """
  A secret: text, an atom, or a function that gives it; nil when there is none. Never shown when it is something else.
  """
  def reveal(secret, setting) do
    case if(is_function(secret, 0), do: secret.(), else: secret) do
      nil -> nil
      text when is_binary(text) -> text
      atom when is_atom(atom) -> Atom.to_string(atom)
      _ -> raise ArgumentError, "#{setting}: should be text, or a function that gives it"
    end
  end
end
