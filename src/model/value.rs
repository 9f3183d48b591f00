//! Value: the one value model of all languages.

/// A value, as Rust programs see it. Every language stores and reads the same model.
///
/// Equality of this type is exact (`Int(1)` is not `Float(1.0)`); the store's own comparison for
/// [`Condition::Expected`](crate::Condition::Expected) is by worth.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing; a stored null is a value like any other.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer of up to 128 bits.
    Int(i128),
    /// An integer beyond 128 bits: sign and magnitude, big-endian without leading zeros.
    BigInt {
        /// Whether it is below zero.
        negative: bool,
        /// Absolute value, big-endian, no leading zeros.
        magnitude: Vec<u8>,
    },
    /// A double, NaN and infinities included.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// An ordered list.
    List(Vec<Value>),
    /// Entries in the order in which they were written; keys may be any value.
    Map(Vec<(Value, Value)>),
    /// A name: an Elixir atom, Python's `Atom`, a string in JSON.
    Atom(String),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A point in time with a fixed offset: RFC 3339 text, up to microseconds.
    DateTime(String),
    /// A point in time in a named zone.
    ZonedDateTime {
        /// RFC 3339 text with the offset of that moment.
        text: String,
        /// IANA name of the zone, for example `Europe/Berlin`.
        zone: String,
        /// Abbreviation of that moment, for example `CEST`.
        abbreviation: String,
        /// Standard offset from UTC of that zone at that moment, seconds.
        utc_offset_s: i32,
        /// Additional daylight saving offset, seconds.
        std_offset_s: i32,
    },
    /// Date and time without zone, for example `2025-10-21T12:47:27.231034`.
    NaiveDateTime(String),
    /// A calendar date, `2025-10-21`.
    Date(String),
    /// A time of day, `12:47:27.231034`.
    Time(String),
    /// A decimal number: mantissa times ten to the exponent. The mantissa is an `Int` or `BigInt`.
    Decimal {
        /// Power of ten.
        exponent: i64,
        /// The digits, an `Int` or a `BigInt`.
        mantissa: Box<Value>,
    },
    /// A set; the elements in the order in which they were written.
    Set(Vec<Value>),
    /// A value of a named type, for example an Elixir struct: its type's name and its fields.
    Struct {
        /// Name of the type, for example `Elixir.MyApp.User`.
        name: String,
        /// Its fields: a `Map`, usually with atoms as keys. Anything else is refused when it is stored.
        fields: Box<Value>,
    },
}

macro_rules! from_int {
    ($($int:ty)+) => {$(
        impl From<$int> for Value {
            fn from(value: $int) -> Value {
                Value::Int(value.into())
            }
        }
    )+};
}
from_int!(u8 u16 u32 u64 i8 i16 i32 i64 i128);

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Bytes(value.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value::Bytes(value)
    }
}

impl From<()> for Value {
    fn from((): ()) -> Value {
        Value::Null
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(values: [T; N]) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}
