defmodule Concord do
  @moduledoc """
  An embedded, strongly consistent key-value store: a durable Raft node inside your program, alone or as one member of a
  cluster (see `Concord.Cluster`).

  Add `{:concord, path: "..."}` to your dependencies and use it. The application starts one store by itself, which keeps
  everything in `data/` below the working directory unless `config :concord, data_dir: ...` says otherwise (see
  `Concord.Config`).

      iex> Concord.put("user:1001", %{name: "Alice", role: "admin"})
      :ok
      iex> Concord.get("user:1001")
      {:ok, %{name: "Alice", role: "admin"}}
      iex> Concord.get("user:1002")
      {:error, :not_found}

  ## Keys and values

  A key is a binary of 1 to 1,024 bytes, any bytes. A value is any term that means something to another node and after a
  restart: nil, booleans, integers of any size, floats, binaries, atoms, lists, tuples, maps, and structs
  (`DateTime`, `NaiveDateTime`, `Date`, `Time`, `Decimal` and `MapSet` in forms that other languages read natively, all
  others by name and fields). Functions, processes, ports, references, bit strings and improper lists are refused with
  `{:error, :invalid_value}`, and so is what is nested more than 128 deep. A value takes at most 16 MiB encoded.

  What comes back is what was put, with these exceptions, all of them for values that this VM cannot hold or must not make:

    * an atom that this VM does not have comes back as a binary: nobody can fill the atom table
    * a struct whose name this VM does not have comes back as a map with that name under the key `"__struct__"`
    * NaN and the infinities, which other languages may store, come back as `:nan`, `:infinity` and `:neg_infinity`
    * a point in time that another language stored with a fixed offset has that offset as its zone, `"+02:00"`

  ## Options

  All functions take `timeout:` (milliseconds, or `:infinity`; 5,000 by default), `token:` (text; see `Concord.Token`) and
  `store:` (the name of another store than the one that the application started, see `child_spec/1`).
  Those that read take `consistency:`:

    * `:eventual` - what this node has applied, without asking anybody; may be stale
    * `:leader` (default) - what the leader has applied, under its lease: linearizable as long as clocks drift less than a margin
    * `:strong` - linearizable without any assumption about clocks: a majority confirms

  On a single node all three are the same local read and cost the same. An option that a function does not have raises `ArgumentError`.

  ## Errors

  Failures are `{:error, kind}`. Bad data never raises; misuse (an atom where a lifetime belongs) does. Kinds that every
  function may answer: `:noproc` (no store of this name is running), `:closed`, `:cluster_not_ready` (try again),
  `:timeout` (nothing was done, try again), `:unauthorized` (no valid token where one is needed), `:forbidden` (the token does
  not allow this). Checks come in this order: token, key, lifetime and condition, cluster. A write whose answer did not come in time answers `:unknown_outcome`: it may or
  may not have happened, read before you try again. No answer that comes later is left in the mailbox.

  ## Durability

  A write that answered is on disk (fdatasync) and survives `kill -9` and power cuts, unless `durability:` says otherwise.
  """

  alias Concord.{Conditional, Native, Options, Read, Secret, Selection, Store, Walk, Write}

  @typedoc "1 to 1,024 bytes."
  @type key :: binary()

  @typedoc "See the section on values above."
  @type value :: term()

  @typedoc "Lifetime in seconds; nil and `:infinity` live for ever."
  @type ttl :: pos_integer() | :infinity | nil

  @typedoc "How fresh a read must be."
  @type consistency :: :eventual | :leader | :strong

  @typedoc "What is stored under a key."
  @type record :: %{value: value(), revision: pos_integer(), ttl: pos_integer() | nil}

  @typedoc "Why something failed; the same names in all languages."
  @type error ::
          :already_exists
          | :batch_too_large
          | :closed
          | :cluster_not_ready
          | :compacted
          | :condition_failed
          | :conflicting_conditions
          | :corrupt
          | :forbidden
          | :internal
          | :invalid_condition
          | :invalid_key
          | :invalid_operation_format
          | :invalid_touch_operation
          | :invalid_ttl
          | :invalid_value
          | :io
          | :missing_condition
          | :noproc
          | :not_an_integer
          | :not_found
          | :timeout
          | :unauthorized
          | :unknown_outcome
          | :value_too_large

  @type options :: keyword()

  @put_options [:ttl, :compress]
  @read_options [:consistency]

  # Every token that may read all keys may read this one; it need not be there.
  @any_key <<0>>

  @doc """
  Stores a value. Without `ttl:` the key lives for ever, whatever lifetime it had before.

  Options: `ttl:` seconds; `compress:` true or false instead of what is configured (see `Concord.Compression`).

  Errors: `:invalid_key`, `:invalid_ttl`, `:invalid_value`, `:value_too_large`.

      iex> Concord.put("feature:dark_mode", "enabled", ttl: 3600)
      :ok
      iex> Concord.put("", "no key")
      {:error, :invalid_key}
      iex> Concord.put("callback", fn -> :ok end)
      {:error, :invalid_value}
  """
  @spec put(key(), value(), options()) :: :ok | {:error, error()}
  def put(key, value, options \\ []) do
    Options.check(options, @put_options, :put)
    write_put(key, value, Keyword.get(options, :ttl), :always, options)
  end

  @doc """
  The value of a key. A stored nil is `{:ok, nil}`.

  Option: `with: :record` answers a map of value, revision (the number of the change that last wrote the key) and
  remaining seconds.

  Errors: `:not_found` when the key is missing or has expired, `:invalid_key`.

      iex> Concord.put("answer", 42)
      iex> Concord.get("answer")
      {:ok, 42}
      iex> Concord.get("answer", consistency: :strong)
      {:ok, 42}
      iex> {:ok, %{value: 42, revision: revision, ttl: nil}} = Concord.get("answer", with: :record)
      iex> revision > 0
      true
  """
  @spec get(key(), options()) :: {:ok, value() | record()} | {:error, error()}
  def get(key, options \\ [])

  def get(key, []) do
    case Store.handle(Concord) do
      nil ->
        {:error, :noproc}

      handle ->
        case Native.get(handle, key) do
          :waits -> Read.wait(handle, key, :value, nil, Options.timeout([]))
          answer -> answer
        end
    end
  end

  def get(key, options) do
    Options.check(options, [:with | @read_options], :get)
    read(key, Keyword.get(options, :with, :value), options)
  end

  @doc """
  Removes a key; `:ok` as well when there is none.

      iex> Concord.delete("never there")
      :ok
  """
  @spec delete(key(), options()) :: :ok | {:error, error()}
  def delete(key, options \\ []) do
    Options.check(options, [], :delete)
    write({:delete, key, :always}, options)
  end

  @doc """
  Stores a value only if the key does not exist: whoever gets `:ok` was the first.

  Options and errors as `put/3`, and `:already_exists`.

      iex> Concord.put_new("leader", "node-1", ttl: 30)
      :ok
      iex> Concord.put_new("leader", "node-2", ttl: 30)
      {:error, :already_exists}
  """
  @spec put_new(key(), value(), options()) :: :ok | {:error, error()}
  def put_new(key, value, options \\ []) do
    Options.check(options, @put_options, :put_new)
    write_put(key, value, Keyword.get(options, :ttl), :absent, options)
  end

  @doc """
  Stores a value only if the current one is as expected. Check and write are one step; nobody comes in between.

  Exactly one of these options:

    * `expected: value` - the current value equals this one, as `==` compares (`1 == 1.0`); nil is a legal expectation,
      `:absent` means that the key does not exist
    * `condition: "value.version < 2"` - this expression is true of the current record; it runs in the store, see
      `Concord.Expression`
    * `condition: fun` - the function, called with the current value, answers true. It runs in the calling process, more
      than once when the record changes meanwhile; what it raises is raised here and harms nothing
    * `revision: number` - the record is still the one that `get(key, with: :record)` saw

  Further options: `ttl:`, `compress:`.

  Errors: `:condition_failed`, `:not_found`, `:already_exists` (only for `:absent`), `:missing_condition`,
  `:conflicting_conditions`, `:invalid_condition`, and those of `put/3`.

      iex> Concord.put("stock", 10)
      iex> Concord.put_if("stock", 9, expected: 10)
      :ok
      iex> Concord.put_if("stock", 8, expected: 10)
      {:error, :condition_failed}
      iex> Concord.put_if("stock", 8, condition: fn stock -> stock > 0 end)
      :ok
      iex> Concord.put_if("stock", 7, condition: "value > 7 and value <= 8")
      :ok
      iex> Concord.put_if("stock", 6, [])
      {:error, :missing_condition}
  """
  @spec put_if(key(), value(), options()) :: :ok | {:error, error()}
  def put_if(key, value, options) do
    Options.check(options, [:expected, :condition, :revision | @put_options], :put_if)
    {ttl, compress} = {Keyword.get(options, :ttl), Options.compress(options)}
    Conditional.run(key, options, fn condition -> {:put, key, value, ttl, condition, compress} end)
  end

  @doc """
  Removes a key only if its current value is as expected. Conditions and errors as `put_if/3`, except that a key that must
  not exist cannot be removed (`expected: :absent` is `:invalid_condition`).

      iex> Concord.put("session", "user-123")
      iex> Concord.delete_if("session", expected: "user-456")
      {:error, :condition_failed}
      iex> Concord.delete_if("session", expected: "user-123")
      :ok
  """
  @spec delete_if(key(), options()) :: :ok | {:error, error()}
  def delete_if(key, options) do
    Options.check(options, [:expected, :condition, :revision], :delete_if)

    Conditional.run(key, options, fn condition -> {:delete, key, condition} end)
  end

  @doc """
  Adds to an integer, atomically, and answers the sum. A missing key counts as `initial:` (0) before the addition.

  Options: `initial:`; `ttl:` the lifetime of a key that this call makes (an existing key keeps its own).

  Errors: `:not_an_integer` when something else is stored there, `:value_too_large` when the sum leaves 64 bits,
  `:invalid_key`, `:invalid_ttl`.

      iex> Concord.increment("hits")
      {:ok, 1}
      iex> Concord.increment("hits", 10)
      {:ok, 11}
      iex> Concord.increment("tickets", -1, initial: 100)
      {:ok, 99}
  """
  @spec increment(key(), integer(), options()) :: {:ok, integer()} | {:error, error()}
  def increment(key, by \\ 1, options \\ [])

  def increment(key, options, []) when is_list(options), do: increment(key, 1, options)

  def increment(key, by, options) when is_integer(by) do
    Options.check(options, [:initial, :ttl], :increment)
    write({:increment, key, by, Keyword.get(options, :initial, 0), Keyword.get(options, :ttl)}, options)
  end

  def increment(_key, _by, _options), do: Options.no_clause(__MODULE__, :increment, 3)

  @doc """
  Stores a value with a lifetime in seconds: `put(key, value, ttl: ttl)`.

      iex> Concord.put_with_ttl("code", "1234", 60)
      :ok
      iex> Concord.put_with_ttl("code", "1234", 0)
      {:error, :invalid_ttl}
  """
  @spec put_with_ttl(key(), value(), pos_integer(), options()) :: :ok | {:error, error()}
  def put_with_ttl(key, value, ttl, options \\ [])

  def put_with_ttl(key, value, ttl, options) when is_integer(ttl) do
    Options.check(options, [:compress], :put_with_ttl)
    write_put(key, value, ttl, :always, options)
  end

  def put_with_ttl(_key, _value, _ttl, _options), do: Options.no_clause(__MODULE__, :put_with_ttl, 4)

  @doc """
  Makes the remaining lifetime of a key `ttl` seconds, whether or not it had one; does not add.

  Errors: `:not_found` when the key is missing or has expired (it is not revived), `:invalid_ttl`, `:invalid_key`.

      iex> Concord.put("session:1", %{user_id: 123}, ttl: 60)
      iex> Concord.touch("session:1", 1800)
      :ok
      iex> Concord.ttl("session:1")
      {:ok, 1800}
      iex> Concord.touch("session:2", 1800)
      {:error, :not_found}
  """
  @spec touch(key(), pos_integer(), options()) :: :ok | {:error, error()}
  def touch(key, ttl, options \\ [])

  def touch(key, ttl, options) when is_integer(ttl) do
    Options.check(options, [], :touch)
    write({:touch, key, ttl}, options)
  end

  def touch(_key, _ttl, _options), do: Options.no_clause(__MODULE__, :touch, 3)

  @doc """
  Remaining seconds of a key, rounded up; nil when it lives for ever. Errors as `get/2`.

      iex> Concord.put("forever", 1)
      iex> Concord.ttl("forever")
      {:ok, nil}
  """
  @spec ttl(key(), options()) :: {:ok, pos_integer() | nil} | {:error, error()}
  def ttl(key, options \\ []) do
    Options.check(options, @read_options, :ttl)
    read(key, :ttl, options)
  end

  @doc """
  Value and remaining seconds of a key. Errors as `get/2`.

      iex> Concord.put("feature:beta", "enabled", ttl: 3600)
      iex> Concord.get_with_ttl("feature:beta")
      {:ok, {"enabled", 3600}}
  """
  @spec get_with_ttl(key(), options()) :: {:ok, {value(), pos_integer() | nil}} | {:error, error()}
  def get_with_ttl(key, options \\ []) do
    Options.check(options, @read_options, :get_with_ttl)
    read(key, :value_ttl, options)
  end

  @doc """
  Everything in the store, as of one moment. Use it sparingly: it costs time and memory for every record;
  `stream/1` does not.

      iex> {:ok, all} = Concord.get_all()
      iex> is_map(all)
      true
  """
  @spec get_all(options()) :: {:ok, %{key() => value()}} | {:error, error()}
  def get_all(options \\ []) do
    Options.check(options, @read_options, :get_all)
    read_many(options, @any_key, &Native.get_all(&1, false, &2, &3))
  end

  @doc """
  Everything in the store with the remaining seconds of each key, as of one moment.

      iex> Concord.put("listed", 1, ttl: 60)
      iex> {:ok, %{"listed" => %{value: 1, ttl: 60}}} = Concord.get_all_with_ttl()
  """
  @spec get_all_with_ttl(options()) ::
          {:ok, %{key() => %{value: value(), ttl: pos_integer() | nil}}} | {:error, error()}
  def get_all_with_ttl(options \\ []) do
    Options.check(options, @read_options, :get_all_with_ttl)
    read_many(options, @any_key, &Native.get_all(&1, true, &2, &3))
  end

  @doc """
  What fits, as a lazy enumerable of `{key, value}` in the order of the keys; without options everything.

  Options are those of `Concord.Query`; `with: :key` gives the keys alone, and `with: :record` `{key, record}` with value, revision
  and remaining seconds.

  Each walk over it is one point in time, that of its beginning: writes go on meanwhile and are not seen. Records come in
  pages, so that a walk over a million of them holds memory for about a thousand, and neither a scheduler nor a lock. The point
  in time is kept until the walk is at its end, left early (`Enum.take/2`) or its process is gone; what is replaced meanwhile is
  kept in memory as well. On a `Concord.Client` half a minute may pass between two pages. `timeout:` is for each page.

  What goes wrong is raised as `Concord.Error` with the kind, as nobody else could be told.

      iex> Concord.put_many(for n <- 1..5, do: {"n:\#{n}", n})
      iex> Concord.stream(prefix: "n:", where: "value > 1") |> Stream.map(&elem(&1, 1)) |> Enum.take(2)
      [2, 3]
      iex> Concord.stream(prefix: "n:", with: :key) |> Enum.count()
      5
  """
  @spec stream(options()) :: Enumerable.t()
  def stream(options \\ []) do
    selection = Selection.of(options, [:with], :stream)

    case Keyword.get(options, :with, :pair) do
      :pair -> Walk.stream(selection, :pairs)
      :key when selection.filter == nil -> Walk.stream(selection, :keys)
      :key -> selection |> Walk.stream(:pairs) |> Stream.map(&elem(&1, 0))
      :record -> selection |> Walk.stream(:records) |> Stream.map(&with_record/1)
    end
  end

  defp with_record({key, value, ttl, revision}), do: {key, %{value: value, revision: revision, ttl: ttl}}

  @doc """
  Stores up to 500 values, all or none. Items are `{key, value}` or `{key, value, ttl}`; of duplicate keys the last wins.

  Options: `ttl:` for items without their own; `compress:`.

  Errors, each for the whole batch: `:batch_too_large`, `:invalid_operation_format` (an item that is no such tuple),
  `:invalid_key`, `:invalid_ttl`, `:invalid_value`, `:value_too_large`.

      iex> Concord.put_many([{"a", 1}, {"b", 2, 60}])
      {:ok, %{"a" => :ok, "b" => :ok}}
      iex> Concord.put_many([{"a", 2}, {"", 3}])
      {:error, :invalid_key}
      iex> Concord.get("a")
      {:ok, 1}
  """
  @spec put_many([{key(), value()} | {key(), value(), ttl()}], options()) ::
          {:ok, %{key() => :ok}} | {:error, error()}
  def put_many(items, options \\ [])

  def put_many(items, options) when is_list(items) do
    Options.check(options, @put_options, :put_many)
    write_many(items, Keyword.get(options, :ttl), options)
  end

  def put_many(_items, _options), do: Options.no_clause(__MODULE__, :put_many, 2)

  @doc """
  Stores up to 500 values with one lifetime in seconds: `put_many(items, ttl: ttl)`.

      iex> Concord.put_many_with_ttl([{"c", 1}, {"d", 2}], 60)
      {:ok, %{"c" => :ok, "d" => :ok}}
  """
  @spec put_many_with_ttl([{key(), value()}], pos_integer(), options()) ::
          {:ok, %{key() => :ok}} | {:error, error()}
  def put_many_with_ttl(items, ttl, options \\ [])

  def put_many_with_ttl(items, ttl, options) when is_list(items) and is_integer(ttl) do
    Options.check(options, [:compress], :put_many_with_ttl)
    write_many(items, ttl, options)
  end

  def put_many_with_ttl(_items, _ttl, _options), do: Options.no_clause(__MODULE__, :put_many_with_ttl, 3)

  @doc """
  The values of up to 500 keys, all as of one moment.

  Errors, each for the whole batch: `:batch_too_large`, `:invalid_key`.

      iex> Concord.put("e", 1)
      iex> Concord.get_many(["e", "never there"])
      {:ok, %{"e" => {:ok, 1}, "never there" => {:error, :not_found}}}
  """
  @spec get_many([key()], options()) ::
          {:ok, %{key() => {:ok, value()} | {:error, :not_found}}} | {:error, error()}
  def get_many(keys, options \\ [])

  def get_many(keys, options) when is_list(keys) do
    Options.check(options, @read_options, :get_many)
    read_many(options, List.first(keys), &Native.get_many(&1, keys, &2, &3))
  end

  def get_many(_keys, _options), do: Options.no_clause(__MODULE__, :get_many, 2)

  @doc """
  Removes up to 500 keys, all or none; missing ones are `:ok` too.

  Errors, each for the whole batch: `:batch_too_large`, `:invalid_key`.

      iex> Concord.delete_many(["f", "g"])
      {:ok, %{"f" => :ok, "g" => :ok}}
  """
  @spec delete_many([key()], options()) :: {:ok, %{key() => :ok}} | {:error, error()}
  def delete_many(keys, options \\ [])

  def delete_many(keys, options) when is_list(keys) do
    Options.check(options, [], :delete_many)
    write_bulk({:delete_many, keys}, options, fn -> :maps.from_keys(keys, :ok) end)
  end

  def delete_many(_keys, _options), do: Options.no_clause(__MODULE__, :delete_many, 2)

  @doc """
  Sets the remaining lifetimes of up to 500 keys. Items are `{key, seconds}`.

  Errors, each for the whole batch: `:batch_too_large`, `:invalid_key`, `:invalid_touch_operation` (an item of another
  form, or without a lifetime above 0).

      iex> Concord.put("h", 1)
      iex> Concord.touch_many([{"h", 60}, {"never there", 60}])
      {:ok, %{"h" => :ok, "never there" => {:error, :not_found}}}
  """
  @spec touch_many([{key(), pos_integer()}], options()) ::
          {:ok, %{key() => :ok | {:error, :not_found}}} | {:error, error()}
  def touch_many(items, options \\ [])

  def touch_many(items, options) when is_list(items) do
    Options.check(options, [], :touch_many)

    with {:ok, found} <- write({:touch_many, items}, options) do
      {:ok, Enum.zip_with(items, found, fn {key, _}, found -> {key, touched(found)} end) |> Map.new()}
    end
  end

  def touch_many(_items, _options), do: Options.no_clause(__MODULE__, :touch_many, 2)

  @doc """
  What the store knows of itself: consensus under `:cluster`, content under `:storage` (`memory` in bytes).

  Under `:cluster` are `state` (`:leader`, `:follower`, `:candidate`, `:learner`, or `:joining` while it belongs to no
  cluster yet), `ready` (whether it serves, see `Concord.Cluster.ready?/1`), `leader` (a node id, nil while there is
  none), `term`, `commit_index`, `last_applied`, `node_id`, `cluster_id`, `snapshot_index`, `snapshot_state` (`:idle`,
  `:building`, `:receiving` or `:sending`), `failure` (why it no longer takes writes, nil otherwise) and `members`, as
  `members/1` gives them.

      iex> {:ok, status} = Concord.status()
      iex> {status.cluster.state, status.cluster.ready, status.cluster.snapshot_state}
      {:leader, true, :idle}
      iex> status.cluster.leader == status.cluster.node_id
      true
      iex> status.node == node()
      true
  """
  @spec status(options()) :: {:ok, map()} | {:error, error()}
  def status(options \\ []) do
    Options.check(options, @read_options, :status)

    with {:ok, handle} <- Options.handle(options),
         {:ok, status} <- Native.status(handle) do
      {:ok, Map.put(status, :node, node())}
    end
  end

  @doc """
  The members of the cluster.

  Each is a map of `node_id`, `name`, `address`, `role` (`:voter` or `:learner`), `leader` (whether this node takes it for
  the leader) and, as the leader told last, `matched_index` (the last entry that it is known to have), `lag` (how many
  entries it is behind) and `last_contact_ms`; these are nil where nobody has told.

      iex> {:ok, [%{role: :voter, leader: true}]} = Concord.members()
  """
  @spec members(options()) :: {:ok, [map()]} | {:error, error()}
  def members(options \\ []) do
    Options.check(options, [], :members)
    with {:ok, handle} <- Options.handle(options), do: Native.members(handle)
  end

  @doc """
  All metrics of a store in Prometheus text format (`text/plain; version=0.0.4`), as `/metrics` serves them: calls by verb,
  level and ending, quantiles of the last minutes, queue, log, members, the process. For programs that have an HTTP server
  of their own; needs no token. A client tells what it has counted itself.

      iex> Concord.put("greeting", "hello")
      iex> {:ok, text} = Concord.metrics_text()
      iex> text =~ ~s|concord_api_put_count_total{result="ok"}|
      true
  """
  @spec metrics_text(options()) :: {:ok, String.t()} | {:error, :noproc}
  def metrics_text(options \\ []) do
    Options.check(options, [], :metrics_text)
    with {:ok, handle} <- own_handle(options), do: {:ok, Native.metrics_text(handle)}
  end

  @doc """
  Where a store is served over HTTP: `api` (`api_port:`) and `metrics` (`prometheus_port:`, `/metrics` alone), as
  `"http://ip:port"` each; nil where it is not. See `Concord.Config`.

      iex> Concord.serving()
      {:ok, %{api: nil, metrics: nil}}
  """
  @spec serving(options()) :: {:ok, %{api: String.t() | nil, metrics: String.t() | nil}} | {:error, :noproc}
  def serving(options \\ []) do
    Options.check(options, [], :serving)

    with {:ok, handle} <- own_handle(options) do
      {api, metrics} = Native.serving(handle)
      {:ok, %{api: api, metrics: metrics}}
    end
  end

  defp own_handle(options), do: options |> Keyword.take([:store]) |> Options.handle()

  @doc """
  For supervising a store yourself. Options are the settings of `Concord.Config`, which win over the application's, and
  `name:` (`Concord` by default; the functions here take it as `store:`).

      children = [{Concord, name: MyApp.Cache, durability: :memory}]

  With `config :concord, autostart: false` the application starts none by itself.
  """
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(options), do: options |> Secret.hide() |> Store.child_spec()

  @doc """
  Starts a store that is linked to the caller; see `child_spec/1`. Returns when it can serve.
  """
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(options \\ []), do: Store.start_link(options)

  defp read(key, shape, options) do
    with {:ok, handle} <- Options.handle(options) do
      Read.run(handle, key, shape, Options.level(options), Options.timeout(options))
    end
  end

  defp read_many(options, probe, read) do
    with {:ok, handle} <- Options.handle(options) do
      Read.run_many(handle, probe, read, Options.level(options), Options.timeout(options))
    end
  end

  defp write_put(key, value, ttl, condition, options) do
    write({:put, key, value, ttl, condition, Options.compress(options)}, options)
  end

  defp write(operation, options) do
    with {:ok, handle} <- Options.handle(options), do: Write.run(handle, operation, Options.timeout(options))
  end

  defp write_many(items, ttl, options) do
    prepare = fn -> :maps.from_keys(for(item <- items, do: elem(item, 0)), :ok) end
    write_bulk({:put_many, items, ttl, Options.compress(options)}, options, prepare)
  end

  defp write_bulk(operation, options, prepare) do
    with {:ok, handle} <- Options.handle(options) do
      Write.run_bulk(handle, operation, Options.timeout(options), prepare)
    end
  end

  defp touched(true), do: :ok
  defp touched(false), do: {:error, :not_found}
end
