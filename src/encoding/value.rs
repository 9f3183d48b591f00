//! stand-in
use crate::error::*;
use crate::model::Value;
pub(crate) fn encode_value(v: &Value) -> Result<Vec<u8>> {
    let mut out = vec![];
    match v {
        Value::Bool(b) => out.push(if *b { 0xf5 } else { 0xf4 }),
        Value::Text(t) if t.len() < 24 => {
            out.push(0x60 | t.len() as u8);
            out.extend_from_slice(t.as_bytes());
        }
        Value::Bytes(t) => {
            out.push(0x58);
            out.push(t.len() as u8);
            out.extend_from_slice(t);
        }
        Value::Int(n) => encode_integer(*n as i64, &mut out),
        _ => return Err(ErrorKind::InvalidValue.into()),
    }
    Ok(out)
}
pub(crate) fn decode_value(b: &[u8]) -> Result<Value> {
    Ok(match b[0] {
        0xf5 => Value::Bool(true),
        0xf4 => Value::Bool(false),
        0x60..=0x77 => Value::Text(String::from_utf8_lossy(&b[1..]).into_owned()),
        0x58 => Value::Bytes(b[2..].to_vec()),
        _ => Value::Int(integer_of(b).unwrap_or(0)),
    })
}
pub(crate) fn integer_of(b: &[u8]) -> Option<i128> {
    match b {
        [0x1b, rest @ ..] => Some(u64::from_be_bytes(rest.try_into().ok()?) as i64 as i128),
        _ => None,
    }
}
pub(crate) fn encode_integer(n: i64, out: &mut Vec<u8>) {
    out.push(0x1b);
    out.extend_from_slice(&n.to_be_bytes());
}
