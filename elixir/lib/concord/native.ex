defmodule Concord.Native do
  @moduledoc false
  # The only door to the native library (bindings/nif). What each function takes and gives is written there;
  # all answer `{:error, kind}` for failures and raise `ArgumentError` for arguments of the wrong types.

  @on_load :load

  @doc false
  def load do
    path = :filename.join([priv_dir(), "native", "libconcord_nif"])

    # The set shows the library how this Elixir's sets look inside.
    :erlang.load_nif(String.to_charlist(path), MapSet.new())
  end

  defp priv_dir do
    case :code.priv_dir(:concord) do
      {:error, :bad_name} -> Path.expand("../../priv", :code.which(__MODULE__))
      dir -> to_string(dir)
    end
  end

  def open(_settings), do: missing()
  def connect(_settings), do: missing()
  def close(_handle), do: missing()
  def as_token(_handle, _token), do: missing()
  def create_token(_handle, _new), do: missing()
  def list_tokens(_handle), do: missing()
  def revoke_token(_handle, _id_or_token), do: missing()
  def metrics_text(_handle), do: missing()
  def serving(_handle), do: missing()
  def status(_handle), do: missing()
  def members(_handle), do: missing()
  def ready(_handle), do: missing()
  def wait_ready(_handle, _timeout_ms), do: missing()
  def change(_handle, _change, _timeout_ms), do: missing()
  def get(_handle, _key), do: missing()
  def read(_handle, _key, _shape, _level, _timeout_ms), do: missing()
  def start_read(_handle, _reference, _key, _with_value, _level, _timeout_ms), do: missing()
  def get_many(_handle, _keys, _level, _timeout_ms), do: missing()
  def get_all(_handle, _with_ttl, _level, _timeout_ms), do: missing()
  def start_count(_handle, _reference, _selector, _level, _timeout_ms), do: missing()
  def start_walk(_handle, _reference, _selector, _shape, _level, _timeout_ms), do: missing()
  def start_page(_walk, _reference), do: missing()
  def close_walk(_walk), do: missing()
  def check_expression(_text), do: missing()
  def expression_holds(_text, _key, _encoded, _revision, _ttl_ms), do: missing()
  def submit(_handle, _reference, _operation, _timeout_ms), do: missing()
  def cancel(_slot), do: missing()
  def encode(_value), do: missing()
  def decode(_encoded), do: missing()
  def compression_stats(_encoded, _compression), do: missing()
  def panic, do: missing()

  defp missing, do: :erlang.nif_error("Concord's native library is not loaded")
end
