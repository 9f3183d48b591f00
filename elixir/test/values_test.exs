# Values: what is put comes back, in every language; what cannot be stored is refused.

defmodule Concord.ValuesTest do
  # Values: what is put comes back, in the bytes that every language agrees on.
  use Concord.StoreCase, async: true

  alias Concord.{Golden, Native}

  defmodule User do
    defstruct [:name, :address]
  end

  # Stands in for the library of that name, which is not a dependency.
  defmodule Zoned do
    def berlin do
      %{
        ~U[2025-07-01 10:00:00.25Z]
        | hour: 12,
          time_zone: "Europe/Berlin",
          zone_abbr: "CEST",
          utc_offset: 3600,
          std_offset: 3600
      }
    end
  end

  defp round_trip(value) do
    {:ok, encoded} = Native.encode(value)
    {:ok, decoded} = Native.decode(encoded)
    decoded
  end

  describe "golden values" do
    # Elixir does not tell text from bytes, has no NaN, keeps the keys of a map in an order of its own, and has no module
    # for most named structs.
    @not_exact ~r/Elixir|bytes that would be text|NaN|nan|infin/

    # Atoms of the vectors that nobody else has.
    @atoms [:"$bytes"]

    test "every vector is read, and written again as the same bytes wherever Elixir can hold it exactly" do
      assert Enum.all?(@atoms, &is_atom/1)

      exact =
        for [name, hex | rest] <- Golden.read("vectors.txt") do
          bytes = Base.decode16!(hex, case: :lower)
          assert {:ok, value} = Native.decode(bytes), name
          assert {:ok, again} = Native.encode(value), name
          assert {:ok, value_again} = Native.decode(again), name
          assert value_again === value, name

          unless Enum.join([name | Enum.drop(rest, 1)], " ") =~ @not_exact or order_matters?(value) do
            assert Base.encode16(again, case: :lower) == hex, name
            name
          end
        end

      assert exact |> Enum.reject(&is_nil/1) |> length() >= 100
    end

    test "longer forms are read, and written in the shortest one" do
      for [name, hex, preferred | _] <- Golden.read("accepted.txt") do
        assert {:ok, value} = Native.decode(Base.decode16!(hex, case: :lower)), name
        assert {:ok, wanted} = Native.decode(Base.decode16!(preferred, case: :lower)), name
        assert value === wanted, name
      end
    end

    test "what is no value is refused" do
      for [name, hex | _] <- Golden.read("refused.txt") do
        assert Native.decode(Base.decode16!(hex, case: :lower)) == {:error, :invalid_value}, name
      end
    end

    defp order_matters?(%_{} = struct), do: order_matters?(Map.from_struct(struct))
    defp order_matters?(%{} = map) when map_size(map) > 1, do: true

    defp order_matters?(%{} = map),
      do: Enum.any?(map, fn {key, value} -> order_matters?(key) or order_matters?(value) end)

    defp order_matters?([head | tail]), do: order_matters?(head) or order_matters?(tail)
    defp order_matters?(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> order_matters?()
    defp order_matters?(_), do: false
  end

  test "what is put comes back as it was" do
    for value <- [
          nil,
          true,
          :atom,
          :"",
          :"with space",
          :größe,
          :日本,
          String.to_atom(String.duplicate("a", 255)),
          0,
          -1,
          2 ** 63 - 1,
          2 ** 63,
          -(2 ** 63),
          -(2 ** 63) - 1,
          2 ** 64 - 1,
          2 ** 64,
          -(2 ** 64),
          -(2 ** 64) - 1,
          2 ** 3000,
          -(2 ** 3000),
          1.0,
          -0.0,
          5.0e-324,
          1.7976931348623157e308,
          "",
          "text",
          <<0>>,
          <<255, 254>>,
          "🙂",
          [],
          [1, [2, [3]], "x"],
          {},
          {:ok, {1}},
          [a: 1, b: [c: 2]],
          %{},
          %{1 => :int, 1.0 => :float, nil => nil, {1} => [%{}], "k" => :v},
          Map.new(1..1000, &{&1, &1}),
          MapSet.new(),
          MapSet.new([1, "two", :three, MapSet.new([4])]),
          1..10,
          1..10//2,
          ~U[2025-10-21 12:47:27.231034Z],
          ~U[2025-10-21 12:47:27Z],
          ~U[2025-10-21 12:47:27.100Z],
          ~N[2025-10-21 12:47:27.23],
          ~N[-0044-03-15 12:00:00],
          ~D[2025-10-21],
          ~D[-9999-01-01],
          ~D[9999-12-31],
          ~T[12:47:27.000000],
          ~T[00:00:00],
          Zoned.berlin(),
          %User{name: "Ann", address: %{city: "Köln"}},
          URI.parse("https://example.org/x?y=1"),
          %ArgumentError{message: "stored errors are fine"}
        ] do
      assert round_trip(value) === value
    end

    # -0.0 === 0.0 on this VM; the sign is kept all the same.
    assert <<round_trip(-0.0)::float>> == <<-0.0::float>>
  end

  test "structs that are not what their module would make come back as they were" do
    for value <- [
          %{~D[2025-10-21] | calendar: SomeCalendar},
          %{~D[2025-10-21] | year: 12_345},
          %{~D[2025-10-21] | month: 13},
          %{~D[2025-10-21] | day: "21"},
          %{~T[12:00:00] | microsecond: {123_456, 3}},
          %{~U[2025-10-21 12:47:27Z] | time_zone: nil},
          %{~U[2025-10-21 12:47:27Z] | zone_abbr: <<255>>},
          Map.put(~D[2025-10-21], :extra, 1),
          %{MapSet.new() | map: [:no_map]},
          %{__struct__: Decimal, sign: 1, coef: :NaN, exp: 0},
          %{__struct__: Decimal, sign: -1, coef: 0, exp: 0},
          %{__struct__: Decimal, sign: 1, coef: -5, exp: 0},
          %{__struct__: Decimal, sign: 1, coef: -(2 ** 80), exp: 0},
          %{__struct__: "no atom", a: 1},
          %{"__struct__" => "Elixir.Date", "year" => 2025}
        ] do
      assert round_trip(value) === value
    end
  end

  test "decimals are decimals for other languages" do
    for {sign, coef, exp} <- [
          {1, 1234, -2},
          {-1, 5, -1},
          {1, 0, 0},
          {-1, 2 ** 64, 3},
          {1, 10 ** 40, -40},
          {-1, 10 ** 40, 0}
        ] do
      value = %{__struct__: Decimal, sign: sign, coef: coef, exp: exp}
      assert round_trip(value) === value
    end

    assert {:ok, <<0xC4, 0x82, 0x21, 0x19, 0x04, 0xD2>>} =
             Native.encode(%{__struct__: Decimal, sign: 1, coef: 1234, exp: -2})
  end

  test "a fixed offset of another language is kept" do
    {:ok, value} = Native.decode(<<0xC0, 0x78, 25>> <> "2025-10-21T12:47:27+02:00")
    assert %DateTime{hour: 12, utc_offset: 7200, time_zone: "+02:00"} = value
    assert DateTime.compare(value, ~U[2025-10-21 10:47:27Z]) == :eq
    assert {:ok, <<0xC0, 0x78, 25, "2025-10-21T12:47:27+02:00">>} = Native.encode(value)
  end

  test "NaN and the infinities of other languages are atoms here, not a crash" do
    assert {:ok, :nan} = Native.decode(<<0xFB, 0x7FF8000000000000::64>>)
    assert {:ok, :infinity} = Native.decode(<<0xFB, 0x7FF0000000000000::64>>)
    assert {:ok, :neg_infinity} = Native.decode(<<0xFB, 0xFFF0000000000000::64>>)
    assert {:ok, [:nan, :infinity]} = Native.decode(<<0x82, 0xF9, 0x7E00::16, 0xFA, 0x7F800000::32>>)
  end

  test "of duplicate keys, which other languages may write, the last one counts" do
    assert {:ok, %{1 => 3}} = Native.decode(<<0xA2, 1, 2, 1, 3>>)
    many = for i <- 1..2000, into: <<0xB9, 2000::16>>, do: <<0x19, rem(i, 1000)::16, 0x19, i::16>>
    assert {:ok, map} = Native.decode(many)
    assert map == Map.new(0..999, &{&1, if(&1 == 0, do: 2000, else: &1 + 1000)})
  end

  test "what means nothing elsewhere is refused, wherever it stands" do
    port = hd(Port.list())

    for bad <- [self(), make_ref(), port, fn -> 1 end, &is_atom/1, <<1::3>>, [1 | 2], [1, 2 | %{}]] do
      assert {:error, :invalid_value} = Native.encode(bad)
      assert {:error, :invalid_value} = Native.encode([1, %{a: {bad}}])
      assert {:error, :invalid_value} = Native.encode(%{bad => 1})
      assert {:error, :invalid_value} = Native.encode(MapSet.new([bad]))
      assert {:error, :invalid_value} = Native.encode(%User{name: bad})
    end
  end

  test "128 levels are fine, 129 are refused, a million do not crash" do
    store = fresh_store()
    assert :ok = Concord.put("a", nested(128), store: store)
    assert Concord.get("a", store: store) == {:ok, nested(128)}
    assert {:error, :invalid_value} = Concord.put("a", nested(129), store: store)
    assert {:error, :invalid_value} = Concord.put("a", nested(1_000_000), store: store)
    assert {:error, :invalid_value} = Native.decode(:binary.copy(<<0x81>>, 128) <> <<1>>)
    assert {:error, :invalid_value} = Native.decode(:binary.copy(<<0x81>>, 1_000_000))
    assert {:error, :invalid_value} = Native.decode(:binary.copy(<<0xD8, 0x27>>, 1_000_000))
    tuples = Enum.reduce(1..127, 1, fn _, inner -> {inner} end)
    assert round_trip(tuples) === tuples
    assert {:error, :invalid_value} = Native.encode({tuples})
  end

  test "no length makes room before there is something to fill it" do
    for head <- [0x5B, 0x7B, 0x9B, 0xBB] do
      assert {:error, :invalid_value} = Native.decode(<<head, 1_152_921_504_606_846_976::64>>)
      assert {:error, :invalid_value} = Native.decode(<<head, 0xFFFFFFFFFFFFFFFF::64, 0>>)
    end
  end

  describe "atoms" do
    # The table holds 1,048,576 atoms and is never cleaned; filling it kills the VM. 200,000 names a run show
    # what two million would: the count stays the same.
    test "names that this VM does not have come back as binaries" do
      name = "no_such_atom_#{System.unique_integer([:positive])}_here"
      encoded = <<0xD8, 0x27, 0x78, byte_size(name)>> <> name
      assert {:ok, ^name} = Native.decode(encoded)

      assert {:ok, :existing_atom_of_this_test} =
               Native.decode(<<0xD8, 0x27, 0x78, 26>> <> "existing_atom_of_this_test")

      grüße = "größe_#{System.unique_integer([:positive])}"
      assert {:ok, ^grüße} = Native.decode(<<0xD8, 0x27, 0x78, byte_size(grüße)>> <> grüße)
    end

    test "200,000 distinct keys, names of atoms and of structs leave the table as it is" do
      store = fresh_store()
      before = :erlang.system_info(:atom_count)

      for batch <- Enum.chunk_every(1..200_000, 20_000) do
        names = for i <- batch, do: "flood_#{i}_#{System.unique_integer([:positive])}"
        map = Map.new(names, &{&1, 1})
        :ok = Concord.put("keys", map, store: store)
        assert Concord.get("keys", store: store) == {:ok, map}

        atoms = for name <- names, into: <<0x9A, length(names)::32>>, do: <<0xD8, 0x27, 0x78, byte_size(name)>> <> name
        assert {:ok, ^names} = Native.decode(atoms)

        structs =
          for name <- names,
              into: <<0x9A, length(names)::32>>,
              do: <<0xD8, 27, 0x82, 0x78, byte_size(name)>> <> name <> <<0xA0>>

        assert {:ok, decoded} = Native.decode(structs)
        assert hd(decoded) == %{"__struct__" => hd(names)}
      end

      # Modules that are loaded meanwhile bring some of their own.
      assert :erlang.system_info(:atom_count) - before < 2_000
    end
  end

  test "large values: whole on the way back, too large is said" do
    store = fresh_store()
    random = :crypto.strong_rand_bytes(7_000_000)
    list = Enum.to_list(1..300_000)

    for {key, value} <- [random: random, text: String.duplicate("x", 15_000_000), list: list] do
      key = Atom.to_string(key)
      assert :ok = Concord.put(key, value, store: store)
      assert Concord.get(key, store: store) == {:ok, value}
      assert {:ok, {^value, nil}} = Concord.get_with_ttl(key, store: store)
    end

    assert {:error, :value_too_large} = Concord.put("a", String.duplicate("x", 17 * 1024 * 1024), store: store)
    assert {:error, :value_too_large} = Concord.put("a", List.duplicate("0123456789abcdef", 1_200_000), store: store)
    assert {:error, :value_too_large} = Concord.put("a", List.duplicate(1, 17 * 1024 * 1024), store: store)

    assert {:error, :value_too_large} =
             Concord.put_many([{"b", 1}, {"a", String.duplicate("x", 17_000_000)}], store: store)

    assert {:error, :not_found} = Concord.get("b", store: store)
  end

  test "a small part of a large value does not keep the whole in memory" do
    store = fresh_store()
    :ok = Concord.put("a", %{small: "0123456789", large: :crypto.strong_rand_bytes(5_000_000)}, store: store)
    {:ok, %{small: small}} = Concord.get("a", store: store)
    assert :binary.referenced_byte_size(small) < 100
  end
end
