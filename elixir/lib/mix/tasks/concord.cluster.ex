# mix concord.cluster: what the running node says of itself, and its tokens.

defmodule Mix.Tasks.Concord.Cluster do
  @moduledoc """
  Acts on the node that runs on this machine, through the socket in its data directory. It never starts one.

      mix concord.cluster status
      mix concord.cluster members
      mix concord.cluster token create [--name NAME] [--scope read,write] [--prefix PREFIX] [--ttl SECONDS]
      mix concord.cluster token list
      mix concord.cluster token revoke ID|TOKEN

  The socket is for the user who runs the node, and gives every right: no token is needed.

  ## Options

    * `--data-dir DIR` - where the node keeps its data. Without it: `config :concord, data_dir:`, `CONCORD_DATA_DIR`, or the one
      directory below `data/` in which a node runs

  Of `token create`:

    * `--name NAME` - for people, up to 64 bytes
    * `--scope SCOPES` - what it allows, `read`, `write` and `admin`, with commas between them; `read,write` by default
    * `--prefix PREFIX` - only keys that begin with this; repeat it for several
    * `--ttl SECONDS` - how long it is valid; without it until it is revoked
    * `--quiet` - print the token and nothing else

  A token is shown once, when it is made. `token revoke` takes its id, as `token list` shows it, or the token itself; `-`
  reads it from standard input, where no list of processes shows it. A revocation counts at once and on every member.

  The exit status is 1 when no node runs or it refuses, with what to do next.
  """

  @shortdoc "Shows the running node and its cluster, and manages tokens"

  use Mix.Task

  alias Concord.{Running, Token}

  @switches [
    data_dir: :string,
    name: :string,
    prefix: :keep,
    quiet: :boolean,
    scope: :string,
    ttl: :integer
  ]

  @impl true
  def run(arguments) do
    {switches, words} = parse(arguments)

    case words do
      ["status"] -> switches |> only([]) |> connect() |> status()
      ["members"] -> switches |> only([]) |> connect() |> members()
      ["token", "create"] -> switches |> only([:name, :prefix, :quiet, :scope, :ttl]) |> create()
      ["token", "list"] -> switches |> only([]) |> connect() |> list()
      ["token", "revoke", token] -> switches |> only([]) |> connect() |> revoke(token)
      _ -> Mix.raise("expected status, members, token create, token list or token revoke; see mix help concord.cluster")
    end
  end

  defp parse(arguments) do
    {switches, words, wrong} = OptionParser.parse(arguments, strict: @switches)

    case wrong do
      [] -> {switches, words}
      # A single dash stands for standard input. The value is not shown: it may be a token.
      [{"-", nil}] -> {switches, words ++ ["-"]}
      [{name, _} | _] -> Mix.raise("#{name} is no option here, or has no such value; see mix help concord.cluster")
    end
  end

  defp only(switches, allowed) do
    for {name, _} <- switches, name not in [:data_dir | allowed] do
      Mix.raise("--#{name |> to_string() |> String.replace("_", "-")} is no option here; see mix help concord.cluster")
    end

    switches
  end

  # The configuration, but not the application: that would start a node.
  defp connect(switches) do
    Mix.Task.run("app.config")
    {:ok, _} = Application.ensure_all_started(:logger)

    case Running.connect(switches[:data_dir]) do
      {:ok, store} -> store
      {:error, message} -> Mix.raise(message)
    end
  end

  defp status(store) do
    %{cluster: cluster, storage: storage} = store |> options() |> Concord.status() |> answered()
    name = &name(cluster.members, &1)

    overview = %{
      commit_index: cluster.commit_index,
      current_term: cluster.term,
      leader: cluster.leader && name.(cluster.leader),
      members: Enum.map(cluster.members, &name.(&1.node_id)),
      ready: cluster.ready,
      state: cluster.state
    }

    say("""
    Cluster Status:
    Node: #{name.(cluster.node_id)}

    Cluster Overview:
    #{inspect(overview, pretty: true, width: 40)}

    Storage Stats:
      Size: #{storage.size} entries
      Memory: #{storage.memory} bytes\
    """)

    if cluster.failure, do: say("\nIt takes no more writes: #{cluster.failure}")
  end

  defp members(store) do
    members = store |> options() |> Concord.members() |> answered()
    say("Cluster Members:")

    for member <- members do
      address = if member.address == "", do: "", else: " at #{member.address}"
      leader = if member.leader, do: ", leader", else: ""
      lag = if member.lag, do: ", #{member.lag} entries behind", else: ""
      say("  #{name(members, member.node_id)}: #{member.role}#{address}, node #{member.node_id}#{leader}#{lag}")
    end
  end

  # A node that is alone has no name.
  defp name(members, node_id) do
    case Enum.find(members, &(&1.node_id == node_id)) do
      %{name: name} when name != "" -> name
      _ -> Integer.to_string(node_id)
    end
  end

  defp create(switches) do
    new = [
      name: Keyword.get(switches, :name, ""),
      scopes: scopes(Keyword.get(switches, :scope, "read,write")),
      key_prefixes: Keyword.get_values(switches, :prefix),
      ttl: switches[:ttl]
    ]

    made = (new ++ (switches |> connect() |> options())) |> Token.try_create() |> answered()

    if switches[:quiet] do
      say(made.token)
    else
      say("✓ Created token: #{made.token}")
      say("  " <> described(made))
      say("Keep it now, it is shown this once.")
    end
  end

  defp scopes(text) do
    for scope <- String.split(text, ",", trim: true) do
      case String.trim(scope) do
        "read" -> :read
        "write" -> :write
        "admin" -> :admin
        other -> Mix.raise("--scope takes read, write and admin, not #{other}")
      end
    end
  end

  defp list(store) do
    case store |> options() |> Token.try_list() |> answered() do
      [] -> say("There are no tokens.")
      tokens -> Enum.each(tokens, &say(described(&1)))
    end
  end

  defp described(token) do
    keys = if token.key_prefixes == [], do: "all", else: Enum.map_join(token.key_prefixes, " ", &"#{inspect(&1)}*")
    name = if token.name == "", do: "", else: " #{inspect(token.name)}"
    used = if token.last_used_at, do: ", last used #{token.last_used_at}", else: ""

    "#{token.id}#{name}: #{Enum.join(token.scopes, ",")}, keys #{keys}, made #{token.created_at}, " <>
      "expires #{token.expires_at || "never"}" <> used
  end

  defp revoke(store, token) do
    token = if token == "-", do: "" |> IO.gets() |> to_string() |> String.trim(), else: token
    token |> Token.try_revoke(options(store)) |> answered()
    say("✓ Revoked token")
  end

  defp options(store), do: [store: store]

  defp answered(:ok), do: :ok
  defp answered({:ok, answer}), do: answer
  defp answered({:error, {kind, message}}), do: Mix.raise("#{kind}: #{message}")
  defp answered({:error, :invalid_ttl}), do: Mix.raise("invalid_ttl: --ttl is a number of seconds above 0")
  defp answered({:error, kind}), do: Mix.raise("the node answers #{kind}; try again, and look at its log")

  defp say(text), do: IO.puts(text)
end
