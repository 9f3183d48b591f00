defmodule Concord.Cluster do
  @moduledoc """
  Several nodes that are one store: who belongs to it, who leads it, and whether this node serves.

  ## Development

  While Mix runs it with `MIX_ENV=dev`, a VM with a name needs no set-up. Nodes of one machine or network with the same
  Erlang cookie find each other by multicast:

      iex --name n1@127.0.0.1 --cookie concord -S mix
      iex --name n2@127.0.0.1 --cookie concord -S mix
      iex --name n3@127.0.0.1 --cookie concord -S mix

  The first is a cluster of one, which the others join; before it founds one it looks for others for one and a half
  seconds, in which calls wait. Each keeps its data in `data/<node name>`; with a `data_dir`
  configured give each one of its own. Nothing is sent through Erlang's distribution: Concord has connections of its own,
  on any free port of the address in the node's name. `config :concord, cluster: false` turns this off, and a store with
  `durability: :memory` stays alone.

  ## Production

  A release, and Mix in any other environment, has what is configured: without `cluster:` (and `CONCORD_LISTEN`) the store
  is alone, whatever the VM is called.

      config :concord,
        cluster: [
          listen: "10.0.0.1:7400",
          seeds: ["10.0.0.1:7400", "10.0.0.2:7400", "10.0.0.3:7400"],
          bootstrap_expect: 3
        ],
        cluster_cookie: System.fetch_env!("CONCORD_COOKIE")

  | setting in `cluster:` | meaning | default |
  |--|--|--|
  | `listen` | `"host:port"` on which other nodes and clients are served; port 0 takes any | `CONCORD_LISTEN`, else `"127.0.0.1:7400"` |
  | `advertise` | `"host:port"` under which others reach this node, where that differs | `CONCORD_ADVERTISE` |
  | `name` | name for people, and for the functions here; up to 64 bytes | `CONCORD_NODE_NAME`, else the Erlang node's if it is short enough, else the address |
  | `seeds` | `"host:port"` of nodes that may be there already; a DNS name may stand for several | `CONCORD_SEEDS`, with commas between them |
  | `bootstrap_expect` | how many nodes found a new cluster together, 1 to 9; 0 only joins one that exists | `CONCORD_BOOTSTRAP_EXPECT`, else 0 |
  | `multicast` | find nodes on the local network: true, or `[group: "239.255.67.79", port: 45892]` | `CONCORD_MULTICAST`, else false |
  | `tls` | `[certificate: path, private_key: path, authority: path, verify_node_id: false]` | `CONCORD_TLS_CERTIFICATE`, `..._PRIVATE_KEY`, `..._AUTHORITY`, else none |
  | `election_timeout_ms` | followers that hear nothing for so long elect a new leader | 200 |
  | `promote` | whether this node votes as soon as it has caught up | true |

  `cluster_cookie` is the secret of all members. It is not the Erlang cookie, and is never sent. Without `tls` what the nodes
  say to each other can be read by whoever can listen.

  A new cluster forms once. Nodes that start later with the same seeds and secret join it, follow the log without a vote,
  and vote when they have caught up; a node that stops and starts again is the same member, whatever its address.

  ## Functions

  Members are named by their node id or their name (text or atom), as `Concord.members/1` shows them. Those that
  change something return when the change is committed, and may be called on any member or client; where tokens are needed,
  by one with the scope `:admin`. Options are `timeout:`, `token:` and `store:`. Errors, besides those of all verbs: `:cluster_not_ready` (no majority, or the node that is to vote lags
  behind; try again), `:not_found` (no such member), `:invalid_config` (the last voter stays; the node belongs to another
  cluster). What is behind an error, and what to do next, is logged as a warning.
  """

  alias Concord.{Error, Native, Options}

  @typedoc "A node id, or the name of a member."
  @type member :: pos_integer() | String.t() | atom()

  @type error :: Concord.error() | :invalid_config

  @type options :: keyword()

  # A call that is left early (the process is killed) holds one of the VM's few threads for blocking calls no longer than this.
  @wait_slice_ms 1_000

  @doc """
  Whether this node serves: it belongs to a cluster, has caught up, and knows a leader that a majority follows. Needs no
  token.

      iex> Concord.Cluster.ready?()
      true
      iex> Concord.Cluster.ready?(store: :nobody)
      false
  """
  @spec ready?(options()) :: boolean()
  def ready?(options \\ []) do
    Options.check(options, [], "Cluster.ready?")

    case own_handle(options) do
      {:ok, handle} -> Native.ready(handle)
      {:error, :noproc} -> false
    end
  end

  @doc """
  Waits until this node serves, at most so many milliseconds (30,000 by default). Needs no token.

  Error: `:timeout`; what is missing is logged.

      iex> Concord.Cluster.await_ready(5_000)
      :ok
  """
  @spec await_ready(timeout(), options()) :: :ok | {:error, error()}
  def await_ready(timeout \\ 30_000, options \\ []) do
    Options.check([{:timeout, timeout} | options], [], "Cluster.await_ready")

    with {:ok, handle} <- own_handle(options) do
      deadline = System.monotonic_time(:millisecond) + Options.timeout(timeout: timeout)
      handle |> wait(deadline) |> Error.told("Cluster.await_ready")
    end
  end

  defp wait(handle, deadline) do
    left_ms = max(deadline - System.monotonic_time(:millisecond), 0)

    case Native.wait_ready(handle, min(left_ms, @wait_slice_ms)) do
      {:error, {:timeout, _}} when left_ms > @wait_slice_ms -> wait(handle, deadline)
      answer -> answer
    end
  end

  @doc """
  Takes in the node that listens at `"host:port"` and belongs to no cluster yet, and answers its node id. It votes when it
  has caught up. Nodes that have `seeds` join by themselves.
  """
  @spec add(String.t(), options()) :: {:ok, pos_integer()} | {:error, error()}
  def add(address, options \\ [])

  def add(address, options) when is_binary(address) do
    change(options, "add", fn _handle -> {:ok, {:add, address}} end)
  end

  def add(_address, _options), do: Options.no_clause(__MODULE__, :add, 2)

  @doc """
  Makes a member that has caught up, and was not to vote by itself (`promote: false`), a voter.
  """
  @spec promote(member(), options()) :: :ok | {:error, error()}
  def promote(member, options \\ []) do
    change(options, "promote", fn handle ->
      with {:ok, node_id} <- node_id(handle, member), do: {:ok, {:promote, node_id}}
    end)
  end

  @doc """
  Removes a member for good, whether it runs or not. It stops serving, and can come back only with an empty `data_dir`.

      iex> Concord.Cluster.remove("no such member")
      {:error, :not_found}
  """
  @spec remove(member(), options()) :: :ok | {:error, error()}
  def remove(member, options \\ []) do
    change(options, "remove", fn handle ->
      with {:ok, node_id} <- node_id(handle, member), do: {:ok, {:remove, node_id}}
    end)
  end

  @doc """
  Puts a member that has caught up into the place of another, in one step: the way back for a node that lost its disk.
  """
  @spec replace(member(), member(), options()) :: :ok | {:error, error()}
  def replace(old, new, options \\ []) do
    change(options, "replace", fn handle ->
      with {:ok, old_id} <- node_id(handle, old),
           {:ok, new_id} <- node_id(handle, new) do
        {:ok, {:replace, old_id, new_id}}
      end
    end)
  end

  @doc """
  Hands leadership to this member, or to the one that is furthest.
  """
  @spec transfer_leadership(member() | nil, options()) :: :ok | {:error, error()}
  def transfer_leadership(to \\ nil, options \\ [])

  def transfer_leadership(options, []) when is_list(options), do: transfer_leadership(nil, options)

  def transfer_leadership(nil, options) do
    change(options, "transfer_leadership", fn _handle -> {:ok, {:transfer_leadership, nil}} end)
  end

  def transfer_leadership(to, options) do
    change(options, "transfer_leadership", fn handle ->
      with {:ok, node_id} <- node_id(handle, to), do: {:ok, {:transfer_leadership, node_id}}
    end)
  end

  @doc """
  Leaves the cluster for good: hands leadership over and is removed from the members. Stop the store afterwards.

  Stopping alone is no leaving: a member that stops stays one, and goes on where it was when it starts again.
  """
  @spec leave(options()) :: :ok | {:error, error()}
  def leave(options \\ []), do: change(options, "leave", fn _handle -> {:ok, {:leave}} end)

  @doc """
  `Concord.members/1`.

      iex> {:ok, [%{role: :voter, leader: true}]} = Concord.Cluster.members()
  """
  @spec members(options()) :: {:ok, [map()]} | {:error, error()}
  defdelegate members(options \\ []), to: Concord

  @doc """
  `Concord.status/1`.

      iex> {:ok, %{cluster: %{state: :leader}}} = Concord.Cluster.status()
  """
  @spec status(options()) :: {:ok, map()} | {:error, error()}
  defdelegate status(options \\ []), to: Concord

  defp change(options, verb, find) do
    Options.check(options, [], "Cluster.#{verb}")
    timeout_ms = if Keyword.has_key?(options, :timeout), do: Options.timeout(options)

    with {:ok, handle} <- Options.handle(options) do
      answer = with {:ok, change} <- find.(handle), do: Native.change(handle, change, timeout_ms)
      Error.told(answer, "Cluster.#{verb}")
    end
  end

  defp own_handle(options), do: options |> Keyword.take([:store]) |> Options.handle()

  defp node_id(_handle, id) when is_integer(id) and id in 0..0xFFFF_FFFF_FFFF_FFFF, do: {:ok, id}

  defp node_id(handle, name) when is_binary(name) or (is_atom(name) and name not in [nil, true, false]) do
    name = to_string(name)

    with {:ok, members} <- Native.members(handle) do
      case for(member <- members, member.name == name, do: member.node_id) do
        [node_id] ->
          {:ok, node_id}

        [] ->
          names = Enum.map_join(members, ", ", &"#{&1.name} (#{&1.node_id})")
          {:error, {:not_found, "there is no member called #{name}; there are #{names}"}}

        ids ->
          {:error, {:not_found, "several members are called #{name}; say which by node id: #{Enum.join(ids, ", ")}"}}
      end
    end
  end
end
