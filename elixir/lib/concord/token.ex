defmodule Concord.Token do
  @moduledoc """
  Tokens: who may do what. With `config :concord, auth_enabled: true` every verb needs one.

      {:ok, web} = Concord.Token.create(name: "web", key_prefixes: ["user:"], ttl: 30 * 86_400)
      web.token
      # "sk_concord_..."

      Concord.put("user:1001", %{name: "Alice"}, token: web.token)
      # :ok
      Concord.put("user:1001", %{name: "Alice"})
      # {:error, :unauthorized}
      Concord.get("order:7", token: web.token)
      # {:error, :forbidden}

  The first token is made by the machine that holds the data: by `mix concord.cluster token create`, by the program
  `concord`, or by the functions here. **They administer the store of this program with every right**: what a program does
  with its own store is its own affair, tokens are for those whom it serves. To let others administer, hand their token on
  (`token:`); it must have the scope `:admin`. On a `Concord.Client` they have the rights of its connection.

  | scope | allows |
  |--|--|
  | `:read` | to read records, status and members |
  | `:write` | to write records; `expected:` and `condition:` look at the record, and need `:read` too |
  | `:admin` | everything, tokens and members of the cluster included |

  Tokens are part of the replicated state: every member knows them, and they survive restarts. Of a token only a hash is
  kept, its text is shown once. A revocation counts at once and on every member (an `:eventual` read may be as stale as its
  data). Without `auth_enabled` no token is needed; one that is known is held to its scopes even so, any other changes nothing.

  A call with a token that this VM has not used yet looks it up, and on a `Concord.Client` connects once more, which
  `timeout:` does not limit; the following calls cost hardly more than without. Neither error messages nor logs show a token.

  ## Errors

  Besides those of all verbs: `:forbidden` for a token without the scope `:admin`, `:invalid_config` for a name or prefixes
  outside their bounds (a warning in the log tells which), `:invalid_ttl`. All functions wait for the leader or the disk,
  at most about 5 seconds; `timeout:` does not change that.
  """

  alias Concord.{Error, Native, Options}

  @derive {Inspect, except: [:token]}
  defstruct [:id, :name, :scopes, :key_prefixes, :created_at, :expires_at, :last_used_at, :token]

  @typedoc "What a token allows."
  @type scope :: :read | :write | :admin

  @typedoc """
  What is known of a token. `id` is its public name, 16 hexadecimal digits; `key_prefixes` is `[]` when it reaches every key;
  `last_used_at` is exact for uses on this node, to the hour for others. `token` is its text when it was just made, nil
  otherwise, and never inspected.
  """
  @type t :: %__MODULE__{
          id: String.t(),
          name: String.t(),
          scopes: [scope()],
          key_prefixes: [binary()],
          created_at: DateTime.t(),
          expires_at: DateTime.t() | nil,
          last_used_at: DateTime.t() | nil,
          token: String.t() | nil
        }

  @type error :: Concord.error() | :invalid_config

  @doc """
  Makes a token. Every member knows it when this returns.

  Options: `name:` for people, up to 64 bytes; `scopes:` a list, `[:read, :write]` by default; `key_prefixes:` keys that it
  reaches, those that begin with one of these (at most 32; none means every key, and one with `:admin` has none); `ttl:`
  seconds after which it is not valid any more (until it is revoked); `store:`; `token:` in whose name.

      iex> {:ok, made} = Concord.Token.create(name: "ci", scopes: [:read])
      iex> "sk_concord_" <> _ = made.token
      iex> {made.name, made.scopes, made.key_prefixes, made.expires_at}
      {"ci", [:read], [], nil}
      iex> Concord.put("build", 7, token: made.token)
      {:error, :forbidden}
  """
  @spec create(keyword()) :: {:ok, t()} | {:error, error()}
  def create(options \\ []), do: options |> try_create() |> Error.told("Token.create")

  @doc false
  # The same with the message behind an error, `{:error, {kind, message}}`.
  def try_create(options) do
    Options.check(options, [:name, :scopes, :key_prefixes, :ttl], "Token.create")
    new = new(options)

    with {:ok, handle} <- Options.handle(options),
         {:ok, ttl_ms} <- ttl_ms(options[:ttl]),
         {:ok, {token, info}} <- Native.create_token(handle, put_elem(new, 3, ttl_ms)) do
      {:ok, %__MODULE__{from(info) | token: token}}
    end
  end

  @doc """
  All tokens, by when they were made. Those that have expired are listed until they are revoked, or their place is needed.

      iex> {:ok, made} = Concord.Token.create(name: "listed")
      iex> {:ok, tokens} = Concord.Token.list()
      iex> made.id in Enum.map(tokens, & &1.id)
      true
  """
  @spec list(keyword()) :: {:ok, [t()]} | {:error, error()}
  def list(options \\ []), do: options |> try_list() |> Error.told("Token.list")

  @doc false
  def try_list(options) do
    Options.check(options, [], "Token.list")

    with {:ok, handle} <- Options.handle(options),
         {:ok, infos} <- Native.list_tokens(handle) do
      {:ok, Enum.map(infos, &from/1)}
    end
  end

  @doc """
  Ends a token, at once and on every member. It is named by its id, its text, or what `create/1` and `list/1` gave.

  Error: `:not_found`.

      iex> {:ok, made} = Concord.Token.create()
      iex> Concord.Token.revoke(made.id)
      :ok
      iex> Concord.Token.revoke(made)
      {:error, :not_found}
  """
  @spec revoke(t() | String.t(), keyword()) :: :ok | {:error, error()}
  def revoke(id_or_token, options \\ []), do: id_or_token |> try_revoke(options) |> Error.told("Token.revoke")

  @doc false
  def try_revoke(%__MODULE__{id: id}, options), do: try_revoke(id, options)

  def try_revoke(id_or_token, options) when is_binary(id_or_token) do
    Options.check(options, [], "Token.revoke")

    with {:ok, handle} <- Options.handle(options) do
      # What is no text is no token.
      if String.valid?(id_or_token), do: Native.revoke_token(handle, id_or_token), else: {:error, :not_found}
    end
  end

  def try_revoke(_id_or_token, _options), do: Options.no_clause(__MODULE__, :revoke, 2)

  # As the native library takes it, without the lifetime.
  defp new(options) do
    name = Keyword.get(options, :name, "")
    scopes = Keyword.get(options, :scopes, [:read, :write])
    key_prefixes = Keyword.get(options, :key_prefixes, [])
    unless is_binary(name) and String.valid?(name), do: misuse(:name, name, "text")

    unless is_list(scopes) and Enum.all?(scopes, &(&1 in [:read, :write, :admin])),
      do: misuse(:scopes, scopes, "a list of :read, :write and :admin")

    unless is_list(key_prefixes) and Enum.all?(key_prefixes, &is_binary/1),
      do: misuse(:key_prefixes, key_prefixes, "a list of binaries")

    {name, scopes, key_prefixes, nil}
  end

  defp misuse(option, value, wanted) do
    raise ArgumentError, "Concord.Token.create: #{inspect([{option, value}])} should be #{wanted}"
  end

  # It may come from users' data, as that of a record.
  defp ttl_ms(forever) when forever in [nil, :infinity], do: {:ok, nil}
  defp ttl_ms(ttl) when is_integer(ttl) and ttl > 0 and ttl < 0xFFFF_FFFF_FFFF, do: {:ok, ttl * 1000}
  defp ttl_ms(_ttl), do: {:error, :invalid_ttl}

  defp from({id, name, scopes, key_prefixes, created_ms, expires_ms, last_used_ms}) do
    %__MODULE__{
      id: id,
      name: name,
      scopes: scopes,
      key_prefixes: key_prefixes,
      created_at: time(created_ms),
      expires_at: time(expires_ms),
      last_used_at: time(last_used_ms)
    }
  end

  defp time(nil), do: nil

  # Later than Elixir's calendar goes is as good as never.
  defp time(ms) do
    case DateTime.from_unix(ms, :millisecond) do
      {:ok, time} -> time
      {:error, _} -> nil
    end
  end
end
