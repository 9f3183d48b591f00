//! JSON: encoded values as JSON text and back.

use crate::error::{Error, ErrorKind, Result};

/// An encoded value as JSON text.
pub fn value_to_json(_value: &[u8]) -> Result<String> {
    Err(Error::new(ErrorKind::InvalidValue, "JSON follows"))
}

/// JSON text as an encoded value.
pub fn value_from_json(_json: &str) -> Result<Vec<u8>> {
    Err(Error::new(ErrorKind::InvalidValue, "JSON follows"))
}
