# Tokens and cookies are never shown: not by inspect, not by misuse, not in what is logged.

defmodule Concord.SecretsTest do
  # What is logged is kept and sent to other machines; whoever reads a token there may do what it allows.
  use Concord.StoreCase, async: false

  import Concord.Verbs
  import ExUnit.CaptureLog

  alias Concord.{Client, Cluster, Token}

  test "what is made, listed and kept does not show a token" do
    store = guarded_store()
    {:ok, made} = Token.create(name: "web", store: store)
    assert :ok = Concord.put("a", 1, store: store, token: made.token)

    for shown <- [made, Token.list(store: store), :sys.get_state(store), Concord.metrics_text(store: store)] do
      refute inspect(shown, limit: :infinity, printable_limit: :infinity) =~ made.token
    end
  end

  test "misuse does not show a token, whatever is wrong" do
    store = guarded_store()
    token = token(store, [:admin])
    options = [store: store, token: token]
    :ok = Concord.put("a", 1, options)

    calls = [
      fn -> Concord.get("a", [token: String.to_charlist(token)] ++ options) end,
      fn -> Concord.get("a", [tokn: token] ++ options) end,
      fn -> Concord.get("a", [{"token", token}]) end,
      fn -> Concord.get("a", [token]) end,
      fn -> Concord.get("a", %{token: token}) end,
      fn -> Concord.get("a", token) end,
      fn -> Concord.touch("a", "60", options) end,
      fn -> Concord.put_with_ttl("a", 1, :never, options) end,
      fn -> Concord.put_many(%{}, options) end,
      fn -> Concord.put_many_with_ttl([], nil, options) end,
      fn -> Concord.get_many("a", options) end,
      fn -> Concord.delete_many("a", options) end,
      fn -> Concord.touch_many("a", options) end,
      fn -> Concord.increment("a", 1.5, options) end,
      fn -> Concord.increment("a", 1, [initial: 1.5] ++ options) end,
      fn -> Concord.put_if("a", 1, [condition: fn _ -> raise "asked" end] ++ options) end,
      fn -> Cluster.add(7400, options) end,
      fn -> Cluster.promote(1.5, options) end,
      fn -> Cluster.await_ready(-1, options) end,
      fn -> Token.create([scopes: :all] ++ options) end,
      fn -> Token.revoke([token], options) end
    ]

    for {call, number} <- Enum.with_index(calls) do
      # As the crash of a process is logged: with the arguments of the function that had no clause for them.
      {error, trace} =
        try do
          call.()
          flunk("#{number} did not raise")
        rescue
          error in [ArgumentError, FunctionClauseError, RuntimeError] ->
            Exception.blame(:error, error, __STACKTRACE__)
        end

      shown = inspect(error, limit: :infinity) <> Exception.format(:error, error, trace) <> inspect(trace)
      refute shown =~ token, "#{number}: #{shown}"
      refute shown =~ inspect(String.to_charlist(token)), "#{number}: #{shown}"
    end
  end

  # Reports of supervisors are not logged otherwise.
  defp log_reports do
    restart = fn shown ->
      :ok = Application.stop(:logger)
      Application.put_env(:logger, :handle_sasl_reports, shown)
      :ok = Application.start(:logger)
    end

    restart.(true)
    on_exit(fn -> restart.(false) end)
  end

  test "supervisors' reports and refusals do not show the secrets of a client or a store" do
    {token, cookie} = {"sk_concord_" <> String.duplicate("5", 72), "a cookie that nobody should see"}
    address = "127.0.0.1:#{closed_port()}"
    log_reports()
    Process.flag(:trap_exit, true)

    children = [
      {Client, name: :refused_by_token, addresses: address, token: token, connect_timeout_ms: 100},
      {Client, name: :refused_by_cookie, addresses: address, cookie: cookie, connect_timeout_ms: 100},
      {Client, name: :refused_by_both, addresses: address, cookie: cookie, token: token},
      {Concord, name: :refused, durability: :memory, cluster_cookie: cookie, cluster: [listen: "nowhere"]}
    ]

    for child <- children do
      spec = Supervisor.child_spec(child, [])
      refute inspect(spec) =~ token
      refute inspect(spec) =~ cookie

      log =
        capture_log(fn ->
          assert {:error, reason} = Supervisor.start_link([child], strategy: :one_for_one)
          refute inspect(reason, limit: :infinity) =~ token
          refute inspect(reason, limit: :infinity) =~ cookie
        end)

      assert log =~ "Supervisor"
      refute log =~ token
      refute log =~ cookie
    end
  end

  # Nobody listens where a socket was just closed.
  defp closed_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    port
  end
end
