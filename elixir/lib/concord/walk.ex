defmodule Concord.Walk do
  @moduledoc false
  # Walks over what a selection picks, page by page, all at one point in time. The native library looks for each page on a
  # thread of its own and sends it here: no scheduler is held, and a process holds no more than one page.
  #
  # A point in time is let go when its walk is at its end or left early, and when the process that has it is gone.

  alias Concord.{Native, Options, Selection, Write}

  def count(%Selection{native: native, options: options}) do
    with {:ok, handle} <- Options.handle(options) do
      timeout = Options.timeout(options)
      ask(&Native.start_count(handle, &1, native, Options.level(options), timeout), timeout)
    end
  end

  @doc """
  Folds the entries of a shape (`:keys`, `:pairs`, `:records`) that a selection picks; `{:ok, result}` or what went wrong.
  """
  def reduce(selection, shape, first, reducer) do
    reduce_pages(selection, shape, first, fn entries, result -> {:cont, Enum.reduce(entries, result, reducer)} end)
  end

  @doc """
  The same page by page; the reducer answers `{:cont, result}` or `{:halt, answer}`.
  """
  def reduce_pages(selection, shape, first, reducer) do
    with {:ok, walk} <- open(selection, shape) do
      try do
        pages(walk, first, reducer)
      after
        close(walk)
      end
    end
  end

  defp pages(walk, result, reducer) do
    with {entries, walk} when is_list(entries) <- next(walk) do
      case reducer.(entries, result) do
        {:cont, result} when walk.state == :over -> {:ok, result}
        {:cont, result} -> pages(walk, result, reducer)
        {:halt, answer} -> answer
      end
    end
  end

  @doc """
  The entries one by one, for as long as somebody wants them. What goes wrong is raised.
  """
  def stream(selection, shape) do
    Stream.resource(
      fn -> selection |> open(shape) |> opened() end,
      fn
        %{state: :over} = walk -> {:halt, walk}
        walk -> walk |> next() |> opened()
      end,
      &close/1
    )
  end

  defp opened({:error, kind}) do
    raise Concord.Error, kind: kind, message: "#{kind}: the records could not be read"
  end

  defp opened({:ok, walk}), do: walk
  defp opened(page), do: page

  defp open(%Selection{options: options} = selection, shape) do
    with {:ok, handle} <- Options.handle(options) do
      {level, timeout} = {Options.level(options), Options.timeout(options)}
      start = &Native.start_walk(handle, &1, selection.native, shape, level, timeout)

      with {:ok, native} <- ask(start, timeout) do
        walk = Map.take(selection, [:filter, :offset, :limit])
        {:ok, Map.merge(walk, %{native: native, shape: shape, timeout: timeout, state: :open})}
      end
    end
  end

  # The next entries that the filter accepts, perhaps none, and the walk behind them.
  defp next(%{limit: 0} = walk), do: {[], %{walk | state: :over}}

  defp next(walk) do
    case ask(&Native.start_page(walk.native, &1), walk.timeout) do
      {:error, kind} -> {:error, kind}
      {:more, entries} -> accepted(entries, walk)
      {:last, entries} -> accepted(entries, %{walk | state: :over})
    end
  end

  defp accepted(entries, %{filter: nil} = walk), do: {entries, walk}

  defp accepted(entries, %{filter: filter} = walk) do
    # No more than are wanted are shown to the filter.
    wanted = walk.limit && walk.offset + walk.limit
    accepted = Stream.filter(entries, &filter.(pair(walk.shape, &1)))
    accepted = if wanted, do: Enum.take(accepted, wanted), else: Enum.to_list(accepted)
    {skipped, given} = Enum.split(accepted, walk.offset)
    limit = walk.limit && walk.limit - length(given)
    walk = %{walk | offset: walk.offset - length(skipped), limit: limit}
    {given, if(limit == 0, do: %{walk | state: :over}, else: walk)}
  end

  defp pair(:pairs, pair), do: pair
  defp pair(:records, {key, value, _ttl, _revision}), do: {key, value}

  defp close(%{native: native}), do: Native.close_walk(native)

  # Asks the native library, and waits for the message that answers. The reference is made in the function that receives by
  # it, so that the VM looks only at messages newer than it.
  defp ask(start, timeout) do
    reference = make_ref()

    case start.(reference) do
      {:error, _kind} = refused ->
        refused

      slot ->
        receive do
          {^reference, answer} -> answer
        after
          timeout -> Write.give_up(slot, reference, :timeout)
        end
    end
  end
end
