defmodule Concord.Conformance do
  @moduledoc """
  Runs the scripts that all languages run (tests/conformance; its README explains their form).
  """

  alias Concord.{Golden, Json, Native}

  @folder Path.expand("../../../tests/conformance", __DIR__)

  @doc "All scripts."
  def scripts, do: Path.wildcard(Path.join(@folder, "*.txt"))

  @doc """
  Runs one script; `fresh` starts an empty store and returns its name. Answers how many steps ran and what went otherwise.
  """
  def run(script, fresh) do
    vectors = Golden.vectors()

    {_, steps, faults} =
      script
      |> File.stream!()
      |> Stream.with_index(1)
      |> Enum.reduce({nil, 0, []}, fn {line, number}, {store, steps, faults} ->
        case parse(String.trim_trailing(line, "\n")) do
          :nothing ->
            {store, steps, faults}

          :section ->
            {fresh.(), steps, faults}

          {words, result} ->
            store = store || fresh.()
            found = step(words, store, vectors)

            if matches?(result, found, vectors) do
              {store, steps + 1, faults}
            else
              where = "#{Path.basename(script)}:#{number}: #{String.slice(line, 0, 200)}"
              {store, steps + 1, [where <> "   found " <> String.slice(inspect(found), 0, 200) | faults]}
            end
        end
      end)

    {steps, Enum.reverse(faults)}
  end

  defp parse(""), do: :nothing
  defp parse("#" <> _), do: :nothing
  defp parse("== " <> _), do: :section

  defp parse(line) do
    words = words(line, "", false, [])
    {step, ["->" | result]} = Enum.split_while(words, &(&1 != "->"))

    case Enum.split_while(result, &(&1 != "#")) do
      {result, ["#", "not:", languages]} ->
        if "elixir" in String.split(languages, ","), do: :nothing, else: {step, result}

      {result, []} ->
        {step, result}
    end
  end

  # Words are separated by spaces outside of JSON strings.
  defp words("", word, _quoted, words), do: Enum.reverse([word | words])
  defp words(<<"\\", c, rest::binary>>, word, true, words), do: words(rest, <<word::binary, "\\", c>>, true, words)
  defp words("\"" <> rest, word, quoted, words), do: words(rest, word <> "\"", not quoted, words)
  defp words(" " <> rest, word, false, words), do: words(rest, "", false, [word | words])
  defp words(<<c, rest::binary>>, word, quoted, words), do: words(rest, <<word::binary, c>>, quoted, words)

  defp step([verb | arguments], store, vectors) do
    {options, arguments} = Enum.split_with(arguments, &(&1 =~ ~r/\A[a-z_]+=/ or &1 == "none"))
    options = for option <- options, option != "none", do: option(String.split(option, "=", parts: 2), vectors)
    run(verb, arguments, [{:store, store} | options], vectors)
  end

  defp option(["expected", ":absent"], _), do: {:expected, :absent}
  defp option(["expected", value], vectors), do: {:expected, value(value, vectors)}

  defp option([name, value], _) when name in ["ttl", "by", "initial", "revision", "offset", "limit"],
    do: {String.to_atom(name), String.to_integer(value)}

  defp option([name, value], _) when name in ["prefix", "suffix", "contains", "where", "condition"],
    do: {String.to_existing_atom(name), key(value)}

  defp option(["pattern", value], _), do: {:pattern, key(value)}
  defp option(["flags", letters], _), do: {:flags, letters}
  defp option(["range", value], _), do: {:range, value |> Json.read!() |> List.to_tuple()}
  defp option(["compress", value], _), do: {:compress, value == "true"}
  defp option(["consistency", level], _), do: {:consistency, String.to_existing_atom(level)}

  defp run("put", [key, value], options, v), do: Concord.put(key(key), value(value, v), options)
  defp run("get", [key], options, _), do: Concord.get(key(key), options)
  defp run("get_record", [key], options, _), do: Concord.get(key(key), [{:with, :record} | options])
  defp run("get_with_ttl", [key], options, _), do: Concord.get_with_ttl(key(key), options)
  defp run("delete", [key], options, _), do: Concord.delete(key(key), options)
  defp run("put_new", [key, value], options, v), do: Concord.put_new(key(key), value(value, v), options)
  defp run("put_if", [key, value], options, v), do: Concord.put_if(key(key), value(value, v), options)
  defp run("delete_if", [key], options, _), do: Concord.delete_if(key(key), options)

  defp run("increment", [key], options, _) do
    {by, options} = Keyword.pop(options, :by, 1)
    Concord.increment(key(key), by, options)
  end

  defp run("touch", [key, ttl], options, _), do: Concord.touch(key(key), String.to_integer(ttl), options)
  defp run("ttl", [key], options, _), do: Concord.ttl(key(key), options)

  defp run("put_with_ttl", [key, value, ttl], options, v) do
    Concord.put_with_ttl(key(key), value(value, v), String.to_integer(ttl), options)
  end

  defp run("put_many", [items], options, _), do: Concord.put_many(tuples(items), options)

  defp run("put_many_with_ttl", [items, ttl], options, _) do
    Concord.put_many_with_ttl(tuples(items), String.to_integer(ttl), options)
  end

  defp run("get_many", [keys], options, _), do: Concord.get_many(Json.read!(keys), options)
  defp run("delete_many", [keys], options, _), do: Concord.delete_many(Json.read!(keys), options)
  defp run("touch_many", [items], options, _), do: Concord.touch_many(tuples(items), options)
  defp run("get_all", [], options, _), do: Concord.get_all(options)
  defp run("get_all_with_ttl", [], options, _), do: Concord.get_all_with_ttl(options)
  defp run("keys", [], options, _), do: options |> regex() |> Concord.Query.keys()

  defp run("pairs", [], options, _),
    do: with({:ok, pairs} <- Concord.Query.where(regex(options)), do: {:ok, lists(pairs)})

  defp run("count", [], options, _), do: Concord.Query.count(options)
  defp run("delete_where", [], options, _), do: Concord.Query.delete_where(regex(options))
  defp run("sleep_ms", [ms], _, _), do: ms |> String.to_integer() |> Process.sleep()

  # Flags come with a regex.
  defp regex(options) do
    {flags, options} = Keyword.pop(options, :flags)
    if flags, do: Keyword.update!(options, :pattern, &Regex.compile!(&1, flags)), else: options
  end

  defp lists(pairs), do: Enum.map(pairs, &Tuple.to_list/1)

  defp tuples(items), do: items |> Json.read!() |> Enum.map(&List.to_tuple/1)

  defp key("hex:" <> hex), do: Base.decode16!(hex, case: :lower)

  defp key("rep:" <> rest) do
    [count, byte] = String.split(rest, ":", parts: 2)
    String.duplicate(byte, String.to_integer(count))
  end

  defp key(json), do: Json.read!(json)

  defp value("@" <> name, vectors) do
    {:ok, value} = Native.decode(Map.fetch!(vectors, name))
    value
  end

  defp value("text*" <> rest, _) do
    [count, text] = String.split(rest, ":", parts: 2)
    String.duplicate(text, String.to_integer(count))
  end

  defp value(json, _), do: Json.read!(json)

  defp matches?(["ok"], found, _), do: found == :ok
  defp matches?(["error", kind], {:error, found}, _), do: Atom.to_string(found) == kind
  defp matches?(["ok", "~" <> _ = seconds], {:ok, found}, _), do: seconds?(seconds, found)

  defp matches?(["ok", value, "rev=" <> revision, "ttl=" <> ttl], {:ok, %{value: found} = record}, v) do
    found === value(value, v) and revision?(revision, record.revision) and seconds?(ttl, record.ttl)
  end

  defp matches?(["ok", value, ttl], {:ok, {found, seconds}}, v),
    do: found === value(value, v) and seconds?(ttl, seconds)

  defp matches?(["ok", "{" <> _ = json], {:ok, %{} = found}, _) when not is_struct(found) do
    expected = Json.read!(json)
    found === expected or plain(found) == expected or similar?(plain(found), expected)
  end

  defp matches?(["ok", value], {:ok, found}, v), do: found === value(value, v)
  defp matches?(_, _, _), do: false

  defp revision?("?", revision), do: revision > 0
  defp revision?(number, revision), do: String.to_integer(number) == revision

  defp seconds?("null", found), do: is_nil(found)
  defp seconds?("~" <> seconds, found), do: seconds?(String.to_integer(seconds), found)
  defp seconds?(seconds, found) when is_integer(seconds), do: is_integer(found) and found in (seconds - 1)..seconds

  # Results of bulk verbs as the scripts write them.
  defp plain(%{} = results) do
    Map.new(results, fn
      {key, :ok} -> {key, "ok"}
      {key, {:ok, value}} -> {key, %{"ok" => value}}
      {key, {:error, kind}} -> {key, %{"error" => Atom.to_string(kind)}}
      {key, %{value: value, ttl: ttl}} -> {key, %{"value" => value, "ttl" => ttl}}
      other -> other
    end)
  end

  # The same except for remaining seconds, which may be a little less.
  defp similar?(found, expected) do
    Map.keys(found) == Map.keys(expected) and
      Enum.all?(found, fn
        {key, %{"value" => value, "ttl" => ttl}} ->
          case expected[key] do
            %{"value" => ^value, "ttl" => nil} -> is_nil(ttl)
            %{"value" => ^value, "ttl" => seconds} -> seconds?(seconds, ttl)
            _ -> false
          end

        {key, value} ->
          expected[key] === value
      end)
  end
end
